package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// BrokenError tells which promise did not hold, and how to see it again.
type BrokenError struct {
	Config Config
	At     time.Duration // since the start
	What   string
	Last   []string // the last events of all nodes, oldest first
	Node   []string // the last events of the node it happened at
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("%s after %s: %s\nreplay with -seed=%d -nodes=%d -hours=%g; the last events:\n%s\nand those of its node:\n%s",
		"a promise is broken", e.At, e.What, e.Config.Seed, e.Config.Nodes, e.Config.Length.Hours(), strings.Join(e.Last, "\n"), strings.Join(e.Node, "\n"))
}

func (w *world) broken(what string) *BrokenError {
	e := &BrokenError{Config: w.cfg, At: w.now, What: what, Last: w.last.lines()}
	if w.at < len(w.nodes) {
		e.Node = w.nodes[w.at].last.lines()
	}
	return e
}

// fail ends the run; [Run] returns it.
func (w *world) fail(what string) { panic(w.broken(what)) }

func (w *world) failf(format string, args ...any) { w.fail(fmt.Sprintf(format, args...)) }

// reasons is the closed set of what a job may end with.
var reasons = func() map[scheduler.Reason]bool {
	set := map[scheduler.Reason]bool{}
	for _, r := range []scheduler.Reason{scheduler.ReasonNoOffer, scheduler.ReasonDeclined, scheduler.ReasonNoAnswer,
		scheduler.ReasonPaymentRefused, scheduler.ReasonStartTimeout, scheduler.ReasonFundingTimeout, scheduler.ReasonExitCode,
		scheduler.ReasonNoOutputs, scheduler.ReasonStopped, scheduler.ReasonCompleted, scheduler.ReasonJobMemory, scheduler.ReasonJobTime,
		scheduler.ReasonJobDisk, scheduler.ReasonJobInvalid, scheduler.ReasonClientReleased, scheduler.ReasonClientUnpaid,
		scheduler.ReasonClientUnfunded, scheduler.ReasonClientInputs, scheduler.ReasonClientOutputs, scheduler.ReasonProviderStopped,
		scheduler.ReasonProviderRestarted, scheduler.ReasonProviderFailed, scheduler.ReasonProviderLost, scheduler.ReasonProviderCheated,
		scheduler.ReasonReserveSpent, scheduler.ReasonReclaimed} {
		set[r] = true
	}
	return set
}()

// check looks at all that an event at this node can have broken. What a node
// owes and is owed changes only by its own events and by the passing of time,
// which ends with one: so it is called before and after each.
func (n *node) check() {
	if p := n.provider; p != nil {
		p.check()
	}
	if c := n.client; c != nil {
		c.check()
	}
}

func (p *provider) check() {
	w, has := p.n.w, map[string]souk.LeaseID{}
	p.checkBacking()
	for _, h := range p.live {
		h.checkExposure()
		h.checkHeld()
		h.checkDropped()
		if !p.n.up || !h.holding {
			if h.running {
				w.failf("lease %s runs without its devices", h.terms.Lease.Short())
			}
			continue
		}
		for _, d := range h.occupies.Devices {
			if other, ok := has[d]; ok {
				w.failf("device %s is in the leases %s and %s", d, other.Short(), h.terms.Lease.Short())
			}
			has[d] = h.terms.Lease
			if holder, _ := p.floor.Holder(d); holder != h.terms.Lease {
				w.failf("device %s is in lease %s, the floor says %s", d, h.terms.Lease.Short(), holder.Short())
			}
		}
	}
}

// checkExposure holds the provider's unpaid work to one interval and grace.
func (h *tenancy) checkExposure() {
	work := h.work().Milliseconds()
	paid := h.settled
	if s, ok := h.account.Leases[h.terms.Lease]; ok {
		paid = s.Paid
	}
	unpaid := price(h.terms, work) - paid
	most := price(h.terms, (h.terms.Interval+h.terms.Grace).Milliseconds()) + souk.Atoms(len(h.terms.Tariff)) // each line is rounded down
	if unpaid > most {
		h.p.n.w.failf("lease %s: the provider's unpaid work is %d atoms, one interval and grace are %d", h.terms.Lease.Short(), unpaid, most)
	}
	h.p.n.w.stats.Unpaid = max(h.p.n.w.stats.Unpaid, part(unpaid, most))
}

// billed is what the receipts of a lease say that ran, countersigned or not.
func (h *tenancy) billed() int64 {
	return ms(h.receipts, h.terms)
}

func (c *client) check() {
	w := c.n.w
	for _, p := range c.papers {
		p.checkPrepaid()
	}
	for _, j := range c.live {
		if j.machine == nil {
			continue // its node is down
		}
		if next, ok := j.machine.Next(); ok && next.Before(c.n.now()) {
			w.failf("job %s is %s past the deadline of that", j.id.Short(), j.snapshot.State)
		}
		if w.now > j.deadline {
			w.failf("job %s is %s past all deadlines of its attempts", j.id.Short(), j.snapshot.State)
		}
	}
}

// checkPrepaid holds the client's prepayment to one interval and what it pays
// ahead, over what the provider's receipts say that it got.
func (p *paper) checkPrepaid() {
	var billed int64
	if h := p.to.provider.tenancies[p.terms.Lease]; h != nil {
		billed = h.billed()
	}
	prepaid := p.account.Leases[p.terms.Lease].Paid - price(p.terms, billed)
	most := price(p.terms, (p.terms.Interval+p.terms.PayAhead).Milliseconds()) + souk.Atoms(len(p.terms.Tariff))
	if prepaid > most {
		p.c.n.w.failf("lease %s: the client's prepayment is %d atoms, one interval and what it pays ahead are %d", p.terms.Lease.Short(), prepaid, most)
	}
	p.c.n.w.stats.Prepaid = max(p.c.n.w.stats.Prepaid, part(prepaid, most))
}

// part is how much of a bound was used; bounds of a few atoms tell nothing.
func part(amount, most souk.Atoms) float64 {
	if most < 100 {
		return 0
	}
	return float64(amount) / float64(most)
}

// checkEnd holds the books of all nodes against each other once all is over.
func (w *world) checkEnd() {
	var claims, due souk.Atoms
	for _, n := range w.nodes {
		if n.client == nil {
			continue
		}
		for _, p := range n.client.settled {
			due += p.checkPaper()
		}
		for _, i := range sortedKeys(n.client.accounts) {
			claims += w.checkChannel(n, w.nodes[i])
		}
	}
	if claims != due {
		w.failf("providers claimed %d, the receipts that both signed say %d", claims, due)
	}
	if sum := w.chain.sum(); sum != w.chain.minted {
		w.failf("there are %d atoms on the chain, %d were minted", sum, w.chain.minted)
	}
	w.stats.Claimed = claims
}

// checkPaper holds the two records of one lease against each other. It returns
// what is due by the receipts that both have.
func (p *paper) checkPaper() souk.Atoms {
	w, h := p.c.n.w, p.to.provider.tenancies[p.terms.Lease]
	if h == nil {
		if len(p.receipts) > 0 {
			w.failf("lease %s has receipts and no provider", p.terms.Lease.Short())
		}
		return 0
	}
	h.checkExposure()
	var prev souk.Digest
	both := len(h.receipts) - len(h.owed())
	if both > len(p.receipts) {
		w.failf("lease %s: the provider has %d countersignatures, the client gave %d", p.terms.Lease.Short(), both, len(p.receipts))
	}
	for i, r := range h.receipts[:both] {
		mine := p.receipts[i]
		if r.Digest(domain) != mine.Digest(domain) || r.PrevReceipt != prev || r.Seq != uint64(i+1) {
			w.failf("lease %s: receipt %d differs between its parties", p.terms.Lease.Short(), i+1)
		}
		prev = r.Digest(domain)
	}
	due, cost := h.due(), price(p.terms, ms(h.receipts[:both], p.terms))
	if due != h.settled || due != cost {
		w.failf("lease %s: %d settled, %d due, the time in its receipts costs %d", p.terms.Lease.Short(), h.settled, due, cost)
	}
	if len(p.receipts) == both && p.due() != due {
		w.failf("lease %s: %d due at the provider, %d at the client", p.terms.Lease.Short(), due, p.due())
	}
	if both > 0 && h.receipts[both-1].Kind == payment.KindFinal {
		w.stats.Settled++
	}
	if h.state.Phase != runv1.Phase_PHASE_ENDED || h.state.Reason == runv1.EndReason_END_REASON_UNSPECIFIED {
		w.failf("lease %s is in phase %s, reason %s", p.terms.Lease.Short(), h.state.Phase, h.state.Reason)
	}
	return due
}

// ms is the running time that receipts show, the last of them in all.
func ms(receipts []payment.Receipt, t payment.Terms) int64 {
	if len(receipts) == 0 {
		return 0
	}
	return int64(receipts[len(receipts)-1].Usage[0].Quantity) / int64(devicesIn(t, 0))
}

// checkChannel holds the two accounts of one channel against each other and the
// chain, and lets the provider claim.
func (w *world) checkChannel(client, provider *node) souk.Atoms {
	mine := client.client.accounts[provider.index]
	theirs := provider.provider.accounts[client.index]
	if theirs == nil {
		theirs = newAccount(client, provider, false)
	}
	if len(mine.Leases)+len(theirs.Leases) > 0 {
		w.failf("channel %s has %d and %d leases in force at the end", mine.channel.Short(), len(mine.Leases), len(theirs.Leases))
	}
	theirs.read()
	claim, signed := theirs.Claimable(), mine.Voucher.MaxClaimable
	if claim != theirs.Due() || claim != theirs.Vouched() || claim > mine.Vouched() || theirs.Voucher.MaxClaimable > signed {
		w.failf("channel %s: the provider has %d of vouchers over %d, the client gave %d of %d",
			mine.channel.Short(), theirs.Vouched(), theirs.Voucher.MaxClaimable, mine.Vouched(), signed)
	}
	if !w.chain.claim(mine.channel, provider.index, client.index, claim) {
		w.failf("channel %s holds less than the %d that are claimed", mine.channel.Short(), claim)
	}
	return claim
}
