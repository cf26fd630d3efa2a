package provider

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/node/money/moneytest"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TestReclaim takes a device back from a job that would run for long: it has the notice
// of its lease, or the owner's if that is longer, pays for that, and the device is in
// no offer until it is returned.
func TestReclaim(t *testing.T) {
	tree := moneytest.NewTree(t)
	for _, tt := range []struct {
		name   string
		lease  *leasev1.Reclaim
		notice time.Duration
		force  bool
		ran    time.Duration // after the first second; -1: to its own end
		reason runv1.EndReason
	}{
		{"the lease's notice", &leasev1.Reclaim{NoticeMs: 2000}, 0, false, 2 * time.Second, runv1.EndReason_END_REASON_RECLAIMED},
		{"the owner's", &leasev1.Reclaim{NoticeMs: 1000}, 3 * time.Second, false, 3 * time.Second, runv1.EndReason_END_REASON_RECLAIMED},
		{"at once", &leasev1.Reclaim{}, 0, false, 0, runv1.EndReason_END_REASON_RECLAIMED},
		{"none, and to its end", nil, 0, false, -1, runv1.EndReason_END_REASON_COMPLETED},
		{"none, and by force", nil, time.Second, true, time.Second, runv1.EndReason_END_REASON_PROVIDER_STOPPED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guests := map[string]fake.Guest{"long": func(p *fake.Process) int { p.Work(4500 * time.Millisecond); return 0 }}
				b, p, h := newDriven(t, tree, guests, "long", func(l *leasev1.Lease) { l.Reclaim = tt.lease })
				device := b.Lease.Devices[0]
				p.tenancies[h.id] = h
				p.cfg.Prices = map[string]souk.Atoms{"H100": 1}
				p.devices = []gpu.Device{{ID: device, Class: "H100", Health: gpu.Healthy}}
				told := make(chan string, 1)
				go func() {
					waitFor(h, func() bool { return h.record().Phase == runv1.Phase_PHASE_RUNNING })
					time.Sleep(time.Second)
					got, err := p.Reclaim(device, tt.notice, tt.force)
					if err != nil || got.Lease != h.id || got.Ends.IsZero() {
						t.Errorf("%+v, %v", got, err)
					}
					time.Sleep(time.Millisecond)
					told <- h.record().Detail
				}()
				h.driveToEnd(t.Context())
				rec, owed, _ := h.watch()
				if rec.Reason != tt.reason {
					t.Errorf("ended as %s, %q", rec.Reason, rec.Detail)
				}
				ran := time.Second + tt.ran
				if tt.ran < 0 {
					ran = 4500 * time.Millisecond
				}
				if due, most := souk.Atoms(owed[len(owed)-1].CumulativeDueAtoms), b.Cost(t, ran); due > most || due < most-1 {
					t.Errorf("%d atoms are due, want those of %s: %d", due, ran, most)
				}
				if said := <-told; tt.ran > 0 && said != "the owner takes the device back in "+tt.ran.String() {
					t.Errorf("the client was told %q", said)
				}
				if len(p.floorConfig().Devices) != 0 || !strings.Contains(p.Withheld(device), "--return") {
					t.Errorf("it is for sale; withheld: %q", p.Withheld(device))
				}
				if err := p.Return(device); err != nil || len(p.floorConfig().Devices) != 1 {
					t.Errorf("not for sale after its return: %v", err)
				}
				if err := p.Return(device); souk.CodeOf(err) != souk.CodeState {
					t.Errorf("returned twice: %v", err)
				}
			})
		})
	}
}

// waitFor waits for what a lease shows.
func waitFor(h *tenancy, so func() bool) {
	for {
		_, _, changed := h.watch()
		if so() {
			return
		}
		<-changed
	}
}

// TestReclaimWhenIdle takes a device back that nobody has, and refuses a lease that
// would keep it from its owner for a day.
func TestReclaimWhenIdle(t *testing.T) {
	b := moneytest.NewBooks(t, moneytest.NewTree(t), false, nil)
	p := seller(b, func(c *Config) {
		c.Devices, c.Prices = []gpu.Device{{ID: "GPU-1", Class: "H100", Health: gpu.Healthy}}, map[string]souk.Atoms{"H100": 1}
	})
	if got, err := p.Reclaim("GPU-1", 0, false); err != nil || !got.Ends.IsZero() || len(p.floorConfig().Devices) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if refused := checkReclaim(&leasev1.Lease{Reclaim: &leasev1.Reclaim{NoticeMs: 24 * 3600 * 1000}}); refused == nil {
		t.Error("a notice of a day is taken")
	}
	if refused := checkReclaim(&leasev1.Lease{}); refused != nil {
		t.Error(refused.Detail)
	}
}
