package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	role "github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// again is the config of a node's next life: its home, its keys, its addresses.
func again(n *Node) func(*Config) {
	var listen []string // a stopped host has none
	for _, a := range n.host.Addrs() {
		listen = append(listen, a.String())
	}
	return func(c *Config) {
		old := n.cfg
		c.Home, c.Identity, c.Wallet, c.VoucherKey = old.Home, old.Identity, old.Wallet, old.VoucherKey
		c.ChainURLs, c.ChainID, c.Provide, c.Prices, c.Bootstrap = old.ChainURLs, old.ChainID, old.Provide, old.Prices, old.Bootstrap
		c.Listen = listen
	}
}

// duo is a provider and a client with tokens, each with its stop.
type duo struct {
	provider, client         *Node
	stopProvider, stopClient func()
}

func newDuo(t *testing.T, url string) *duo {
	t.Helper()
	p := &duo{}
	p.provider, p.stopProvider = startDaemon(t, func(c *Config) {
		c.ChainURLs, c.ChainID, c.Provide = []string{url}, chain.DevnetChainID, true
		c.Prices = map[string]souk.Atoms{"CPU": 2 * souk.AtomsPerToken}
	})
	p.client, p.stopClient = startDaemon(t, func(c *Config) {
		c.ChainURLs, c.ChainID, c.Bootstrap = []string{url}, chain.DevnetChainID, []string{address(p.provider)}
	})
	if !fill(p.provider) || !fill(p.client) {
		t.Fatal("the faucet gave nothing")
	}
	networktest.Eventually(t, "the offer", func() bool { return p.client.book.Len() == 1 })
	return p
}

func (p *duo) restartProvider(t *testing.T) {
	t.Helper()
	next := again(p.provider)
	p.stopProvider()
	p.provider, p.stopProvider = startDaemon(t, next)
}

func (p *duo) restartClient(t *testing.T) {
	t.Helper()
	next := again(p.client)
	p.stopClient()
	p.client, p.stopClient = startDaemon(t, next)
}

// agree waits until both sides say the same of their channel, with nothing live
// on it, and checks their books.
func (p *duo) agree(t *testing.T) souk.Atoms {
	t.Helper()
	var theirs, ours *money.Channel
	networktest.Eventually(t, "one word on the channel", func() bool {
		var ok, too bool
		theirs, ok = p.provider.channels.With(p.client.host.ID().String(), false)
		ours, too = p.client.channels.With(p.provider.host.ID().String(), true)
		return ok && too && !theirs.Live() && !ours.Live() && theirs.Due() == ours.Due()
	})
	if len(theirs.Leases) != 0 || len(ours.Leases) != 0 {
		t.Errorf("leases that are over stay in the channel: %v and %v", theirs.Leases, ours.Leases)
	}
	if theirs.Vouched() > theirs.Voucher.MaxClaimable {
		t.Errorf("the provider is due %s by vouchers of %s", theirs.Vouched(), theirs.Voucher.MaxClaimable)
	}
	checkBooks(t, p.provider)
	checkBooks(t, p.client)
	return ours.Due()
}

// TestClientRestart stops a client whose job runs, and starts it again: the job
// goes on, is paid to the end, and its log has no gap and no line twice.
func TestClientRestart(t *testing.T) {
	p := newDuo(t, serveChain(t))
	id := submit(t, p.client, testJob(t, p.client, "long")).ID()
	networktest.Eventually(t, "two receipts", func() bool { j, _ := p.client.client.Find(id.String()); return j.Summary().Receipts >= 2 })
	p.restartClient(t)
	j, err := p.client.client.Find(id.String())
	if err != nil {
		t.Fatal(err)
	}
	s := finished(t, j)
	if s.State != "done" || s.Outputs["out"] == "" || s.Attempts != 1 {
		t.Fatalf("after a restart of its client the job ended as %v", s)
	}
	buf := make([]byte, 1<<10)
	if got := string(buf[:j.ReadLog(runv1.LogStream_LOG_STREAM_STDOUT, buf, 0)]); got != longLog {
		t.Errorf("log is %q", got)
	}
	if due := p.agree(t); due != souk.Atoms(s.PaidAtoms) {
		t.Errorf("paid %d, due %s", s.PaidAtoms, due)
	}
}

// TestClientRestartMatching starts a client that ended while its job looked for a
// provider: the book of the new life is empty at first, and the job waits for it.
func TestClientRestartMatching(t *testing.T) {
	p := newDuo(t, serveChain(t))
	msg := testJob(t, p.client, "short")
	payload := network.MustMarshal(msg)
	id := souk.JobID{Digest: sha256.Sum256(payload)}
	value, err := json.Marshal(role.Record{Message: payload, Started: time.Now(), State: "matching"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.client.ledger.Commit(t.Context(), ledger.Batch{Records: []ledger.Record{{Key: "job/" + id.String(), Value: value}}}); err != nil {
		t.Fatal(err)
	}
	p.restartClient(t)
	j, err := p.client.client.Find(id.String())
	if err != nil {
		t.Fatal(err)
	}
	if end := finished(t, j); end.State != "done" {
		t.Errorf("the job ended as %v", end)
	}
}

// TestClientRestartLeasing starts a client that ended between the countersigned
// Lease and its job's word of it: the job goes on with that lease.
func TestClientRestartLeasing(t *testing.T) {
	p := newDuo(t, serveChain(t))
	msg := testJob(t, p.client, "short")
	s := signByHand(t, p, msg)
	rec := role.Record{Message: network.MustMarshal(msg), Started: time.Now(), State: "leasing",
		Snapshot: scheduler.Snapshot{State: scheduler.Leasing, Provider: s.Terms.ProviderKey},
		Attempts: []role.AttemptRecord{{Provider: s.Peer.String(), Lease: s.ID.String(), Started: time.Now()}}}
	value, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.client.ledger.Commit(t.Context(), ledger.Batch{Records: []ledger.Record{{Key: "job/" + s.Terms.Job.String(), Value: value}}}); err != nil {
		t.Fatal(err)
	}
	p.restartClient(t)
	j, err := p.client.client.Find(s.Terms.Job.String())
	if err != nil {
		t.Fatal(err)
	}
	if end := finished(t, j); end.State != "done" || end.Attempts != 1 || end.Lease != s.ID.String() {
		t.Errorf("job ended as %v", end)
	}
	p.agree(t)
}

// TestClientRestartForgets starts a client that ended with a countersigned lease
// that no job of its knows: the provider is told, and its device is free long
// before the lease would lapse.
func TestClientRestartForgets(t *testing.T) {
	p := newDuo(t, serveChain(t))
	s := signByHand(t, p, testJob(t, p.client, "short"))
	p.restartClient(t)
	networktest.Eventually(t, "the end of the lease", func() bool { return p.provider.provider.Live() == 0 })
	if lease, held := p.provider.provider.Holder(s.Lease.Devices[0]); held {
		t.Errorf("the device is held by lease %s", lease.Short())
	}
	if due := p.agree(t); due != 0 {
		t.Errorf("%s is due for nothing", due)
	}
}

// TestProviderRestartRunning stops a provider whose lease runs: the job ends with
// a reason that names it, what was receipted stays paid, and the channel serves
// the next job.
func TestProviderRestartRunning(t *testing.T) {
	p := newDuo(t, serveChain(t))
	j := submit(t, p.client, testJob(t, p.client, "long"))
	networktest.Eventually(t, "two receipts", func() bool { return j.Summary().Receipts >= 2 })
	p.restartProvider(t)
	s := finished(t, j)
	if s.State != "failed" || s.Reason != "provider-stopped" && s.Reason != "provider-lost" || s.PaidAtoms == 0 {
		t.Fatalf("after a stop of its provider the job ended as %v", s)
	}
	networktest.Eventually(t, "the lease's reserve", func() bool {
		rec, ok := p.client.channels.With(p.provider.host.ID().String(), true)
		return ok && !rec.Live()
	})
	networktest.Eventually(t, "the offer", func() bool {
		offers := p.client.book.Offers()
		return len(offers) == 1 && offers[0].Epoch == p.provider.provider.Epoch() && offers[0].Free == 1
	})
	next := finished(t, submit(t, p.client, testJob(t, p.client, "train")))
	if next.State != "done" {
		t.Fatalf("the next job ended as %v", next)
	}
}

// hand is a client of one lease that a test moves by hand.
type hand struct {
	t      *testing.T
	n      *Node // whose keys and books it uses
	s      *role.Proposal
	job    []byte
	payer  *payment.Payer
	st     p2pnet.Stream
	frames *wire.Reader
	last   *runv1.State
	owed   *runv1.Receipt
}

// signByHand takes a lease for a job.
func signByHand(t *testing.T, p *duo, msg *jobv1.Job) *role.Proposal {
	t.Helper()
	c, to := p.client.dealer, p.provider.host.ID()
	id := souk.JobID{Digest: sha256.Sum256(network.MustMarshal(msg))}
	bid, decline, err := c.Ask(t.Context(), to, p.client.book.Offers(), msg, time.Now().Add(5*time.Second))
	if err != nil || decline != nil {
		t.Fatalf("ask: %v, %v", decline, err)
	}
	s, err := c.Propose(t.Context(), id, msg, to, bid, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if decline, err := c.Countersign(t.Context(), s); err != nil || decline != nil {
		t.Fatalf("countersign: %v, %v", decline, err)
	}
	return s
}

// leaseByHand takes a lease for a job, and attaches to it.
func leaseByHand(t *testing.T, p *duo, msg *jobv1.Job) *hand {
	t.Helper()
	s := signByHand(t, p, msg)
	for _, cid := range runner.Contents(msg) {
		if err := p.client.files.Grant(t.Context(), cid, s.Peer); err != nil {
			t.Fatal(err)
		}
	}
	h := &hand{t: t, n: p.client, s: s, job: network.MustMarshal(msg), payer: payment.NewPayer(s.Terms)}
	h.payer.Start(time.UnixMilli(s.Lease.SignedMs))
	h.attach(p)
	return h
}

func (h *hand) attach(p *duo) {
	h.t.Helper()
	if _, err := p.client.dial(h.t.Context(), h.s.Peer, network.Shareable(p.provider.host)); err != nil {
		h.t.Fatal(err)
	}
	st, release, err := network.OpenStream(h.t.Context(), p.client.host, h.s.Peer, network.RunProtocol)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(release)
	h.st, h.frames, h.last, h.owed = st, wire.NewReader(st, network.MaxRunBytes), nil, nil
	err = wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: h.s.ID.Digest[:], Job: h.job}}})
	if err != nil {
		h.t.Fatal(err)
	}
}

// until reads what the provider says until ok.
func (h *hand) until(what string, ok func() bool) {
	h.t.Helper()
	h.st.SetReadDeadline(time.Now().Add(20 * time.Second))
	for !ok() {
		var f runv1.ToClient
		if err := h.frames.Read(&f); err != nil {
			h.t.Fatalf("waiting for %s: %v", what, err)
		}
		if s := f.GetState(); s != nil {
			h.last = s
		}
		if r := f.GetReceipt(); r != nil {
			h.owed = r
		}
	}
}

func (h *hand) untilPhase(ph runv1.Phase) {
	h.t.Helper()
	h.until(ph.String(), func() bool { return h.last.GetPhase() == ph })
}

// pay countersigns the receipt that waits.
func (h *hand) pay() {
	h.t.Helper()
	r, err := payment.ReceiptFromProto(h.owed)
	if err != nil {
		h.t.Fatal(err)
	}
	paid, err := h.payer.Check(time.Now(), r)
	if err != nil {
		h.t.Fatal(err)
	}
	r.SignClient(h.s.Terms.Domain, h.n.cfg.Identity)
	var voucher payment.Voucher
	err = h.n.channels.Update(h.t.Context(), h.s.Terms.Channel, func(rec *money.Channel) (b ledger.Batch, err error) {
		total, err := rec.Promise(h.s.ID, paid)
		if err != nil {
			return b, err
		}
		voucher = payment.Voucher{Channel: h.s.Terms.Channel, MaxClaimable: max(total, rec.Voucher.MaxClaimable)}
		if err := voucher.Sign(h.s.Terms.Domain, h.n.cfg.VoucherKey); err != nil {
			return b, err
		}
		return rec.Enter(r, paid, voucher, time.Now())
	})
	if err == nil {
		err = h.n.receipts.Log(h.t.Context(), r)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.payer.Accept(r)
	digest := r.Digest(h.s.Terms.Domain)
	err = wire.Write(h.st, &runv1.ToProvider{Message: &runv1.ToProvider_Countersign{Countersign: &runv1.Countersign{
		Receipt: digest[:], Signature: r.ClientSig, Voucher: voucher.Proto(), LeasePaidAtoms: uint64(paid)}}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.owed = nil
}

// payAll pays what comes until the lease has ended.
func (h *hand) payAll() {
	h.t.Helper()
	for h.last.GetPhase() != runv1.Phase_PHASE_ENDED {
		// The last one waits for the outputs it names, which come behind it.
		ready := func() bool {
			return h.owed != nil && (h.owed.Kind != uint32(payment.KindFinal) || h.last.GetPhase() == runv1.Phase_PHASE_COLLECTING)
		}
		h.until("a receipt or the end", func() bool { return ready() || h.last.GetPhase() == runv1.Phase_PHASE_ENDED })
		if ready() {
			h.pay()
		}
	}
	err := h.n.channels.Update(h.t.Context(), h.s.Terms.Channel, func(rec *money.Channel) (ledger.Batch, error) {
		rec.Close(h.s.ID)
		return ledger.Batch{}, nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestProviderRestartCollecting stops a provider that waits for the last voucher.
// In its next life it still has the outputs, and takes the voucher.
func TestProviderRestartCollecting(t *testing.T) {
	p := newDuo(t, serveChain(t))
	msg := testJob(t, p.client, "short")
	h := leaseByHand(t, p, msg)
	h.untilPhase(runv1.Phase_PHASE_COLLECTING)
	output := h.last.Output
	p.restartProvider(t)
	h.attach(p)
	h.untilPhase(runv1.Phase_PHASE_COLLECTING)
	if h.last.Output != output || h.last.Reason != runv1.EndReason_END_REASON_COMPLETED {
		t.Fatalf("after a restart the run stands at %v", h.last)
	}
	limit := files.Limit{Bytes: 1 << 20, Blocks: 100}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.client.files.Fetch(ctx, output, p.provider.host.ID(), limit, nil); err != nil {
		t.Fatal(err)
	}
	h.payAll()
	if p.agree(t) == 0 {
		t.Error("nothing was due")
	}
}

// TestVoucherWithheld runs a job whose client pays nothing: it is paused, and
// after hold_paused ended, with a reason that names the client.
func TestVoucherWithheld(t *testing.T) {
	p := newDuo(t, serveChain(t))
	msg := testJob(t, p.client, "forever")
	msg.Limits.HoldPausedMs = 500
	h := leaseByHand(t, p, msg)
	h.untilPhase(runv1.Phase_PHASE_PAUSED)
	h.untilPhase(runv1.Phase_PHASE_COLLECTING)
	if h.last.Reason != runv1.EndReason_END_REASON_CLIENT_UNPAID {
		t.Errorf("ended as %v", h.last)
	}
	h.until("the final receipt", func() bool { return h.owed.GetKind() == uint32(payment.KindFinal) })
	final, err := payment.ReceiptFromProto(h.owed)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := h.s.Terms.Tariff[0].Due(uint64((h.s.Terms.Interval + h.s.Terms.Grace).Milliseconds()))
	if err != nil || final.CumulativeDue > bound {
		t.Errorf("%s of unpaid work, more than one interval and grace: %s, %v", final.CumulativeDue, bound, err)
	}
	networktest.Eventually(t, "the device", func() bool { return p.provider.provider.Offers(time.Now(), nil)[0].Free == 1 })
}

// TestVoucherLate pays after the pause: the job goes on to its end, and is paid.
func TestVoucherLate(t *testing.T) {
	p := newDuo(t, serveChain(t))
	h := leaseByHand(t, p, testJob(t, p.client, "long"))
	h.untilPhase(runv1.Phase_PHASE_PAUSED)
	h.pay()
	h.untilPhase(runv1.Phase_PHASE_RUNNING)
	h.payAll()
	if h.last.Reason != runv1.EndReason_END_REASON_COMPLETED {
		t.Errorf("ended as %v", h.last)
	}
	p.agree(t)
}

// TestWithdrawalWhileRunning starts to withdraw what a running lease is paid
// from: the provider claims what it has, and works no further.
func TestWithdrawalWhileRunning(t *testing.T) {
	p := newDuo(t, serveChain(t))
	h := leaseByHand(t, p, testJob(t, p.client, "forever"))
	h.until("the first receipt", func() bool { return h.owed != nil })
	known, _ := p.provider.channels.Get(h.s.Terms.Channel)
	tx, err := p.client.chain.StartWithdraw(t.Context(), h.s.Channel, known.Balance)
	if err == nil {
		_, err = p.client.chain.Wait(t.Context(), tx, 1)
	}
	if err == nil {
		err = p.provider.keeper.Reconcile(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	h.pay()
	h.untilPhase(runv1.Phase_PHASE_COLLECTING)
	p.provider.keeper.Wake() // the lease is live: its last voucher is out
	if h.last.Reason != runv1.EndReason_END_REASON_CLIENT_UNPAID {
		t.Errorf("ended as %v", h.last)
	}
	networktest.Eventually(t, "a claim before the withdrawal", func() bool {
		rec, _ := p.provider.channels.Get(h.s.Terms.Channel)
		return rec.Claimed > 0
	})
	checkBooks(t, p.provider)
}
