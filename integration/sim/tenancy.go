package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// tenancy drives the machine of one lease at its provider. It stands in for the
// chain, the runner and the network, and keeps what a store would.
type tenancy struct {
	p        *provider
	client   *node
	job      *job // what the job will do; nothing of its client's is read from it
	account  *account
	cfg      scheduler.TenancyConfig
	terms    payment.Terms
	occupies scheduler.Occupancy
	deposit  souk.Atoms

	// Durable.
	state    scheduler.TenancyState
	receipts []payment.Receipt // with the client's signature from where it came
	settled  souk.Atoms        // due by countersigned receipts once ended

	// Volatile.
	machine *scheduler.Tenancy // nil while its node is down
	holding bool               // has its devices
	served  bool               // the client may fetch the outputs
	jobSent bool               // the client's job is here
	wake    time.Duration      // when the machine's next tick is due

	// The truth, which no node could know better.
	running bool
	since   time.Duration // when the job last went on
	ran     time.Duration // how long the job ran before that
	entered time.Duration // when the phase began, in this life
}

// start sets a new lease going.
func (h *tenancy) start() {
	h.machine = scheduler.NewTenancy(h.cfg, h.p.n.now())
	h.state = h.machine.Snapshot()
	h.entered = h.p.n.w.now
	if h.p.n.w.cfg.fault == losesLease && h.p.n.w.chance(0.1) {
		h.machine = nil
	}
	h.step(scheduler.Tick{})
}

// restart goes on after a crash, with what is durable.
func (h *tenancy) restart() {
	n := h.p.n
	history := scheduler.TenancyHistory{State: h.state, Receipts: h.receipts, Paid: h.account.Leases[h.terms.Lease].Paid}
	if h.state.Phase == runv1.Phase_PHASE_FUNDING {
		if refused := h.p.floor.Commit(n.now(), h.occupies); refused != nil {
			n.w.failf("lease %s cannot have its devices back: %v", h.terms.Lease.Short(), refused.Reason)
		}
		h.holding, history.Devices = true, true
	}
	if n.w.cfg.fault == collectsNothing {
		h.finalOfNothing(&history)
	}
	machine, err := scheduler.RestoreTenancy(h.cfg, history, n.now())
	if err != nil {
		n.w.failf("restore lease %s: %v", h.terms.Lease.Short(), err)
	}
	h.machine, h.wake, h.entered = machine, 0, n.w.now
	h.step(scheduler.Tick{})
}

// finalOfNothing is a bug that the daemon had: a run lost by a restart was
// receipted once more, over nothing, and that receipt waited for.
func (h *tenancy) finalOfNothing(history *scheduler.TenancyHistory) {
	if h.state.Phase != runv1.Phase_PHASE_RUNNING && h.state.Phase != runv1.Phase_PHASE_PAUSED {
		return
	}
	meter, err := payment.RestoreMeter(h.terms, h.receipts, history.Paid)
	if err != nil {
		h.p.n.w.fail(err.Error())
	}
	final := meter.Finish(h.p.n.now(), souk.Digest{}, payment.Usage{})
	final.SignProvider(domain, h.p.n.key)
	h.receipts = append(h.receipts, final)
	h.state.Phase, h.state.Reason = runv1.Phase_PHASE_COLLECTING, runv1.EndReason_END_REASON_PROVIDER_RESTARTED
	history.State, history.Receipts = h.state, h.receipts
}

// crash ends what a process holds.
func (h *tenancy) crash() {
	h.halt() // the job dies with its machine
	h.machine, h.holding, h.served, h.jobSent = nil, false, false, false
}

// step gives the machine an event and does what it wants.
func (h *tenancy) step(e scheduler.TenancyEvent) {
	n := h.p.n
	if h.machine == nil || !n.up {
		return
	}
	for _, a := range h.machine.Step(n.now(), e) {
		if _, ok := a.(scheduler.StoreTenancy); ok && n.w.mishap(0.0005) {
			h.step(scheduler.StoreFailed{Detail: "the disk is full"})
			return
		}
		if h.do(a); h.machine == nil || !n.up {
			return
		}
	}
	h.plan()
}

// plan sets the timer for the machine's next tick.
func (h *tenancy) plan() {
	n := h.p.n
	next, ok := h.machine.Next()
	if !ok {
		return
	}
	if at := n.w.now + max(0, next.Sub(n.now())); at != h.wake {
		h.wake = at
		n.after(at-n.w.now, "tenancy", func() {
			if h.wake == at {
				h.wake = -1
				h.step(scheduler.Tick{})
			}
		})
	}
}

// answer gives the machine an event soon, if this life of the node lasts.
func (h *tenancy) answer(after time.Duration, kind string, e scheduler.TenancyEvent) {
	h.p.n.after(after, kind, func() { h.step(e) })
}

func (h *tenancy) do(a scheduler.TenancyAction) {
	w := h.p.n.w
	switch a := a.(type) {
	case scheduler.StoreTenancy:
		h.store(a)
	case scheduler.SubmitDeposit:
		h.submit(a)
	case scheduler.CheckBacking:
		h.account.read()
		backing := scheduler.BackingIs{Enough: h.account.Backing() >= 0, Pending: h.account.Unconfirmed() > 0}
		if w.cfg.fault == countsPending {
			backing.Enough = true
		}
		h.answer(0, "backing", backing)
	case scheduler.StageInputs:
		h.stage()
	case scheduler.StartRun:
		h.p.n.after(w.upTo(time.Second), "started", func() {
			h.run()
			h.step(scheduler.RunStarted{})
		})
	case scheduler.PauseRun:
		if w.cfg.fault != neverPauses {
			h.halt()
		}
		w.stats.Pauses++
	case scheduler.ResumeRun:
		h.run()
	case scheduler.StopRun:
		h.halt()
		h.answer(w.upTo(2*time.Second), "run over", scheduler.RunOver{Reason: runv1.EndReason_END_REASON_CLIENT_RELEASED})
	case scheduler.FreeDevices:
		h.p.free(h)
	case scheduler.StoreOutputs:
		h.storeOutputs()
	case scheduler.GrantOutputs:
		h.served = true
	case scheduler.WithdrawOutputs:
		h.served = false
	case scheduler.PostCountersign:
		h.post(a)
	case scheduler.RejectCountersign:
		if !errors.Is(a.Err, payment.ErrSequence) { // late, or said twice
			w.stats.Refused++
			h.blameless(a.Err.Error())
		}
	case scheduler.EndTenancy:
		h.end(a.State)
	}
}

// store makes the state durable, with the receipts that the provider signs, and
// then tells the client.
func (h *tenancy) store(a scheduler.StoreTenancy) {
	n := h.p.n
	if n.w.mishap(0.0005) {
		n.crash() // nothing of it is durable
		return
	}
	if a.State.Phase != h.state.Phase {
		h.entered = n.w.now
	}
	for _, r := range a.Receipts {
		r.SignProvider(domain, n.key)
		h.receipts = append(h.receipts, r)
		n.w.stats.Receipts++
		if r.Kind == payment.KindFinal {
			h.account.Cap(h.terms.Lease, r.CumulativeDue)
		}
	}
	h.state = a.State
	if n.w.mishap(0.0005) {
		n.crash() // durable, and not said
		return
	}
	h.tell()
}

// submit sends the deposit to the chain, which takes its time and goes on without
// us. An authorization counts once, however often it is sent.
func (h *tenancy) submit(a scheduler.SubmitDeposit) {
	n := h.p.n
	wait := n.w.between(time.Second, 15*time.Second)
	if n.w.mishap(0.01) {
		wait = fundWithin + time.Minute // the chain is slow today
	}
	h.answer(0, "deposit sent", scheduler.DepositSent{Tx: h.terms.Lease.Short()})
	n.w.after(wait, "mined", n, -1, func() {
		n.w.chain.deposit(h.client.index, h.account.channel, h.terms.Lease, h.deposit)
	})
	if late := a.By.Sub(n.now()); wait > late {
		h.answer(late, "no deposit", scheduler.FundingFailed{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED})
		return
	}
	n.after(wait, "deposited", func() {
		if !n.w.chain.deposited[h.terms.Lease] {
			h.step(scheduler.FundingFailed{Reason: runv1.EndReason_END_REASON_CLIENT_UNFUNDED})
			return
		}
		h.account.read()
		h.account.DepositCounted(h.terms.Lease, h.deposit, true)
		h.step(scheduler.DepositCounted{})
	})
}

// stage fetches what the job needs from its client, if that is there for as long.
func (h *tenancy) stage() {
	n := h.p.n
	n.after(n.w.between(500*time.Millisecond, 20*time.Second), "staged", func() {
		if !n.reaches(h.client) {
			h.step(scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_CLIENT_INPUTS})
			return
		}
		h.step(scheduler.InputsStaged{})
	})
}

// storeOutputs keeps what the job wrote.
func (h *tenancy) storeOutputs() {
	n := h.p.n
	stored := scheduler.OutputsStored{}
	if h.ran >= h.job.runFor && h.job.output != "" { // a run that was cut short wrote nothing
		stored = scheduler.OutputsStored{Output: h.job.output, Digest: n.w.digest("output %s", h.job.output)}
	}
	n.after(n.w.upTo(2*time.Second), "outputs stored", func() {
		if n.w.mishap(0.001) {
			h.step(scheduler.OutputsNotStored{Detail: "the disk is full"})
			return
		}
		h.served = h.served || h.machine != nil
		h.step(stored)
	})
}

// run lets the job go on, until what is left of it is done.
func (h *tenancy) run() {
	n := h.p.n
	h.running, h.since = true, n.w.now
	since := h.since
	n.after(h.job.runFor-h.ran, "job done", func() {
		if h.running && h.since == since {
			h.halt()
			h.step(scheduler.RunOver{Reason: h.job.ending, Exit: h.job.exit})
		}
	})
}

func (h *tenancy) halt() { h.ran, h.running = h.work(), false }

// work is how long the job ran in truth.
func (h *tenancy) work() time.Duration {
	if h.running {
		return h.ran + h.p.n.w.now - h.since
	}
	return h.ran
}

// post makes a countersigned receipt and its voucher durable.
func (h *tenancy) post(a scheduler.PostCountersign) {
	w, seq := h.p.n.w, a.Receipt.Seq
	if _, err := h.account.Post(a.Receipt, a.Paid, a.Voucher); err != nil {
		w.stats.Refused++
		h.blameless(err.Error())
		h.answer(0, "refused", scheduler.CountersignRefused{Seq: seq})
		return
	}
	h.account.check()
	h.receipts[seq-1].ClientSig = a.Receipt.ClientSig
	w.stats.Countersigned++
	h.answer(0, "posted", scheduler.CountersignPosted{Seq: seq, Overdrawn: h.account.Overdrawn()})
	h.tell() // the next one may be out already
}

// end closes the lease: what is countersigned is what it cost.
func (h *tenancy) end(state scheduler.TenancyState) {
	n := h.p.n
	if n.w.mishap(0.0005) {
		n.crash()
		return
	}
	h.state = state
	h.settled = h.due()
	h.account.Close(h.terms.Lease)
	h.account.check()
	h.p.live = slices.DeleteFunc(h.p.live, func(o *tenancy) bool { return o == h })
	name := runv1.EndReason_name[int32(state.Reason)]
	if len(h.owed()) > 0 {
		name += ", the last receipt unpaid"
	}
	n.w.stats.Runs[name]++
	h.tell()
}

// owed is the receipts not countersigned, oldest first.
func (h *tenancy) owed() []payment.Receipt {
	i := slices.IndexFunc(h.receipts, func(r payment.Receipt) bool { return len(r.ClientSig) == 0 })
	if i < 0 {
		return nil
	}
	return h.receipts[i:]
}

// due is what the countersigned receipts say.
func (h *tenancy) due() souk.Atoms {
	if n := len(h.receipts) - len(h.owed()); n > 0 {
		return h.receipts[n-1].CumulativeDue
	}
	return 0
}

// blameless fails where an honest client is refused, for what.
func (h *tenancy) blameless(what string) {
	if h.client.client.habit == honest && !h.p.overcharges {
		h.p.n.w.failf("lease %s: an honest client is refused: %s", h.terms.Lease.Short(), what)
	}
}
