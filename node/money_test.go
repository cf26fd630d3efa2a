package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	"github.com/souk-market/souk/storage/files"
)

// TestFirstReceiptTooLong shows a client a first receipt over an hour, seconds
// after the lease: it was not running then, and is not paid for it.
func TestFirstReceiptTooLong(t *testing.T) {
	provider, client := twoNodes(t, serveChain(t))
	s, _ := bidFor(t, provider, client)
	payer := payment.NewPayer(s.Terms)
	payer.Start(time.UnixMilli(s.Lease.SignedMs))
	span := s.Terms.MaxDuration
	now := time.Now()
	var err error
	line := payment.UsageLine{Line: s.Terms.Tariff[0], Quantity: uint64(span.Milliseconds())}
	if line.Due, err = line.Line.Due(line.Quantity); err != nil {
		t.Fatal(err)
	}
	r := payment.Receipt{Version: 2, Lease: s.Terms.Lease, Job: s.Terms.Job, Channel: s.Terms.Channel, ProviderKey: s.Terms.ProviderKey,
		ClientKey: s.Terms.ClientKey, Seq: 1, Kind: payment.KindInterval, StartMs: now.Add(-span).UnixMilli(), EndMs: now.UnixMilli(),
		Usage: []payment.UsageLine{line}, CumulativeDue: line.Due, InputDigest: s.Terms.InputDigest}
	r.SignProvider(s.Terms.Domain, provider.cfg.Identity)
	var refused *payment.ReceiptError
	if paid, err := payer.Check(now, r); !errors.As(err, &refused) || refused.Reason != payment.BadTime {
		t.Errorf("a minute of work within seconds: paid %s, %v", paid, err)
	}
}

// TestRefundShutsOutLeases asks for a refund whose chain hangs, and meanwhile for
// a lease that counts on the same balance.
func TestRefundShutsOutLeases(t *testing.T) {
	url := serveChain(t)
	p := newProxy(t, url)
	provider, client := twoNodes(t, p.url)
	if s := finished(t, submit(t, client, testJob(t, client, "short"))); s.State != "done" {
		t.Fatalf("job ended as %v", s)
	}
	id := eventuallySettled(t, provider, client)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.hang.Store(true)
	done := make(chan error, 1)
	go func() {
		_, _, _, err := provider.keeper.Refund(ctx, id)
		done <- err
	}()
	networktest.Eventually(t, "the refund", func() bool { rec, _ := provider.channels.Get(id); return rec.Refunding })
	s, _ := bidFor(t, provider, client)
	req := goodRequest(t, client, s)
	if _, refused := provider.provider.Accept(t.Context(), client.host.ID(), req); refused == nil {
		t.Error("a lease was taken while its channel was refunded")
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a refund on a hanging chain")
	}
	p.hang.Store(false)
	if rec, _ := provider.channels.Get(id); rec.Refunding {
		t.Error("the channel stays closed though nothing was sent")
	}
	if s := finished(t, submit(t, client, testJob(t, client, "short"))); s.State != "done" {
		t.Errorf("after a refund that was not sent the job ended as %v", s)
	}
}

// eventuallySettled waits until nothing is live on the channel.
func eventuallySettled(t *testing.T, provider, client *Node) (id souk.ChannelID) {
	t.Helper()
	networktest.Eventually(t, "the end of the lease", func() bool {
		rec, ok := provider.channels.With(client.host.ID().String(), false)
		if ok {
			id = rec.ID()
		}
		return ok && !rec.Live() && rec.Balance > 0
	})
	return id
}

// TestInputsForTheProviderOnly has a third node ask the client for the inputs of
// a job that runs at its provider, by their CIDs.
func TestInputsForTheProviderOnly(t *testing.T) {
	url := serveChain(t)
	_, client := twoNodes(t, url)
	third, _ := startDaemon(t, func(c *Config) { c.Bootstrap = []string{address(client)} })
	msg := testJob(t, client, "long")
	j := submit(t, client, msg)
	networktest.Eventually(t, "the run", func() bool { return j.Summary().State == "running" })
	networktest.Eventually(t, "the connection", func() bool { return len(third.host.Network().ConnsToPeer(client.host.ID())) > 0 })
	for _, cid := range runner.Contents(msg) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := third.files.Fetch(ctx, cid, client.host.ID(), files.Limit{Bytes: 1 << 20, Blocks: 100}, nil)
		cancel()
		if has, _ := third.files.Complete(t.Context(), cid); err == nil || has {
			t.Errorf("a third node got %s: %v, %t", cid, err, has)
		}
	}
	if s := finished(t, j); s.State != "done" {
		t.Errorf("job ended as %v", s)
	}
}

// TestInputsMissing submits a job whose inputs nobody added here.
func TestInputsMissing(t *testing.T) {
	other, client := twoNodes(t, serveChain(t))
	msg := testJob(t, client, "short")
	var err error
	if msg.Input, _, err = other.files.AddReader(t.Context(), strings.NewReader("nobody else has this")); err != nil {
		t.Fatal(err)
	}
	if id, err := calls(client).jobs.Submit(t.Context(), &apiv1.SubmitRequest{Job: msg}); err == nil {
		t.Errorf("job %s was taken without its inputs", id.Id)
	}
	if n := len(client.client.List()); n != 0 {
		t.Errorf("%d jobs are kept", n)
	}
}

// TestNamedChannels names many channels to a provider, none of which is funded:
// it keeps none.
func TestNamedChannels(t *testing.T) {
	provider, client := twoNodes(t, serveChain(t))
	s, _ := bidFor(t, provider, client)
	for i := range 8 {
		ch := s.Channel
		ch.Salt[0] = byte(i + 1)
		d, err := client.chain.SignDeposit(ch, 1_000_000*souk.AtomsPerToken, time.Minute, time.Now(), [32]byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := money.NewKeyBinding(client.cfg.Identity, client.cfg.VoucherKey, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		req := &leasev1.DepositRequest{Channel: ch.Proto(), ClientKeys: keys.At(time.Now()), Deposit: d.Proto()}
		if tx, err := provider.provider.TakeDeposit(t.Context(), client.host.ID(), req); err == nil {
			t.Fatalf("a deposit of what the wallet does not have: %s", tx)
		}
	}
	if n := len(provider.channels.All()); n != 0 {
		t.Errorf("%d channels are kept", n)
	}
}
