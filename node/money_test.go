package node_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/storage/files"
)

// TestFirstReceiptTooLong has a provider bill, by a first receipt that it truly
// signs, all the time that the lease may last, seconds after the lease: it was not
// running then, and is not paid for it.
func TestFirstReceiptTooLong(t *testing.T) {
	url := serveChain(t)
	liar := &networktest.Liar{}
	provider := startDaemon(t, func(c *node.Config) {
		sellingCPU(url)(c)
		c.WrapHost = func(h host.Host) host.Host { liar.Host = h; return liar }
	})
	provider.fill(t)
	client := buyer(t, provider)
	domain := provider.chain(t).Domain()
	liar.Lie(client.id, &networktest.Deed{Protocol: network.RunProtocol, Step: said(ofKind(payment.KindInterval)), Once: true,
		Do: func(_ *networktest.Deed, st p2pnet.Stream, b []byte) error {
			var f runv1.ToClient
			if err := unframe(b, &f); err != nil {
				return err
			}
			r, err := payment.ReceiptFromProto(f.GetReceipt())
			if err != nil {
				return err
			}
			const span = time.Minute
			r.StartMs = time.UnixMilli(r.EndMs).Add(-span).UnixMilli()
			line := &r.Usage[0]
			line.Quantity = uint64(span.Milliseconds())
			if line.Due, err = line.Line.Due(line.Quantity); err != nil {
				return err
			}
			r.CumulativeDue = line.Due
			r.SignProvider(domain, provider.cfg.Identity)
			f.Message = &runv1.ToClient_Receipt{Receipt: r.Proto()}
			return networktest.Frame(st, network.MustMarshal(&f))
		}})
	s := client.submit(t, testJob(t, client, "long")).finished(t)
	if s.Reason != "provider-cheated" || s.PaidAtoms != 0 || s.Receipts != 0 || !strings.Contains(s.Detail, ": "+string(payment.BadTime)+": ") {
		t.Errorf("a minute of work within seconds: paid %d, the job ended as %v", s.PaidAtoms, s)
	}
}

// hungChain is a chain that does not answer, while hang is set.
type hungChain struct {
	node.Chain
	hang  atomic.Bool
	asked atomic.Int64 // calls while it was set
}

// Block implements [node.Chain]: each look at the chain begins with it.
func (c *hungChain) Block(ctx context.Context) (uint64, time.Time, error) {
	if c.hang.Load() {
		c.asked.Add(1)
		<-ctx.Done()
		return 0, time.Time{}, ctx.Err()
	}
	return c.Chain.Block(ctx)
}

// TestRefundShutsOutLeases asks for a refund whose chain hangs, and meanwhile for
// a lease that counts on the same balance.
func TestRefundShutsOutLeases(t *testing.T) {
	slow := &hungChain{}
	s := newStall(t, 4, func(c *node.Config) {
		slow.Chain, c.Chain = c.Chain, slow
		c.Waits.Channel = 2 * networktest.Slow * time.Second // the refund gives up then
	})
	c := s.hand(t)
	if _, _, err := c.Fund(t.Context(), s.provider.id, souk.AtomsPerToken); err != nil {
		t.Fatal(err)
	}
	lease := func() *market.Refusal {
		g := c.propose(t, stallJob(c.job(t, "brief")), souk.JobID{Digest: souk.Digest{1}})
		why, err := c.Countersign(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		if why == nil {
			return nil
		}
		if err := c.CloseLease(t.Context(), g.Terms.Channel, g.ID); err != nil {
			t.Fatal(err)
		}
		return why
	}
	slow.hang.Store(true)
	done := make(chan error, 1)
	go func() {
		_, err := c.Refund(t.Context(), c.written(t, s.provider.id, true))
		done <- err
	}()
	networktest.Eventually(t, "the refund", func() bool { return slow.asked.Load() > 0 }) // it is durable before that
	if why := lease(); why == nil || why.Reason != marketv1.DeclineReason_DECLINE_REASON_PAYMENT {
		t.Errorf("a lease while its channel was refunded: %v", why)
	}
	if err := <-done; err == nil {
		t.Error("a refund on a hanging chain")
	}
	slow.hang.Store(false)
	networktest.Eventually(t, "a lease after a refund that was not sent", func() bool { return lease() == nil })
}

// TestInputsForTheProviderOnly has a third node ask the client for the inputs of
// a job that runs at its provider, by their CIDs.
func TestInputsForTheProviderOnly(t *testing.T) {
	provider, client := twoNodes(t, serveChain(t))
	third := handOn(t, provider)
	msg := testJob(t, client, "long")
	j := client.submit(t, msg)
	j.running(t)
	third.to = client
	if _, err := third.connect(t.Context(), client.id, nil); err != nil {
		t.Fatal(err)
	}
	for _, cid := range runner.Contents(msg) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := third.files.Fetch(ctx, cid, client.id, files.Limit{Bytes: 1 << 20, Blocks: 100}, nil)
		cancel()
		if has, _ := third.files.Complete(t.Context(), cid); err == nil || has {
			t.Errorf("a third node got %s: %v, %t", cid, err, has)
		}
	}
	if s := j.finished(t); s.State != "done" {
		t.Errorf("job ended as %v", s)
	}
}

// TestInputsMissing submits a job whose inputs nobody added here.
func TestInputsMissing(t *testing.T) {
	other, client := twoNodes(t, serveChain(t))
	msg := testJob(t, client, "short")
	msg.Input = testJob(t, other, "nobody else has this").Wasm
	if got, err := client.Submit(t.Context(), &apiv1.SubmitRequest{Job: msg}); err == nil {
		t.Errorf("job %s was taken without its inputs", got.Id)
	}
	if got, err := client.List(t.Context(), &apiv1.ListRequest{}); err != nil || len(got.Jobs) != 0 {
		t.Errorf("%d jobs are kept, %v", len(got.GetJobs()), err)
	}
}

// TestNamedChannels names many channels to a provider, none of which is funded:
// it keeps none.
func TestNamedChannels(t *testing.T) {
	provider := seller(t, serveChain(t))
	c := handOn(t, provider)
	keys, err := money.NewKeyBinding(c.cfg.Identity, c.cfg.VoucherKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := c.draft(t, c.job(t, "short"))
	for i := range 8 {
		ch := s.Channel
		ch.Salt[0] = byte(i + 1)
		d, err := c.chain.SignDeposit(ch, 1_000_000*souk.AtomsPerToken, time.Minute, time.Now(), [32]byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		req := &leasev1.ChannelRequest{Version: market.Version, Request: &leasev1.ChannelRequest_Deposit{
			Deposit: &leasev1.DepositRequest{Channel: ch.Proto(), ClientKeys: keys.At(time.Now()), Deposit: d.Proto()}}}
		var reply leasev1.ChannelReply
		if err := network.Exchange(t.Context(), c.host, provider.id, network.ChannelProtocol, req, &reply, network.MaxChannelBytes); err != nil {
			t.Fatal(err)
		}
		if why, err := client.OpenDecline(reply.GetDecline(), souk.Digest{}, provider.key); err != nil || why == nil {
			t.Fatalf("a deposit of what the wallet does not have: %v, %v", &reply, err)
		}
	}
	if got, err := provider.Channels(t.Context(), &apiv1.ChannelsRequest{}); err != nil || len(got.Channels) != 0 {
		t.Errorf("channels that are kept: %v, %v", got.GetChannels(), err)
	}
}
