package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/storage"
	"github.com/souk-market/souk/storage/files"
	storemem "github.com/souk-market/souk/storage/mem"
)

// TestClientRestart stops a client whose job runs, and starts it again: the job
// goes on, is paid to the end, and its log has no gap and no line twice.
func TestClientRestart(t *testing.T) {
	p := newDuo(t, serveChain(t))
	j := p.client.submit(t, testJob(t, p.client, "long"))
	j.until(t, "two receipts", func(s *apiv1.JobSummary) bool { return s.Receipts >= 2 })
	p.client = restart(t, p.client)
	s := j.finished(t)
	if s.State != "done" || s.Outputs["out"] == "" || s.Attempts != 1 {
		t.Fatalf("after a restart of its client the job ended as %v", s)
	}
	if got := j.stdout(t); got != longLog {
		t.Errorf("log is %q", got)
	}
	if due := p.agree(t); due != souk.Atoms(s.PaidAtoms) {
		t.Errorf("paid %d, due %s", s.PaidAtoms, due)
	}
}

// TestClientRestartMatching stops a client whose job looks for a provider and has no
// answer yet: after its restart the book is empty at first, and the job waits for it.
func TestClientRestartMatching(t *testing.T) {
	s := newStall(t, 1, nil)
	unsaid := &networktest.Deed{Protocol: network.OrderProtocol, Step: networktest.AnyFrame,
		Do: func(*networktest.Deed, p2pnet.Stream, []byte) error { return nil }}
	lies := &networktest.Liar{}
	c := s.client(t, lies)
	lies.Lie(s.provider.id, unsaid)
	j := c.submit(t, stallJob(testJob(t, c, "brief")))
	networktest.Eventually(t, "an order", unsaid.Happened)
	if s := j.get(t).Summary; s.State != "matching" {
		t.Fatalf("before any answer the job is %v", s)
	}
	next := again(c)
	c.stop()
	next.WrapHost = nil
	start(t, next)
	if end := j.finished(t); end.State != "done" {
		t.Errorf("the job ended as %v", end)
	}
}

// lastWrite is a store that takes nothing more after a certain write, as if the node
// had been killed there.
type lastWrite struct {
	keptStore
	is func(key, value []byte) bool

	mu   sync.Mutex // guards what follows
	over bool
}

// Update implements [node.Store].
func (s *lastWrite) Update(fn func(storage.Txn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errors.New("the node was killed")
	}
	last := false
	err := s.keptStore.Update(func(txn storage.Txn) error {
		return fn(&watchedTxn{txn, func(k, v []byte) { last = last || s.is(k, v) }})
	})
	s.over = err == nil && last
	return err
}

func (s *lastWrite) killed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// watchedTxn shows what is written.
type watchedTxn struct {
	storage.Txn
	wrote func(key, value []byte)
}

// Set implements [storage.Txn].
func (t *watchedTxn) Set(key, value []byte) error {
	t.wrote(key, value)
	return t.Txn.Set(key, value)
}

// TestClientRestartLeasing ends a client between the countersigned lease, which its
// job's attempt has written down, and the record that its job has it: the job goes
// on with that lease.
func TestClientRestartLeasing(t *testing.T) {
	s := newStall(t, 2, nil)
	disk := &lastWrite{keptStore: keptStore{storemem.New()}, is: func(_, value []byte) bool {
		var rec client.Record
		return json.Unmarshal(value, &rec) == nil && len(rec.Attempts) > 0 && rec.Attempts[0].Lease != ""
	}}
	c := s.clientWith(t, &networktest.Liar{}, func(c *node.Config) { c.Store = disk })
	j := c.submit(t, stallJob(testJob(t, c, "brief")))
	var lease string
	networktest.Eventually(t, "the lease", func() bool { lease = j.get(t).Summary.Lease; return disk.killed() && lease != "" })
	next := again(c)
	c.stop()
	next.Store = disk.keptStore
	c = start(t, next)
	if s := j.get(t).Summary; s.Lease != lease || s.Lease == "" {
		t.Errorf("lease %q is after a restart %v", lease, s)
	}
	if end := j.finished(t); end.State != "done" || end.Attempts != 1 || end.Lease != lease {
		t.Errorf("job ended as %v", end)
	}
	agree(t, s.provider, c.id, c)
}

// TestClientRestartForgets starts a client that ended with a countersigned lease
// that no job of its knows: the provider is told, and its device is free long
// before the lease would lapse.
func TestClientRestartForgets(t *testing.T) {
	provider := startDaemon(t, func(c *node.Config) { sellingCPU(serveChain(t))(c); kept(t, c) })
	provider.fill(t)
	c := handOn(t, provider)
	g := c.lease(t, c.job(t, "short"))
	if id := provider.holder(t, g.Lease.Devices[0]); id != g.ID.String() {
		t.Errorf("the device of lease %s is held by %q", g.ID, id)
	}
	c.stop()
	c.cfg.Bootstrap = provider.addrs[:1]
	client := start(t, c.cfg)
	networktest.Eventually(t, "the end of the lease", func() bool { return provider.status(t).Leases == 0 })
	if lease := provider.holder(t, g.Lease.Devices[0]); lease != "" {
		t.Errorf("the device is held by lease %s", lease)
	}
	if due := agree(t, provider, client.id, client); due != 0 {
		t.Errorf("%s is due for nothing", due)
	}
}

// TestProviderRestartRunning stops a provider whose lease runs: the job ends with
// a reason that names it, what was receipted stays paid, and the channel serves
// the next job.
func TestProviderRestartRunning(t *testing.T) {
	p := newDuo(t, serveChain(t))
	j := p.client.submit(t, testJob(t, p.client, "long"))
	j.until(t, "two receipts", func(s *apiv1.JobSummary) bool { return s.Receipts >= 2 })
	begun := time.Now()
	p.provider = restart(t, p.provider)
	s := j.finished(t)
	if s.State != "failed" || s.Reason != "provider-stopped" && s.Reason != "provider-lost" || s.PaidAtoms == 0 {
		t.Fatalf("after a stop of its provider the job ended as %v", s)
	}
	networktest.Eventually(t, "the lease's reserve", func() bool { return !p.client.written(t, p.provider.id, true).Live() })
	p.offeredSince(t, begun)
	if next := p.client.submit(t, testJob(t, p.client, "train")).finished(t); next.State != "done" {
		t.Fatalf("the next job ended as %v", next)
	}
}

// runByHand is a provider, and a client that is moved by hand with a run there.
func runByHand(t *testing.T, guest string, change func(*jobv1.Job)) (*daemon, *handRun) {
	t.Helper()
	provider := startDaemon(t, func(c *node.Config) { sellingCPU(serveChain(t))(c); kept(t, c) })
	provider.fill(t)
	c := handOn(t, provider)
	msg := c.job(t, guest)
	if change != nil {
		change(msg)
	}
	return provider, c.run(t, msg)
}

// TestProviderRestartCollecting stops a provider that waits for the last voucher.
// After its restart it still has the outputs, and takes the voucher.
func TestProviderRestartCollecting(t *testing.T) {
	provider, r := runByHand(t, "short", nil)
	r.untilPhase(runv1.Phase_PHASE_COLLECTING)
	output := r.last.Output
	r.to = restart(t, provider)
	r.attach()
	r.untilPhase(runv1.Phase_PHASE_COLLECTING)
	if r.last.Output != output || r.last.Reason != runv1.EndReason_END_REASON_COMPLETED {
		t.Fatalf("after a restart the run stands at %v", r.last)
	}
	limit := files.Limit{Bytes: 1 << 20, Blocks: 100}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.files.Fetch(ctx, output, r.to.id, limit, nil); err != nil {
		t.Fatal(err)
	}
	r.payAll()
	if agree(t, r.to, r.host.ID(), r) == 0 {
		t.Error("nothing was due")
	}
}

// TestVoucherWithheld runs a job whose client pays nothing: it is paused, and
// after hold_paused ended, with a reason that names the client.
func TestVoucherWithheld(t *testing.T) {
	provider, r := runByHand(t, "forever", func(j *jobv1.Job) { j.Limits.HoldPausedMs = 500 })
	r.untilPhase(runv1.Phase_PHASE_PAUSED)
	r.untilPhase(runv1.Phase_PHASE_COLLECTING)
	if r.last.Reason != runv1.EndReason_END_REASON_CLIENT_UNPAID {
		t.Errorf("ended as %v", r.last)
	}
	r.until("the final receipt", func() bool { return r.owed.GetKind() == uint32(payment.KindFinal) })
	final, err := payment.ReceiptFromProto(r.owed)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := r.s.Terms.Tariff[0].Due(uint64((r.s.Terms.Interval + r.s.Terms.Grace).Milliseconds()))
	if err != nil || final.CumulativeDue > bound {
		t.Errorf("%s of unpaid work, more than one interval and grace: %s, %v", final.CumulativeDue, bound, err)
	}
	networktest.Eventually(t, "the device", func() bool { return provider.unused(t) })
}

// TestVoucherLate pays after the pause: the job goes on to its end, and is paid.
func TestVoucherLate(t *testing.T) {
	provider, r := runByHand(t, "long", nil)
	r.untilPhase(runv1.Phase_PHASE_PAUSED)
	r.pay()
	r.untilPhase(runv1.Phase_PHASE_RUNNING)
	r.payAll()
	if r.last.Reason != runv1.EndReason_END_REASON_COMPLETED {
		t.Errorf("ended as %v", r.last)
	}
	agree(t, provider, r.host.ID(), r)
}

// TestWithdrawalWhileRunning starts to withdraw what a running lease is paid
// from: the provider works no further, and claims what it has as soon as it looks at
// the chain, while the lease's last voucher is still out.
func TestWithdrawalWhileRunning(t *testing.T) {
	s := newStall(t, 2, func(c *node.Config) { c.Waits.Collect = time.Minute })
	other, c := s.client(t, &networktest.Liar{}), s.hand(t)
	r := c.run(t, stallJob(c.job(t, "forever")))
	r.until("the first receipt", func() bool { return r.owed != nil })
	tx, err := c.chain.StartWithdraw(t.Context(), r.s.Channel, souk.Atoms(s.provider.channel(t, c.host.ID(), false).BalanceAtoms))
	if err == nil {
		_, err = c.chain.Wait(t.Context(), tx, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.provider.balance(t) // looks at the chain
	r.pay()
	r.untilPhase(runv1.Phase_PHASE_COLLECTING)
	if r.last.Reason != runv1.EndReason_END_REASON_CLIENT_UNPAID {
		t.Errorf("ended as %v", r.last)
	}
	if end := other.finishes(t, "brief"); end != "done completed" { // and that makes the provider claim
		t.Errorf("another's job ended as %s", end)
	}
	networktest.Eventually(t, "a claim before the withdrawal", func() bool { return s.provider.channel(t, c.host.ID(), false).ClaimedAtoms > 0 })
	if s.lease(t, r.s.ID.String()).Phase == runv1.Phase_PHASE_ENDED {
		t.Error("the lease had ended when its provider claimed")
	}
	s.provider.checkBooks(t)
}
