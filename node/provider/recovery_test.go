package provider

import (
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/ledger"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// begun is a provider with these books that starts at a time.
func begun(b *moneytest.Books, now time.Time) (*Provider, error) {
	return New(Config{Key: b.Provider, Home: b.Home, Ledger: b.Ledger, Channels: b.Channels, Receipts: b.Receipts, Space: b.Space, Log: b.Log,
		Devices: []gpu.Device{{ID: b.Lease.Devices[0], Class: gpu.ClassCPU, Health: gpu.Healthy, CPU: true, CPUMilli: 1000}},
		Prices:  map[string]souk.Atoms{gpu.ClassCPU: 1}, RAMBytes: 1 << 30, DiskBytes: 1 << 30,
		Domain: b.Terms.Domain, Waits: network.DefaultWaits(), Now: func() time.Time { return now }}, now)
}

// TestFundingRestart starts a provider whose lease waits for its deposit: it has
// its devices again before anybody else can lease them, whatever became of its
// clock meanwhile.
func TestFundingRestart(t *testing.T) {
	b := moneytest.NewBooks(t, moneytest.NewTree(t), false, nil)
	first, err := begun(b, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := newTenancy(first.means, &proposal{id: b.Terms.Lease, payload: b.Payload, request: &leasev1.LeaseRequest{}, lease: b.Lease,
		channel: b.Channel, terms: b.Terms})
	if h.rec.Phase != runv1.Phase_PHASE_FUNDING {
		t.Fatalf("a new lease is in %s", h.rec.Phase)
	}
	if err := b.Ledger.Commit(t.Context(), ledger.Batch{Records: []ledger.Record{h.rec.ledgerRecord(h.id)}}); err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{time.Now(), time.Now().Add(-time.Hour)} {
		next, err := begun(b, now)
		if err != nil {
			t.Fatal(err)
		}
		if lease, ok := next.Holder(b.Lease.Devices[0]); !ok || lease != h.id || next.Live() != 1 {
			t.Errorf("after a restart at %s the device is in lease %s, %t; %d leases go on", now, lease.Short(), ok, next.Live())
		}
	}
}

// TestFundingRestartUnseen is the same while the driver does not answer: the lease
// keeps its device, and ends where it is known that there is none.
func TestFundingRestartUnseen(t *testing.T) {
	b := moneytest.NewBooks(t, moneytest.NewTree(t), false, nil)
	first, err := begun(b, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := newTenancy(first.means, &proposal{id: b.Terms.Lease, payload: b.Payload, request: &leasev1.LeaseRequest{}, lease: b.Lease,
		channel: b.Channel, terms: b.Terms})
	if err := b.Ledger.Commit(t.Context(), ledger.Batch{Records: []ledger.Record{h.rec.ledgerRecord(h.id)}}); err != nil {
		t.Fatal(err)
	}
	for _, unseen := range []bool{true, false} {
		cfg := first.cfg
		cfg.Devices, cfg.Unseen = []gpu.Device{{ID: "other", Class: "OTHER", Health: gpu.Healthy, CPU: true, CPUMilli: 1000}}, unseen // the host is there
		next, err := New(cfg, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, held := next.Holder(b.Lease.Devices[0]); held != unseen {
			t.Errorf("unseen %t: the lease has its device: %t", unseen, held)
		}
		if !unseen {
			continue
		}
		next.Restock(first.devices)
		if free := next.floor.Free(time.Now())[gpu.ClassCPU]; free != 0 {
			t.Errorf("%d devices are free when the lease's own is back", free)
		}
	}
}

// TestManyRestored starts a provider with more leases to collect than any queue
// would hold.
func TestManyRestored(t *testing.T) {
	const leases = 200
	b := moneytest.NewBooks(t, moneytest.NewTree(t), false, nil)
	for i := range leases {
		b.Lease.SignedMs++
		rec := leaseRecord{Payload: network.MustMarshal(b.Lease), TenancyState: scheduler.TenancyState{Phase: runv1.Phase_PHASE_COLLECTING}}
		terms, _, err := money.LeaseTerms(rec.Payload, b.Lease)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Ledger.Commit(t.Context(), ledger.Batch{Records: []ledger.Record{rec.ledgerRecord(terms.Lease)}}); err != nil {
			t.Fatalf("lease %d: %v", i, err)
		}
	}
	made := make(chan error, 1)
	go func() {
		p, err := begun(b, time.Now())
		if err == nil && p.Live() != leases {
			t.Errorf("%d leases go on", p.Live())
		}
		made <- err
	}()
	select {
	case err := <-made:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a provider with 200 leases to collect does not start")
	}
}
