package node_test

import (
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	storemem "github.com/souk-market/souk/storage/mem"
)

// TestLeaseAskedForAtTheLastMoment hands in leases whose streams' time is over by
// the time they are taken, as where a client opens the stream and then waits: here
// the provider's disk holds them up. What was taken has its deadlines all the same,
// and its devices come back.
func TestLeaseAskedForAtTheLastMoment(t *testing.T) {
	const leases = 8
	disk := &gateStore{keptStore: keptStore{storemem.New()}}
	s := newStall(t, leases, func(c *node.Config) {
		c.Store, c.Waits.Send, c.Waits.Lease = disk, networktest.Slow*time.Second, networktest.Slow*300*time.Millisecond
	})
	c := s.hand(t)
	if _, _, err := c.Fund(t.Context(), s.provider.id, souk.AtomsPerToken); err != nil {
		t.Fatal(err)
	}
	msg := stallJob(c.job(t, "forever"))
	var taken []souk.LeaseID
	for i := range leases {
		g := c.propose(t, msg, souk.JobID{Digest: souk.Digest{byte(i)}})
		open := disk.close()
		why, err := c.Countersign(t.Context(), g)
		open()
		if err == nil {
			t.Fatalf("lease %d from a disk that hangs: %v", i, why)
		}
		s.taken(t, g.ID)
		taken = append(taken, g.ID)
	}
	for i, id := range taken { // nobody attaches to them: they end by themselves
		if why := s.ends(t, id); why != runv1.EndReason_END_REASON_CLIENT_INPUTS {
			t.Errorf("lease %d ended with %v", i, why)
		}
	}
}
