package provider

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/log"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// TestPausedForTooLong has a client pay each receipt when its lease is about to
// end for want of it: the devices run a little and stand still a lot, and are free
// again before the floor would lease them to another.
func TestPausedForTooLong(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		b, p, h := newDriven(t, tree, map[string]fake.Guest{"forever": func(p *fake.Process) int { p.Loop(); return 0 }}, "forever", func(l *leasev1.Lease) { l.ReserveAtoms, l.HoldPausedMs = 60_000, 120_000 })
		m := &metered{t: t, Books: b, h: h, vouchers: b.Record(t).Voucher.MaxClaimable}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		paid := make(chan int)
		go func() { paid <- m.payLate(ctx) }()
		h.driveToEnd(t.Context())
		ended := time.Now()
		cancel()
		rec := h.record()
		t.Logf("%d receipts paid at the last moment; ended after %s: %s", <-paid, time.Since(time.UnixMilli(b.Lease.SignedMs)), rec.Detail)
		if rec.Reason != runv1.EndReason_END_REASON_CLIENT_UNPAID || rec.Detail != "paused for too long in all" {
			t.Errorf("ended as %s, %s", rec.Reason, rec.Detail)
		}
		if until := h.occupies().Until; !ended.Before(until) {
			t.Errorf("ended at %s, and the lease of the devices at %s", ended, until)
		}
		if lease, held := p.floor.Holder(b.Lease.Devices[0]); held {
			t.Errorf("the device is still in lease %s", lease.Short())
		}
	})
}

// newDriven is a lease whose client sent the job, at a provider without a network.
// Its guest has yet to be driven.
func newDriven(t *testing.T, tree *log.Log, guests map[string]fake.Guest, guest string, change func(*leasev1.Lease)) (*moneytest.Books, *Provider, *tenancy) {
	t.Helper()
	store, err := files.New(files.Config{Dir: filepath.Join(t.TempDir(), "blocks")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	job := network.MustMarshal(&jobv1.Job{Wasm: addFile(t, store, guest)})
	b := moneytest.NewBooks(t, tree, false, func(l *leasev1.Lease) {
		id := sha256.Sum256(job)
		l.Job = id[:]
		change(l)
	})
	b.Lease.Resources.MemoryBytes, b.Lease.Resources.DiskBytes = 1<<20, 1<<20
	r, err := fake.New(fake.Config{Guests: guests, Kind: marketv1.Runner_RUNNER_WASM})
	if err != nil {
		t.Fatal(err)
	}
	p := seller(b, func(c *Config) { c.Runners, c.Inputs, c.Outputs = []runner.Runner{r}, store, store })
	p.floor = scheduler.NewFloor(scheduler.FloorConfig{CPUMilli: 1000, RAMBytes: 1 << 30, DiskBytes: 1 << 30,
		Devices: []scheduler.FloorDevice{{ID: b.Lease.Devices[0], Class: "CPU", CPU: true}}})
	h := openTenancy(p.means, b.Lease, b.Terms, b.Channel, peer.ID("client"), leaseRecord{Payload: b.Payload})
	h.machine = scheduler.NewTenancy(h.limits, time.Now())
	if refused := p.floor.Commit(time.Now(), h.occupies()); refused != nil {
		t.Fatal(refused.Detail)
	}
	h.jobs <- job
	return b, p, h
}

// driveToEnd drives a lease until its run is over: the last receipts stay unpaid.
func (t *tenancy) driveToEnd(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for {
			rec, _, changed := t.watch()
			if rec.Phase == runv1.Phase_PHASE_COLLECTING {
				stop()
				return
			}
			<-changed
		}
	}()
	t.drive(ctx)
}

// TestUsageIsMetered runs a guest that uses energy, and counts what the tariff does
// not price: its receipts have the one, and the other is free. It ends before the
// moment at which it would be paused, unpaid.
func TestUsageIsMetered(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		spends := map[string]fake.Guest{"spends": func(p *fake.Process) int {
			p.Spend(300)
			p.Work(5500 * time.Millisecond)
			p.Spend(400)
			p.Count(payment.UnitTokenOut, 9)
			p.Work(time.Second)
			return 0
		}}
		b, _, h := newDriven(t, tree, spends, "spends", func(*leasev1.Lease) {})
		h.driveToEnd(t.Context())
		_, owed, _ := h.watch()
		var energy, due uint64
		for _, r := range owed {
			energy += r.EnergyMillijoules
			due = max(due, r.CumulativeDueAtoms)
		}
		if want := b.Cost(t, 7*time.Second); energy != 700 || souk.Atoms(due) > want || len(owed) != 2 {
			t.Errorf("%d receipts over %d mJ and %d atoms; want 2, 700 and %d", len(owed), energy, due, want)
		}
	})
}

// addFile puts a file of this text into a store.
func addFile(t *testing.T, store *files.Files, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cid, _, err := store.Add(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return cid
}

// payLate answers each receipt a second before the pause would end the run.
func (m *metered) payLate(ctx context.Context) (paid int) {
	for {
		rec, _, changed := m.h.watch()
		r, owed := m.owed()
		if owed && r.Kind == payment.KindInterval && rec.Phase == runv1.Phase_PHASE_PAUSED {
			if !network.Sleep(ctx, m.Terms.HoldPaused-time.Second) {
				return paid
			}
			m.h.countersigns <- m.answer(r, 0)
			paid++
		}
		select {
		case <-ctx.Done():
			return paid
		case <-changed:
		}
	}
}
