package sim

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

const (
	pollEvery  = 5 * time.Second
	silentFor  = 12 * time.Second // after which a link counts as broken
	forgetLost = 2 * time.Minute  // after which a lease unknown to its provider never came to be
)

// paper is a lease at its client: signed, and from Attach on its link.
type paper struct {
	c       *client
	job     *job
	to      *node
	account *account

	// Durable.
	terms    payment.Terms
	signed   time.Time
	deposit  souk.Atoms
	receipts []payment.Receipt // countersigned

	// Volatile.
	payer     *payment.Payer // nil unless attached in this life
	open      bool           // attached
	allowed   bool           // the last voucher may go
	releasing bool           // the provider is to end the run
	dropped   bool           // nothing more is paid
	droppedAt time.Duration
	lost      bool // the link counts as broken
	heard     time.Duration
	polling   time.Duration // when the next poll is due
}

// countersign is a client's answer to a receipt.
type countersign struct {
	receipt   souk.Digest
	signature []byte
	leasePaid souk.Atoms
	voucher   payment.Voucher // not signed
}

// attach opens the link. A lease that has ended since is not attached to.
func (p *paper) attach() {
	if p == nil {
		return
	}
	payer, err := payment.RestorePayer(p.terms, p.receipts)
	if err != nil {
		p.c.n.w.failf("restore the payer of lease %s: %v", p.terms.Lease.Short(), err)
	}
	payer.Start(p.signed)
	p.payer, p.open, p.heard = payer, true, p.c.n.w.now
	p.poll()
}

// drop pays nothing more: what is left is to learn what the lease cost.
func (p *paper) drop() {
	if !p.dropped {
		p.droppedAt = p.c.n.w.now
	}
	p.open, p.dropped, p.releasing = false, true, true
	p.poll()
}

// poll asks the provider where the run stands, and again until the lease is over.
func (p *paper) poll() {
	n := p.c.n
	if (!p.open && !p.dropped) || p.c.paper(p.terms.Lease) == nil {
		return
	}
	if p.open && !p.lost && n.w.now-p.heard > silentFor {
		p.lost = true
		n.w.stats.LinksLost++
		p.job.step(scheduler.LinkLost{Lease: p.terms.Lease})
	}
	at := n.w.now + pollEvery
	if p.dropped {
		at += pollEvery
	}
	p.polling = at
	n.after(at-n.w.now, "poll", func() {
		if p.polling == at {
			p.poll()
		}
	})
	sends, releasing, dropped := p.open && p.c.habit != neverSends, p.releasing, p.dropped
	n.send(p.to, "attach", func() {
		h := p.to.provider.tenancies[p.terms.Lease]
		if h == nil {
			p.to.send(n, "no such lease", p.unknown)
			return
		}
		h.attached(sends, releasing, dropped)
	})
}

// attached takes what the client says when it asks how the run stands: its job,
// and whether the run is to end, with or without its outputs.
func (h *tenancy) attached(job, release, discard bool) {
	if job && !h.jobSent {
		h.jobSent = true
		h.step(scheduler.JobReceived{})
	}
	if release && !(h.p.n.w.cfg.fault == collectsNothing && h.state.Phase == runv1.Phase_PHASE_COLLECTING) {
		h.step(scheduler.ReleaseAsked{Discard: discard})
	}
	if h.p.n.up {
		h.tell()
	}
}

// tell sends the client the state of its run and the receipts it owes.
func (h *tenancy) tell() {
	owed := slices.Clone(h.owed())
	if h.state.Phase == runv1.Phase_PHASE_ENDED {
		owed = nil // too late
	}
	for i := range owed {
		if h.p.overcharges && owed[i].Seq > 1 {
			owed[i].CumulativeDue++
			owed[i].SignProvider(domain, h.p.n.key)
		}
	}
	state := scheduler.RunState{Lease: h.terms.Lease, Phase: h.state.Phase, Reason: h.state.Reason, Exit: h.state.ExitCode, Output: h.state.Output}
	h.p.n.send(h.client, "state", func() {
		if p := h.client.client.paper(h.terms.Lease); p != nil {
			p.hear(state, owed)
		}
	})
}

// hear takes what the provider said.
func (p *paper) hear(state scheduler.RunState, owed []payment.Receipt) {
	n := p.c.n
	p.heard = n.w.now
	if p.lost {
		p.lost = false
		p.job.step(scheduler.LinkBack{Lease: p.terms.Lease})
	}
	for _, r := range owed {
		if !p.open || !n.up {
			break
		}
		p.receive(r)
	}
	if !n.up {
		return
	}
	if state.Phase == runv1.Phase_PHASE_ENDED {
		p.close()
	}
	p.job.step(state)
}

// close forgets a lease that its provider has ended.
func (p *paper) close() {
	if p.c.paper(p.terms.Lease) == nil {
		return
	}
	p.account.Close(p.terms.Lease)
	p.account.check()
	p.c.papers = slices.DeleteFunc(p.c.papers, func(o *paper) bool { return o == p })
	p.c.settled = append(p.c.settled, p)
	if p.payer != nil && p.payer.Done() {
		p.job.step(scheduler.Settled{Lease: p.terms.Lease})
	}
}

// unknown is the provider's word that it has no such lease. A request still on
// its way could yet become one; its bid is over soon.
func (p *paper) unknown() {
	if p.c.n.now().Sub(p.signed) > forgetLost {
		p.close()
	}
}

// due is what the receipts countersigned here say.
func (p *paper) due() souk.Atoms {
	if n := len(p.receipts); n > 0 {
		return p.receipts[n-1].CumulativeDue
	}
	return 0
}

// receive checks a receipt, makes the answer durable and sends it.
func (p *paper) receive(r payment.Receipt) {
	n := p.c.n
	if r.Kind == payment.KindFinal && !p.allowed || p.c.habit == stopsPaying && r.Seq > 2 {
		return
	}
	paid, err := p.payer.Check(n.now(), r)
	if refused := (*payment.ReceiptError)(nil); errors.As(err, &refused) {
		if refused.Reason == payment.BadSequence {
			return // late, or one before it was lost
		}
		if !p.to.provider.overcharges {
			n.w.failf("an honest receipt of lease %s is refused: %v", p.terms.Lease.Short(), err)
		}
		n.w.stats.Cheated++
		p.drop()
		p.job.step(scheduler.RunState{Lease: p.terms.Lease, Phase: runv1.Phase_PHASE_ENDED, Reason: runv1.EndReason_END_REASON_PROVIDER_CHEATED})
		return
	}
	if n.w.cfg.fault == paysTooMuch {
		paid = p.terms.Reserve
	}
	c := countersign{receipt: r.Digest(domain)}
	c.leasePaid, c.signature = p.answer(r, paid)
	c.voucher = p.account.promise(p.terms.Lease, paid)
	if r.Seq == uint64(p.payer.Receipts())+1 {
		r.ClientSig = c.signature
		p.payer.Accept(r)
		if n.w.cfg.fault != losesReceipt || r.Kind != payment.KindFinal {
			p.post(r, paid, c.voucher)
		}
	}
	if n.w.mishap(0.001) {
		n.crash() // durable, and not said
		return
	}
	n.send(p.to, "countersign", func() {
		p.to.provider.tenancies[p.terms.Lease].step(scheduler.CountersignReceived{Receipt: c.receipt[:], Signature: c.signature,
			Paid: uint64(c.leasePaid), Voucher: c.voucher})
	})
}

// post makes a receipt and the voucher that answers it durable.
func (p *paper) post(r payment.Receipt, paid souk.Atoms, v payment.Voucher) {
	if _, err := p.account.Post(r, paid, v); err != nil {
		p.c.n.w.fail(err.Error())
	}
	p.receipts = append(p.receipts, r)
}

// answer is what the client says to a receipt, after its habit.
func (p *paper) answer(r payment.Receipt, paid souk.Atoms) (souk.Atoms, []byte) {
	key := p.c.n.key
	switch p.c.habit {
	case underpays:
		paid = r.CumulativeDue - 1
	case paysArrears:
		paid = r.CumulativeDue
	case forgesReceipts:
		seed := p.c.n.w.digest("forger %d", p.c.n.index)
		key = ed25519.NewKeyFromSeed(seed[:])
	}
	r.SignClient(domain, key)
	return paid, r.ClientSig
}
