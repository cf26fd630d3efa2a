package node

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network/networktest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// TestLeaseAskedForAtTheLastMoment hands in leases whose streams' time is over by
// the time they are taken, as a client can that opens the stream and then waits.
// What was taken has its deadlines all the same, and its devices come back.
func TestLeaseAskedForAtTheLastMoment(t *testing.T) {
	const leases = 8
	s := newStall(t, leases, func(c *Config) { c.waits.Send = time.Second })
	c := s.client(t, &networktest.Liar{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var taken []souk.LeaseID
	for i := range leases {
		msg := stallJob(t, c, "forever")
		bid, decline, err := c.client.ask(t.Context(), s.provider.host.ID(), c.book.Offers()[0], msg, time.Now().Add(5*time.Second))
		if err != nil || decline != nil {
			t.Fatalf("ask: %v, %v", decline, err)
		}
		g, err := c.client.propose(t.Context(), souk.JobID{Digest: souk.Digest{byte(i)}}, msg, s.provider.host.ID(), bid, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, refused := s.provider.provider.accept(over, c.host.ID(), g.request); refused != nil {
			t.Fatalf("lease %d: %v", i, refused)
		}
		taken = append(taken, g.id)
	}
	for i, id := range taken { // nobody attaches to them: they end by themselves
		if why := s.ends(t, id); why != runv1.EndReason_END_REASON_CLIENT_INPUTS {
			t.Errorf("lease %d ended with %v", i, why)
		}
	}
}

// TestStoppingWhileOutputsAreKept stops a provider while it reads the outputs of a
// run into its store, which takes as long as they are large: it does not wait for
// that. What ran is receipted, and the end names the provider.
func TestStoppingWhileOutputsAreKept(t *testing.T) {
	tree := fuzzTree(t)
	m := newMetered(t, tree)
	store, err := files.New(files.Config{Dir: filepath.Join(m.home, "blocks")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	m.h.with.Outputs = store
	m.h.plan.Out = filepath.Join(m.home, "out")
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
	if rec, owed, _ := m.h.look(); rec.Output != "" || rec.Reason != runv1.EndReason_END_REASON_PROVIDER_STOPPED || len(owed) != 1 || !m.h.finished {
		t.Errorf("outputs %q were kept, reason %v, %d receipts", rec.Output, rec.Reason, len(owed))
	}
}
