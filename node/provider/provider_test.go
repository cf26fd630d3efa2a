package provider

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/network"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// TestStoppingWhileOutputsAreKept stops a provider while it reads the outputs of a
// run into its store, which takes as long as they are large: it does not wait for
// that. What ran is receipted, and the end names the provider.
func TestStoppingWhileOutputsAreKept(t *testing.T) {
	tree := moneytest.NewTree(t)
	m := newMetered(t, tree)
	store, err := files.New(files.Config{Dir: filepath.Join(m.Home, "blocks")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	m.h.with.Outputs = store
	m.h.plan.Out = filepath.Join(m.Home, "out")
	if err := os.MkdirAll(m.h.plan.Out, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.h.plan.Out, "model"), make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m.h.machine.Step(time.Now(), scheduler.RunOver{Reason: runv1.EndReason_END_REASON_COMPLETED}) // StoreOutputs is out
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.h.step(over, over, m.h.storeOutputs(over)); err != nil {
		t.Fatal(err)
	}
	if rec, owed, _ := m.h.watch(); rec.Output != "" || rec.Reason != runv1.EndReason_END_REASON_PROVIDER_STOPPED || len(owed) != 1 || !m.h.finished {
		t.Errorf("outputs %q were kept, reason %v, %d receipts", rec.Output, rec.Reason, len(owed))
	}
}

// TestPrune forgets ended leases and lapsed bids after their time, and nothing else.
func TestPrune(t *testing.T) {
	now := time.Now()
	wait := network.DefaultWaits().Collect
	lease := func(b byte, ph runv1.Phase, since time.Duration) (souk.LeaseID, *tenancy) {
		return souk.LeaseID{Digest: souk.Digest{b}}, &tenancy{rec: leaseRecord{TenancyState: scheduler.TenancyState{Phase: ph, Ended: now.Add(-since)}}}
	}
	p := &Provider{cfg: Config{Waits: network.DefaultWaits()}, floor: scheduler.NewFloor(scheduler.FloorConfig{}),
		tenancies: map[souk.LeaseID]*tenancy{}, bids: map[souk.Digest]*openBid{{1}: {until: now.Add(-bidFirm - time.Second)}, {2}: {until: now}}}
	for i, h := range []struct {
		ph    runv1.Phase
		since time.Duration
	}{{runv1.Phase_PHASE_ENDED, wait + time.Second}, {runv1.Phase_PHASE_ENDED, wait - time.Second}, {runv1.Phase_PHASE_RUNNING, 100 * wait}, {runv1.Phase_PHASE_COLLECTING, 100 * wait}} {
		id, hosted := lease(byte(i), h.ph, h.since)
		p.tenancies[id] = hosted
	}
	p.prune(now)
	if _, old := p.tenancies[souk.LeaseID{}]; old || len(p.tenancies) != 3 || len(p.bids) != 1 {
		t.Errorf("%d leases and %d bids are left", len(p.tenancies), len(p.bids))
	}
}

// TestSickDeviceIsNotForSale leaves a device out that its driver complains of.
func TestSickDeviceIsNotForSale(t *testing.T) {
	p := &Provider{cfg: Config{Prices: map[string]souk.Atoms{"H100": 1}}, devices: []gpu.Device{
		{ID: "GPU-1", Class: "H100", Health: gpu.Healthy}, {ID: "GPU-2", Class: "H100", Health: "row remap pending"}}}
	if got := p.floorConfig().Devices; len(got) != 1 || got[0].ID != "GPU-1" {
		t.Errorf("for sale: %v", got)
	}
}

// TestLeaseRecordFits fills a lease's record with all that its client may bring: the
// ledger takes it.
func TestLeaseRecordFits(t *testing.T) {
	const most = 256 << 10 // of a record; see ledger.Record
	long := strings.Repeat("x", 200)
	rec := leaseRecord{Payload: make([]byte, network.MaxLeaseBytes), ClientLease: make([]byte, network.MaxLeaseBytes),
		ProviderLease: make([]byte, network.MaxLeaseBytes+200), TenancyState: scheduler.TenancyState{Detail: long, Output: long}}
	if b, err := json.Marshal(rec); err != nil || len(b) > most {
		t.Errorf("a lease's record takes %d bytes of at most %d, %v", len(b), most, err)
	}
}
