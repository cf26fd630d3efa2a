package client

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/ledger"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
	"golang.org/x/sync/errgroup"
)

// TestStoppingEndsNoJob gives a job whose node is stopping what its own dials,
// fetches and streams then answer: that they failed. None of it may be written
// down as the job's end: the next start goes on with it.
func TestStoppingEndsNoJob(t *testing.T) {
	b := stoppingBooks(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 32 {
		j := unfinished(t, b, nil, souk.JobID{Digest: souk.Digest{byte(i + 1)}}, nil)
		j.machine = scheduler.ResumeJob(j.machineConfig(), scheduler.Snapshot{State: scheduler.Failed, Attempts: 1,
			End: scheduler.End{State: scheduler.Failed, Reason: scheduler.ReasonNoAnswer}}, time.Now())
		j.events <- scheduler.Tick{}
		if err := j.drive(over, new(errgroup.Group)); err != nil {
			t.Error(err)
		}
	}
	noneEnded(t, b)
}

// TestStoppingWhileOutputsAreWritten stops a node while a job's outputs are
// written to where their owner wants them: the next start writes them.
func TestStoppingWhileOutputsAreWritten(t *testing.T) {
	b := stoppingBooks(t)
	store, err := files.New(files.Config{Dir: t.TempDir(), Host: networktest.Loopback(t, networktest.NewKey(t)), Log: b.Log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model"), []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, _, err := store.Add(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 32 {
		j := unfinished(t, b, store, souk.JobID{Digest: souk.Digest{byte(i + 1)}}, []string{filepath.Join(t.TempDir(), "out")})
		if err := j.finish(over, scheduler.End{State: scheduler.Done, Output: root}); err == nil {
			t.Error("a job ended whose outputs were not written")
		}
	}
	noneEnded(t, b)
}

// stoppingBooks are those of a client.
func stoppingBooks(t *testing.T) *moneytest.Books {
	t.Helper()
	return moneytest.NewBooks(t, moneytest.NewTree(t), true, nil)
}

// unfinished is a job that is under way.
func unfinished(t *testing.T, b *moneytest.Books, store *files.Files, id souk.JobID, saveTo []string) *Job {
	t.Helper()
	d := &Dealer{cfg: DealerConfig{Key: b.Client, VoucherKey: b.VoucherKey, Ledger: b.Ledger, Channels: b.Channels,
		Receipts: b.Receipts, Log: b.Log, Waits: network.DefaultWaits()}}
	c := &Client{cfg: Config{Dealer: d, Home: b.Home, Ledger: b.Ledger, Channels: b.Channels, Inputs: store, Outputs: store,
		Space: b.Space, Log: b.Log, Waits: network.DefaultWaits()}}
	msg := &jobv1.Job{Nonce: id.Digest[:16], Wasm: "program", Outputs: []*jobv1.Output{{From: "/out"}},
		Resources: &marketv1.Resources{}, Price: &jobv1.Price{MaxAtomsPerHour: 1, MaxTotalAtoms: 1},
		Limits: &jobv1.Limits{StartWithinMs: 60_000, MaxDurationMs: 60_000, HoldPausedMs: 5_000}}
	return c.newJob(id, msg, Record{Message: network.MustMarshal(msg), SaveTo: saveTo, Started: time.Now()})
}

// noneEnded looks for jobs that have ended in the ledger, once all that was handed
// to it is there.
func noneEnded(t *testing.T, b *moneytest.Books) {
	t.Helper()
	if err := b.Ledger.Commit(t.Context(), ledger.Batch{}); err != nil {
		t.Fatal(err)
	}
	err := b.Ledger.Scan("job/", func(key string, value []byte) error {
		var rec Record
		if err := json.Unmarshal(value, &rec); err != nil {
			return err
		}
		if !rec.Ended.IsZero() {
			t.Errorf("%s ended as %s: %s %s", key, rec.State, rec.Reason, rec.Detail)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
