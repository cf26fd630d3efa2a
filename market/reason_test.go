package market

import (
	"math"
	"testing"
	"time"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

func TestRefusalText(t *testing.T) {
	for _, tt := range []struct {
		reason    marketv1.DeclineReason
		shortfall uint64
		detail    string
		want      string
	}{
		{marketv1.DeclineReason_DECLINE_REASON_BUSY, 1, "", "busy: 1 device short"},
		{marketv1.DeclineReason_DECLINE_REASON_PRICE, 50_000, "", "price: 0.05/h above your cap"},
		{marketv1.DeclineReason_DECLINE_REASON_PRICE, math.MaxUint64, "", "price: more than 1000000/h above your cap"},
		{marketv1.DeclineReason_DECLINE_REASON_DEVICE, 2, "", "device: 2 devices of the kind missing"},
		{marketv1.DeclineReason_DECLINE_REASON_MEMORY, 4e9, "the rest is leased", "memory: 4GB of memory short (the rest is leased)"},
		{marketv1.DeclineReason_DECLINE_REASON_DISK, 10e9, "", "disk: 10GB of disk short"},
		{marketv1.DeclineReason_DECLINE_REASON_CPU, 1500, "", "cpu: 1.5 cores short"},
		{marketv1.DeclineReason_DECLINE_REASON_DURATION, 3_600_000, "", "duration: 1h longer than leases here"},
		{marketv1.DeclineReason_DECLINE_REASON_DURATION, math.MaxUint64, "", "duration: more than ten years longer than leases here"},
		{marketv1.DeclineReason_DECLINE_REASON_RUNNER, 0, "", "runner: no accepted runner"},
		{marketv1.DeclineReason_DECLINE_REASON_REGION, 0, "US", "region: not in an accepted region (US)"},
		{marketv1.DeclineReason_DECLINE_REASON_EVIDENCE, 0, "", "evidence: not proved well enough"},
		{marketv1.DeclineReason_DECLINE_REASON_EXPIRED, 1500, "", "expired: 1.5s too late"},
		{marketv1.DeclineReason_DECLINE_REASON_RATE, 100, "", "rate: ask again in 100ms"},
		{marketv1.DeclineReason_DECLINE_REASON_DRAINING, 0, "", "draining: the provider is stopping"},
		{marketv1.DeclineReason_DECLINE_REASON_TAKEN, 1, "", "taken: 1 device went to another"},
		{marketv1.DeclineReason_DECLINE_REASON_PAYMENT, 500_000, "deposit", "payment: 0.5 short (deposit)"},
		{marketv1.DeclineReason_DECLINE_REASON_MALFORMED, 0, "", "malformed: the provider cannot act on the message"},
		{99, 7, "", "reason-99"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			got := (&Refusal{Reason: tt.reason, Shortfall: tt.shortfall, Detail: tt.detail}).Error()
			if got != tt.want {
				t.Errorf("says %q", got)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	words := []string{"model", "vram", "price", "region", "runner"}
	for _, tt := range []struct{ word, want string }{
		{"modle", "model"}, {"VRAM", "vram"}, {"vrm", "vram"}, {"runer", "runner"}, {"prices", "price"}, {"xyz", ""}, {"", ""},
	} {
		if got := Nearest(tt.word, words); got != tt.want {
			t.Errorf("Nearest(%q) = %q; want %q", tt.word, got, tt.want)
		}
	}
}

func TestLimiter(t *testing.T) {
	l := NewLimiter(2*time.Second, 3, 2)
	a, b, c := keyOf(1), keyOf(2), keyOf(3)
	for i := range 3 {
		if wait := l.Allow(start, a); wait != 0 {
			t.Errorf("token %d of the burst: wait %s", i, wait)
		}
	}
	if wait := l.Allow(start.Add(500*time.Millisecond), a); wait != 1500*time.Millisecond {
		t.Errorf("after the burst: wait %s; want 1.5s", wait)
	}
	if wait := l.Allow(start.Add(2*time.Second), a); wait != 0 {
		t.Errorf("after a pause: wait %s", wait)
	}
	l.Allow(start, b)
	l.Allow(start, c) // a was seen first: it makes room
	if len(l.keys) != 2 || len(l.order) != 2 {
		t.Errorf("remembers %d and %d keys; want 2", len(l.keys), len(l.order))
	}
	if _, ok := l.keys[a]; ok {
		t.Error("the first key was not forgotten")
	}
	l.Forget(start.Add(time.Minute))
	if len(l.keys)+len(l.order) != 0 {
		t.Errorf("full buckets are remembered: %v", l.keys)
	}
}
