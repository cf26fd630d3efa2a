package node

import (
	"context"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network/networktest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TestLeaseAskedForAtTheLastMoment hands in leases whose streams' time is over by
// the time they are taken, as a client can that opens the stream and then waits.
// What was taken has its deadlines all the same, and its devices come back.
func TestLeaseAskedForAtTheLastMoment(t *testing.T) {
	const leases = 8
	s := newStall(t, leases, func(c *Config) { c.Waits.Send = time.Second })
	c := s.client(t, &networktest.Liar{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var taken []souk.LeaseID
	for i := range leases {
		msg := stallJob(t, c, "forever")
		bid, decline, err := c.dealer.Ask(t.Context(), s.provider.host.ID(), c.book.Offers(), msg, time.Now().Add(5*time.Second))
		if err != nil || decline != nil {
			t.Fatalf("ask: %v, %v", decline, err)
		}
		g, err := c.dealer.Propose(t.Context(), souk.JobID{Digest: souk.Digest{byte(i)}}, msg, s.provider.host.ID(), bid, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, refused := s.provider.provider.Accept(over, c.host.ID(), g.Request); refused != nil {
			t.Fatalf("lease %d: %v", i, refused)
		}
		taken = append(taken, g.ID)
	}
	for i, id := range taken { // nobody attaches to them: they end by themselves
		if why := s.ends(t, id); why != runv1.EndReason_END_REASON_CLIENT_INPUTS {
			t.Errorf("lease %d ended with %v", i, why)
		}
	}
}
