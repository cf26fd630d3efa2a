package sim

import (
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// hosting is a lease at its provider, from countersigned to ended.
type hosting struct {
	p        *provider
	client   *node
	job      *job // what the job will do; nothing of its client's is read from it
	account  *account
	terms    payment.Terms
	occupies scheduler.Lease
	deposit  souk.Atoms

	// Durable.
	phase    runv1.Phase
	reason   runv1.EndReason
	exit     int32
	output   string
	receipts []payment.Receipt // with the client's signature from where it came
	settled  souk.Atoms        // due by countersigned receipts once ended

	// Volatile.
	meter   *payment.Meter
	holding bool // has its devices
	running bool
	since   time.Duration
	wake    time.Duration // when the meter's next tick is due

	// The truth, which no node could know better.
	ran   time.Duration
	cause runv1.EndReason // of the run's end, whatever became of the payment
}

// set moves to a phase and tells the client.
func (h *hosting) set(phase runv1.Phase) {
	h.phase = phase
	h.tell()
}

// fund waits for the deposit to be confirmed, if there is one.
func (h *hosting) fund() {
	w := h.p.n.w
	wait := w.between(0, time.Second)
	if h.deposit > 0 {
		if wait = w.between(time.Second, 15*time.Second); w.mishap(0.01) {
			wait = fundWithin + time.Minute // the chain is slow today
		}
	}
	h.p.n.after(min(wait, fundWithin), "funded", func() {
		switch {
		case h.phase != runv1.Phase_PHASE_FUNDING:
		case wait > fundWithin:
			h.end(runv1.EndReason_END_REASON_PROVIDER_FAILED)
		case h.deposit > 0 && !w.chain.deposit(h.client.index, h.account.channel, h.terms.Lease, h.deposit):
			h.end(runv1.EndReason_END_REASON_CLIENT_UNFUNDED)
		default:
			if h.deposit > 0 {
				h.account.read()
				h.account.DepositCounted(h.terms.Lease, h.deposit, true)
			}
			h.stage()
		}
	})
}

// stage fetches what the job needs from its client.
func (h *hosting) stage() {
	h.set(runv1.Phase_PHASE_STAGING)
	h.p.n.after(h.p.n.w.between(500*time.Millisecond, 20*time.Second), "staged", func() {
		switch {
		case h.phase != runv1.Phase_PHASE_STAGING:
		case !h.p.n.reaches(h.client):
			h.end(runv1.EndReason_END_REASON_CLIENT_INPUTS)
		default:
			h.meter.Start(h.p.n.now())
			h.run()
			h.set(runv1.Phase_PHASE_RUNNING)
			h.tick()
		}
	})
}

// run lets the job go on, until what is left of it is done.
func (h *hosting) run() {
	n := h.p.n
	h.running, h.since = true, n.w.now
	left, since := h.job.runFor-h.ran, h.since
	n.after(left, "job done", func() {
		if h.running && h.since == since {
			h.finish(h.job.ending, h.job.exit, h.job.output)
		}
	})
}

func (h *hosting) halt() {
	h.ran, h.running = h.work(), false
}

// work is how long the job ran in truth.
func (h *hosting) work() time.Duration {
	if h.running {
		return h.ran + h.p.n.w.now - h.since
	}
	return h.ran
}

// tick lets the meter say what is due, and asks to be woken for the next time.
func (h *hosting) tick() {
	n := h.p.n
	r, a := h.meter.Tick(n.now(), payment.Usage{})
	if r != nil {
		h.sign(*r)
	}
	h.act(a)
	h.plan()
}

// plan sets the timer for the meter's next time.
func (h *hosting) plan() {
	n := h.p.n
	next, ok := h.meter.Next()
	if !ok {
		return
	}
	at := max(n.w.now, n.w.now+next.Sub(n.now()))
	h.wake = at
	n.after(at-n.w.now, "meter", func() {
		if h.wake == at {
			h.tick()
		}
	})
}

// act does with the job what the meter says.
func (h *hosting) act(a payment.Action) {
	switch a.Do {
	case payment.Pause:
		if h.p.n.w.cfg.fault == neverPauses {
			return
		}
		h.halt()
		h.p.n.w.stats.Pauses++
		h.set(runv1.Phase_PHASE_PAUSED)
	case payment.Resume:
		h.run()
		h.set(runv1.Phase_PHASE_RUNNING)
	case payment.Stop:
		h.finish(a.Reason, 0, "")
	}
}

// sign makes a receipt durable and shows it to the client.
func (h *hosting) sign(r payment.Receipt) {
	if h.p.overcharges && r.Seq > 1 {
		r.CumulativeDue++
	}
	r.SignProvider(domain, h.p.n.key)
	h.receipts = append(h.receipts, r)
	h.p.n.w.stats.Receipts++
	h.tell()
}

// finish ends the run with its final receipt and waits for the last voucher.
func (h *hosting) finish(reason runv1.EndReason, exit int32, output string) {
	h.halt()
	h.p.free(h)
	h.cause = reason
	h.reason, h.exit, h.output, h.phase = reason, exit, output, runv1.Phase_PHASE_COLLECTING
	var digest souk.Digest
	if output != "" {
		digest = h.p.n.w.digest("output %s", output)
	}
	h.sign(h.meter.Finish(h.p.n.now(), digest, payment.Usage{}))
	h.collect()
}

func (h *hosting) collect() {
	h.p.n.after(collectWithin, "collect ends", func() { h.end(runv1.EndReason_END_REASON_CLIENT_OUTPUTS) })
}

// end closes the lease: what is countersigned is what it cost.
func (h *hosting) end(reason runv1.EndReason) {
	if h.phase == runv1.Phase_PHASE_ENDED {
		return
	}
	if h.reason == 0 || h.reason == runv1.EndReason_END_REASON_COMPLETED && reason == runv1.EndReason_END_REASON_CLIENT_OUTPUTS {
		h.reason = reason
	}
	h.halt()
	h.p.free(h)
	h.settled = h.due()
	h.account.Close(h.terms.Lease)
	h.account.check()
	h.p.live = slices.DeleteFunc(h.p.live, func(o *hosting) bool { return o == h })
	if h.cause == 0 {
		h.cause = h.reason
	}
	name := runv1.EndReason_name[int32(h.cause)]
	if len(h.owed()) > 0 {
		name += ", the last receipt unpaid"
	}
	h.p.n.w.stats.Runs[name]++
	h.set(runv1.Phase_PHASE_ENDED)
}

// release is the client letting go of the lease.
func (h *hosting) release() {
	switch h.phase {
	case runv1.Phase_PHASE_FUNDING, runv1.Phase_PHASE_STAGING:
		h.end(runv1.EndReason_END_REASON_CLIENT_RELEASED)
	case runv1.Phase_PHASE_RUNNING, runv1.Phase_PHASE_PAUSED:
		h.finish(runv1.EndReason_END_REASON_CLIENT_RELEASED, 0, "")
	}
}

// owed is the receipts not countersigned, oldest first.
func (h *hosting) owed() []payment.Receipt {
	i := slices.IndexFunc(h.receipts, func(r payment.Receipt) bool { return len(r.ClientSig) == 0 })
	if i < 0 {
		return nil
	}
	return h.receipts[i:]
}

// due is what the countersigned receipts say.
func (h *hosting) due() souk.Atoms {
	if n := len(h.receipts) - len(h.owed()); n > 0 {
		return h.receipts[n-1].CumulativeDue
	}
	return 0
}

// countersigned takes the client's answer to a receipt. A wrong one changes nothing.
func (h *hosting) countersigned(c countersign) {
	owed := h.owed()
	if h.phase == runv1.Phase_PHASE_ENDED || len(owed) == 0 || owed[0].Digest(domain) != c.receipt {
		return
	}
	w, r := h.p.n.w, &h.receipts[len(h.receipts)-len(owed)]
	signed := *r
	signed.ClientSig = c.signature
	err := signed.VerifyClient(domain)
	if err == nil && c.leasePaid <= h.terms.Reserve {
		_, err = h.account.Post(signed, c.leasePaid, c.voucher)
	}
	if err != nil || c.leasePaid > h.terms.Reserve {
		w.stats.Refused++
		h.blameless("a countersignature")
		return
	}
	h.account.check()
	*r = signed
	w.stats.Countersigned++
	act, err := h.meter.Countersigned(h.p.n.now(), r.Seq, c.leasePaid)
	if err != nil { // short of what is paid ahead: the meter goes on waiting
		w.stats.Refused++
		h.blameless(err.Error())
	}
	h.act(act)
	h.plan()
	switch {
	case h.phase == runv1.Phase_PHASE_COLLECTING && len(h.owed()) == 0:
		h.end(h.reason)
	case r.Kind == payment.KindInterval:
		h.tell() // the next one may be out already
	}
}

// blameless fails where an honest client is refused, for what.
func (h *hosting) blameless(what string) {
	if h.client.client.habit == honest && !h.p.overcharges {
		h.p.n.w.failf("lease %s: an honest client is refused: %s", h.terms.Lease.Short(), what)
	}
}

// restart goes on after a crash, as far as what is durable allows.
func (h *hosting) restart() {
	m, err := payment.RestoreMeter(h.terms, h.receipts, h.account.Leases[h.terms.Lease].Paid)
	if err != nil && h.p.overcharges { // its receipts are not those of its meter
		h.end(runv1.EndReason_END_REASON_PROVIDER_RESTARTED)
		return
	}
	if err != nil {
		h.p.n.w.failf("restore the meter of lease %s: %v", h.terms.Lease.Short(), err)
	}
	h.meter, h.wake = m, 0
	switch h.phase {
	case runv1.Phase_PHASE_FUNDING:
		if refused := h.p.floor.Commit(h.p.n.now(), h.occupies); refused != nil {
			h.p.n.w.failf("lease %s cannot have its devices back: %v", h.terms.Lease.Short(), refused.Reason)
		}
		h.holding = true
		h.fund()
	case runv1.Phase_PHASE_STAGING:
		h.end(runv1.EndReason_END_REASON_PROVIDER_RESTARTED)
	case runv1.Phase_PHASE_COLLECTING:
		h.collect()
	default:
		h.finish(runv1.EndReason_END_REASON_PROVIDER_RESTARTED, 0, "")
	}
}
