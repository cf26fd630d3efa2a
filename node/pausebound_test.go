package node

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
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
	tree := fuzzTree(t)
	synctest.Test(t, func(t *testing.T) {
		store, err := files.New(files.Config{Dir: filepath.Join(t.TempDir(), "blocks")})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		job := network.MustMarshal(&jobv1.Job{Wasm: addFile(t, store, "forever")})
		b := newBooks(t, tree, false, func(l *leasev1.Lease) {
			id := sha256.Sum256(job)
			l.Job, l.ReserveAtoms, l.HoldPausedMs = id[:], 60_000, 120_000
		})
		b.lease.Resources.MemoryBytes, b.lease.Resources.DiskBytes = 1<<20, 1<<20
		r, err := fake.New(fake.Config{Guests: guests, Kind: marketv1.Runner_RUNNER_WASM})
		if err != nil {
			t.Fatal(err)
		}
		p := b.seller(func(c *providerConfig) { c.Runners, c.Files = []runner.Runner{r}, store })
		p.floor = scheduler.NewFloor(scheduler.FloorConfig{CPUMilli: 1000, RAMBytes: 1 << 30, DiskBytes: 1 << 30,
			Devices: []scheduler.FloorDevice{{ID: b.lease.Devices[0], Class: "CPU", CPU: true}}})
		h := openTenancy(p, b.lease, b.terms, b.channel, peer.ID("client"), leaseRecord{Payload: b.payload})
		h.machine = scheduler.NewTenancy(h.cfg, time.Now())
		if refused := p.floor.Commit(time.Now(), h.occupies()); refused != nil {
			t.Fatal(refused.Detail)
		}
		h.jobs <- job
		m := &metered{t: t, books: b, h: h, vouchers: b.record(t).Voucher.MaxClaimable}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		paid := make(chan int)
		go func() { paid <- m.payLate(ctx) }()
		driving, stop := context.WithCancel(t.Context())
		go func() { // the last receipts stay unpaid: what is asked is when the run has ended
			for {
				rec, _, news := h.look()
				if rec.Phase == runv1.Phase_PHASE_COLLECTING {
					stop()
					return
				}
				<-news
			}
		}()
		h.drive(driving)
		ended := time.Now()
		cancel()
		rec := h.record()
		t.Logf("%d receipts paid at the last moment; ended after %s: %s", <-paid, time.Since(time.UnixMilli(b.lease.SignedMs)), rec.Detail)
		if rec.Reason != runv1.EndReason_END_REASON_CLIENT_UNPAID || rec.Detail != "paused for too long in all" {
			t.Errorf("ended as %s, %s", rec.Reason, rec.Detail)
		}
		if until := h.occupies().Until; !ended.Before(until) {
			t.Errorf("ended at %s, and the lease of the devices at %s", ended, until)
		}
		if lease, held := p.floor.Holder(b.lease.Devices[0]); held {
			t.Errorf("the device is still in lease %s", lease.Short())
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
		rec, _, news := m.h.look()
		r, owed := m.owed()
		if owed && r.Kind == payment.KindInterval && rec.Phase == runv1.Phase_PHASE_PAUSED {
			if !network.Sleep(ctx, m.terms.HoldPaused-time.Second) {
				return paid
			}
			m.h.countersigns <- m.answer(r, 0)
			paid++
		}
		select {
		case <-ctx.Done():
			return paid
		case <-news:
		}
	}
}
