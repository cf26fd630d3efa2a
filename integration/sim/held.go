package sim

import (
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

const (
	heldSlack    = 16 * time.Second // that the machine gives its driver, and a little
	dropWithin   = 3 * time.Minute  // for a lease to end that its client dropped, once both can be reached: 18 attempts
	stagedWithin = time.Minute      // for a job whose client is there, from the job to the start
)

// checkHeld holds a lease that does not run yet to the spans of its provider: its
// devices wait unpaid.
func (h *tenancy) checkHeld() {
	w, most := h.p.n.w, time.Duration(0)
	switch {
	case !h.holding:
		return
	case h.state.Phase == runv1.Phase_PHASE_FUNDING:
		most = fundWithin + heldSlack
	case h.state.Phase == runv1.Phase_PHASE_STAGING && !h.jobSent:
		most = sendWithin
	case h.state.Phase == runv1.Phase_PHASE_STAGING:
		most = sendWithin + stagedWithin
	default:
		return
	}
	if held := w.now - h.entered; held > most {
		w.failf("lease %s holds devices in %s for %s, at most %s", h.terms.Lease.Short(), h.state.Phase, held, most)
	}
}

// checkDropped holds a lease whose client wants nothing more of it to a bound, from
// when the two can reach each other.
func (h *tenancy) checkDropped() {
	p, w := h.client.client.paper(h.terms.Lease), h.p.n.w
	if p == nil || !p.dropped || !h.p.n.up || !h.client.up {
		return
	}
	since := max(p.droppedAt, h.p.n.upSince, h.client.upSince, h.p.n.cutUntil, h.client.cutUntil)
	if held := w.now - since; held > dropWithin {
		w.failf("lease %s, in %s, has its money %s after its client dropped it, at most %s", h.terms.Lease.Short(), h.state.Phase, held, dropWithin)
	}
}

// checkBacking holds what runs on each channel to what the chain has for it: a
// promise of a deposit pays nobody.
func (p *provider) checkBacking() {
	needs, leases := map[*account]souk.Atoms{}, map[*account]int{}
	for _, h := range p.live {
		leases[h.account]++
		if h.running {
			needs[h.account] += max(h.account.Leases[h.terms.Lease].Paid, h.terms.Reserve)
		}
	}
	for _, i := range sortedKeys(p.accounts) {
		a := p.accounts[i]
		if need, has := needs[a]+a.Past, p.n.w.chain.escrow[a.channel]; needs[a] > 0 && need > has {
			p.n.w.failf("channel %s: what runs may cost %d, the chain holds %d", a.channel.Short(), need, has)
		}
		if len(a.Leases) != leases[a] {
			p.n.w.failf("channel %s has a share for %d leases, %d live", a.channel.Short(), len(a.Leases), leases[a])
		}
	}
}
