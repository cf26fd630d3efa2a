package node

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/scheduler"
	"golang.org/x/sync/errgroup"
)

// TestStoppingEndsNoJob gives a job whose node is stopping what its own dials,
// fetches and streams then answer: that they failed. None of it may be written
// down as the job's end: the next start goes on with it.
func TestStoppingEndsNoJob(t *testing.T) {
	n, _ := startDaemon(t, func(c *Config) { c.ChainURLs = []string{serveChain(t)} })
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 32 {
		j := unfinished(t, n, souk.JobID{Digest: souk.Digest{byte(i + 1)}}, nil)
		j.machine = scheduler.ResumeJob(j.machineConfig(), scheduler.Snapshot{State: scheduler.Failed, Attempts: 1,
			End: scheduler.End{State: scheduler.Failed, Reason: scheduler.ReasonNoAnswer}}, time.Now())
		j.events <- scheduler.Tick{}
		if err := j.drive(over, new(errgroup.Group)); err != nil {
			t.Error(err)
		}
	}
	noneEnded(t, n)
}

// TestStoppingWhileOutputsAreWritten stops a node while a job's outputs are
// written to where their owner wants them: the next start writes them.
func TestStoppingWhileOutputsAreWritten(t *testing.T) {
	n, _ := startDaemon(t, func(c *Config) { c.ChainURLs = []string{serveChain(t)} })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model"), []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, _, err := n.files.Add(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 32 {
		j := unfinished(t, n, souk.JobID{Digest: souk.Digest{byte(i + 1)}}, []string{filepath.Join(t.TempDir(), "out")})
		if err := j.finish(over, scheduler.End{State: scheduler.Done, Output: root}); err == nil {
			t.Error("a job ended whose outputs were not written")
		}
	}
	noneEnded(t, n)
}

// unfinished is a job that is under way.
func unfinished(t *testing.T, n *Node, id souk.JobID, saveTo []string) *job {
	t.Helper()
	msg := testJob(t, n, "train")
	return newJob(n.client, id, msg, jobRecord{Message: network.MustMarshal(msg), SaveTo: saveTo, Started: time.Now()})
}

// noneEnded looks for jobs that have ended in the ledger, once all that was handed
// to it is there.
func noneEnded(t *testing.T, n *Node) {
	t.Helper()
	if err := n.ledger.Commit(t.Context(), ledger.Batch{}); err != nil {
		t.Fatal(err)
	}
	err := n.ledger.Scan("job/", func(key string, value []byte) error {
		var rec jobRecord
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
