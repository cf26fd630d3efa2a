package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// search is the part of an attempt from the candidates to a signed lease.
type search struct {
	queue   []souk.NodeKey // candidates not asked yet, best first
	round   []*reply       // those asked now, best first
	opened  time.Time      // when the first order of the round went out; zero before
	closing time.Time      // when the round's window closes; zero before opened
	again   []souk.NodeKey // asked a second time: their bids had gone stale
	misses  []Miss
	refused int // leases refused
	unpaid  int // of these, over payment
}

// reply is what came of asking one provider.
type reply struct {
	peer  souk.NodeKey
	stage replyStage
	bid   int
	price uint64
	cost  souk.Atoms
	came  time.Time // when the bid arrived
}

type replyStage uint8

const (
	dialing replyStage = iota
	waiting            // the order is out
	offered            // a bid is here
	closed             // missed, or the bid was taken up
)

// match starts a try.
func (a *Attempt) match() {
	a.search, a.silences = search{}, 0
	a.startBy = a.now.Add(a.cfg.StartWithin)
	a.lease, a.ran, a.output = souk.LeaseID{}, 0, ""
	a.linkBy, a.runBy = time.Time{}, time.Time{}
	a.look()
}

// look starts a search.
func (a *Attempt) look() {
	a.search = search{misses: a.search.misses}
	a.peer = souk.NodeKey{}
	a.enter(stepMatching)
	a.emit(FindCandidates{})
}

func (a *Attempt) candidates(peers []souk.NodeKey) {
	if a.step != stepMatching {
		return
	}
	for _, p := range peers {
		if len(a.search.queue) < maxCandidates && !slices.Contains(a.avoid, p) && !slices.Contains(a.search.queue, p) {
			a.search.queue = append(a.search.queue, p)
		}
	}
	a.nextRound()
}

// nextRound asks the best candidates that were not asked yet.
func (a *Attempt) nextRound() {
	n := min(a.cfg.Ask, len(a.search.queue))
	if n == 0 {
		a.exhausted()
		return
	}
	a.peer = souk.NodeKey{}
	peers := slices.Clone(a.search.queue[:n])
	a.search.queue = a.search.queue[n:]
	a.search.round, a.search.opened, a.search.closing = nil, time.Time{}, time.Time{}
	for _, p := range peers {
		a.search.round = append(a.search.round, &reply{peer: p})
	}
	a.enter(stepAsking)
	a.emit(Dial{peers})
}

// asked is the reply of peer in the present round, while answers are awaited.
func (a *Attempt) asked(peer souk.NodeKey) *reply {
	if a.step == stepAsking {
		for _, r := range a.search.round {
			if r.peer == peer {
				return r
			}
		}
	}
	return nil
}

func (a *Attempt) dialed(e Dialed) {
	r := a.asked(e.Peer)
	if r == nil || r.stage != dialing {
		return
	}
	r.stage = waiting
	until := a.now.Add(a.cfg.Window + 2*min(max(e.RTT, 0), maxRTT))
	s := &a.search
	if s.opened.IsZero() {
		s.opened = a.now
	}
	if until.After(s.closing) {
		s.closing = until
	}
	if s.count(offered) > 0 {
		// Those who dial slowly cannot hold up a choice for ever.
		s.closing = earlier(s.closing, s.opened.Add(windowCap*a.cfg.Window))
	}
	a.emit(Ask{e.Peer, until})
}

func (a *Attempt) bid(e BidArrived) {
	r := a.asked(e.Peer)
	if r == nil || r.stage != waiting {
		return
	}
	if e.Price > a.cfg.MaxPrice {
		reason := market.ReasonName(marketv1.DeclineReason_DECLINE_REASON_PRICE)
		a.missed(e.Peer, reason, e.Price-a.cfg.MaxPrice, "bid above the cap")
		return
	}
	r.stage, r.bid, r.price, r.cost, r.came = offered, e.Bid, e.Price, e.Cost, a.now
	a.closeWindow()
}

// declined notes that a provider of this round will not bid.
func (a *Attempt) declined(e Declined) {
	m := missOf(e.Peer, e.Why)
	a.missed(e.Peer, m.Reason, m.Shortfall, m.Detail)
}

// missOf is a refusal as it is listed.
func missOf(peer souk.NodeKey, r market.Refusal) Miss {
	return Miss{peer, market.ReasonName(r.Reason), r.Shortfall, cmp.Or(r.Detail, strings.Join(r.Unsupported, ", "))}
}

// missed notes that a provider of this round will not bid. Without a reason, it
// was not reached or did not answer.
func (a *Attempt) missed(peer souk.NodeKey, reason string, shortfall uint64, detail string) {
	r := a.asked(peer)
	if r == nil || r.stage != dialing && r.stage != waiting {
		return
	}
	if reason == "" {
		reason = r.silence()
	}
	r.stage = closed
	a.note(Miss{peer, reason, shortfall, detail})
	a.closeWindow()
}

// silence names what it was that a provider did not do.
func (r *reply) silence() string {
	if r.stage == dialing {
		return "unreachable"
	}
	return "no-answer"
}

func (a *Attempt) note(m Miss) {
	if len(a.search.misses) < 2*maxCandidates {
		a.search.misses = append(a.search.misses, m)
	}
}

func (s *search) count(stage replyStage) (n int) {
	for _, r := range s.round {
		if r.stage == stage {
			n++
		}
	}
	return n
}

// closes is when the round ends at the latest: with a bid, or with no dial
// open, at the end of the window; otherwise when dialling is given up.
func (s *search) closes(dialBy time.Time) time.Time {
	if !s.opened.IsZero() && (s.count(offered) > 0 || s.count(dialing) == 0) {
		return s.closing
	}
	return dialBy
}

// closeWindow ends the round when all have answered or its time is over, and
// takes the best bid.
func (a *Attempt) closeWindow() {
	s := &a.search
	if s.count(dialing)+s.count(waiting) > 0 && a.now.Before(s.closes(a.deadline)) {
		return
	}
	if s.count(offered) == 0 && s.count(waiting) > 0 && a.now.Before(s.closing) {
		// The last dial was given up while orders are out: wait for those.
		a.giveUpDials()
		return
	}
	for _, r := range s.round {
		if r.stage == dialing || r.stage == waiting {
			a.note(Miss{Peer: r.peer, Reason: r.silence(), Detail: "not within the window"})
			r.stage = closed
		}
	}
	a.leaseNext()
}

func (a *Attempt) giveUpDials() {
	for _, r := range a.search.round {
		if r.stage == dialing {
			a.note(Miss{Peer: r.peer, Reason: r.silence(), Detail: "not within " + a.cfg.DialWithin.String()})
			r.stage = closed
		}
	}
}

// leaseNext takes the bid by which the job is expected to cost least; of equal
// ones the best candidate's.
// Bids that went stale meanwhile are asked for once more.
func (a *Attempt) leaseNext() {
	var best *reply
	var stale []souk.NodeKey
	for _, r := range a.search.round {
		if r.stage != offered {
			continue
		}
		if a.now.Sub(r.came) >= a.cfg.BidLife {
			r.stage = closed
			if !slices.Contains(a.search.again, r.peer) {
				stale = append(stale, r.peer)
			}
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(r.cost, best.cost), cmp.Compare(r.price, best.price)) < 0 {
			best = r
		}
	}
	a.search.again = append(a.search.again, stale...)
	a.search.queue = append(stale, a.search.queue...)
	if best == nil {
		a.nextRound()
		return
	}
	best.stage = closed
	a.peer = best.peer
	a.enter(stepLeasing)
	a.emit(SignLease{best.peer, best.bid})
}

// signed starts the run, or ends a lease that came too late to be wanted.
func (a *Attempt) signed(e LeaseSigned) {
	if e.Lease == a.lease {
		return
	}
	if a.step != stepLeasing || e.Peer != a.peer {
		a.emit(Release{Peer: e.Peer, Lease: e.Lease, Discard: true, Drop: true})
		return
	}
	a.lease = e.Lease
	a.attempts++
	a.enter(stepFunding)
	a.emit(Attach{a.peer, a.lease})
}

func (a *Attempt) refused(e LeaseDeclined) {
	if a.step != stepLeasing || e.Peer != a.peer {
		return
	}
	a.search.refused++
	if e.Why.Reason == marketv1.DeclineReason_DECLINE_REASON_PAYMENT {
		a.search.unpaid++
	}
	a.note(missOf(e.Peer, e.Why))
	a.leaseNext()
}

// leaseLost gives up a lease request that was not answered. The provider may
// hold a lease signed by us, so it is released in any case.
func (a *Attempt) leaseLost(why string) {
	a.search.refused++
	a.note(Miss{Peer: a.peer, Reason: "lease-failed", Detail: why})
	a.emit(Release{Peer: a.peer, Discard: true, Drop: true})
	a.leaseNext()
}

// silent tells whether somebody was asked and nobody answered. That is more often
// a moment's load or a broken link than a market without providers.
func (s *search) silent() bool {
	return len(s.misses) > 0 && !slices.ContainsFunc(s.misses, func(m Miss) bool { return m.Reason != "unreachable" && m.Reason != "no-answer" })
}

// exhausted ends a search that found nobody, or has it done again.
func (a *Attempt) exhausted() {
	a.peer = souk.NodeKey{}
	if a.search.silent() && a.silences < maxSilences {
		a.silences++
		a.enter(stepIdle)
		return
	}
	s, end := &a.search, End{State: NoMatch, Reason: ReasonNoOffer, Detail: a.search.summary()}
	switch {
	case len(a.tries) > 0:
		last := a.tries[len(a.tries)-1]
		end.State, end.Reason, end.Detail = Failed, last.Reason, cmp.Or(last.Detail, "and no other provider took the job")
	case s.refused > 0 && s.unpaid == s.refused:
		end.State, end.Reason = Unpaid, ReasonPaymentRefused
	case s.silent():
		end.Reason = ReasonNoAnswer
	case len(s.misses) > 0:
		end.Reason = ReasonDeclined
	}
	a.finish(end)
}

// summary counts the misses by reason: "busy 5, price 3".
func (s *search) summary() string {
	var names []string
	counts := map[string]int{}
	for _, m := range s.misses {
		if counts[m.Reason]++; counts[m.Reason] == 1 {
			names = append(names, m.Reason)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return counts[b] - counts[a] })
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, counts[n])
	}
	return strings.Join(names, ", ")
}
