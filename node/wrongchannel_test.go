package node_test

import (
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// TestLyingAboutChannels lies in every question about a channel and in every
// answer to one, between a client and a provider each: whoever did not lie has an
// error in time, or the right answer, and the next honest question is answered.
func TestLyingAboutChannels(t *testing.T) {
	s := newStall(t, 1, func(c *node.Config) { c.Waits.Channel = 4 * networktest.Slow * time.Second })
	is := func(ok func(*leasev1.ChannelRequest) bool) func([]byte) bool {
		return func(b []byte) bool {
			var r leasev1.ChannelRequest
			return proto.Unmarshal(b, &r) == nil && ok(&r)
		}
	}
	answer := func(ok func(*leasev1.ChannelReply) bool) func([]byte) bool {
		return func(b []byte) bool {
			var r leasev1.ChannelReply
			return proto.Unmarshal(b, &r) == nil && ok(&r)
		}
	}
	var wg sync.WaitGroup
	for _, w := range []struct {
		name   string
		client bool
		is     func([]byte) bool
	}{
		{"ask for terms", true, is(func(r *leasev1.ChannelRequest) bool { return r.GetTerms() != nil })},
		{"ask to deposit", true, is(func(r *leasev1.ChannelRequest) bool { return r.GetDeposit() != nil })},
		{"ask for a refund", true, is(func(r *leasev1.ChannelRequest) bool { return r.GetRefund() != nil })},
		{"tell terms", false, answer(func(r *leasev1.ChannelReply) bool { return r.GetTerms() != nil })},
		{"tell of the deposit", false, answer(func(r *leasev1.ChannelReply) bool { return r.GetDeposited() != nil })},
		{"tell of the refund", false, answer(func(r *leasev1.ChannelReply) bool { return r.GetRefunded() != nil })},
	} {
		lies := &networktest.Liar{}
		c := s.clientWith(t, lies, func(c *node.Config) { c.Waits.Channel = 8 * networktest.Slow * time.Second })
		talk := func() error {
			peer := s.provider.id.String()
			_, err := c.Deposit(t.Context(), &apiv1.DepositRequest{Peer: peer, AmountAtoms: uint64(souk.AtomsPerToken / 10)})
			if err == nil {
				_, err = c.Refund(t.Context(), &apiv1.RefundRequest{Peer: peer})
			}
			return err
		}
		wg.Go(func() {
			for k, what := range networktest.Deeds {
				if k%networktest.Slow != 0 && what.Name != "repeated" {
					continue
				}
				d := &networktest.Deed{Protocol: network.ChannelProtocol, Step: w.is, Do: what.Do, Once: what.Once, Client: w.client}
				if w.client {
					lies.Lie(s.provider.id, d)
				} else {
					s.liar.Lie(c.id, d)
				}
				began := time.Now()
				err := talk()
				lies.Lie(s.provider.id, nil)
				s.liar.Lie(c.id, nil)
				took := time.Since(began)
				// What is late but within the deadline is good; and a forgery of
				// what nobody signs, the hash of a transaction for people, is not seen.
				// And a receipt reads as a refund of nothing, which there is.
				good := what.Name == "wrong kind" && w.name == "tell of the refund" || what.Name == "repeated" || what.Name == "late" || what.Name == "forged" && w.name != "ask to deposit"
				if err == nil && !good || took > 20*networktest.Slow*time.Second {
					t.Errorf("%s, %s: %v after %s", w.name, what.Name, err, took)
				}
				if what.Name == "repeated" && err != nil {
					t.Errorf("%s, repeated: %v", w.name, err)
				}
			}
			if err := talk(); err != nil {
				t.Errorf("after all the lies to %s: %v", w.name, err)
			}
			c.checkBooks(t)
		})
	}
	wg.Wait()
	s.provider.checkBooks(t)
	nothingRuns(t)
}

// TestWhoReadsNothing attaches to a run and reads nothing of a job that prints
// without end: the stream ends, and the lease by its own terms.
func TestWhoReadsNothing(t *testing.T) {
	s := newStall(t, 1, func(c *node.Config) {
		c.Waits.Write, c.Waits.Collect = 300*time.Millisecond, 500*time.Millisecond
	})
	c := s.hand(t)
	r := c.run(t, stallJob(c.job(t, "chatter")))
	networktest.Eventually(t, "the end of the stream", func() bool {
		return s.provider.status(t).Rejects[network.RunProtocol+":deadline"] > 0
	})
	if why := s.ends(t, r.s.ID); why != runv1.EndReason_END_REASON_CLIENT_OUTPUTS && why != runv1.EndReason_END_REASON_CLIENT_UNPAID {
		t.Errorf("ended as %s", why)
	}
	networktest.Eventually(t, "the device", func() bool { return s.idle(t) })
	nothingRuns(t)
}
