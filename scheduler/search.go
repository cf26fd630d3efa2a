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

// search is the part of a job from the candidates to a signed lease.
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

// match starts an attempt.
func (j *Job) match() {
	j.search, j.silences = search{}, 0
	j.startBy = j.now.Add(j.cfg.StartWithin)
	j.lease, j.ran, j.output = souk.LeaseID{}, 0, ""
	j.linkBy, j.runBy = time.Time{}, time.Time{}
	j.look()
}

// look starts a search.
func (j *Job) look() {
	j.search = search{misses: j.search.misses}
	j.peer = souk.NodeKey{}
	j.enter(stepMatching)
	j.emit(FindCandidates{})
}

func (j *Job) candidates(peers []souk.NodeKey) {
	if j.step != stepMatching {
		return
	}
	for _, p := range peers {
		if len(j.search.queue) < maxCandidates && !slices.Contains(j.avoid, p) && !slices.Contains(j.search.queue, p) {
			j.search.queue = append(j.search.queue, p)
		}
	}
	j.nextRound()
}

// nextRound asks the best candidates that were not asked yet.
func (j *Job) nextRound() {
	n := min(j.cfg.Ask, len(j.search.queue))
	if n == 0 {
		j.exhausted()
		return
	}
	j.peer = souk.NodeKey{}
	peers := slices.Clone(j.search.queue[:n])
	j.search.queue = j.search.queue[n:]
	j.search.round, j.search.opened, j.search.closing = nil, time.Time{}, time.Time{}
	for _, p := range peers {
		j.search.round = append(j.search.round, &reply{peer: p})
	}
	j.enter(stepAsking)
	j.emit(Dial{peers})
}

// asked is the reply of peer in the present round, while answers are awaited.
func (j *Job) asked(peer souk.NodeKey) *reply {
	if j.step == stepAsking {
		for _, r := range j.search.round {
			if r.peer == peer {
				return r
			}
		}
	}
	return nil
}

func (j *Job) dialed(e Dialed) {
	r := j.asked(e.Peer)
	if r == nil || r.stage != dialing {
		return
	}
	r.stage = waiting
	until := j.now.Add(j.cfg.Window + 2*min(max(e.RTT, 0), maxRTT))
	s := &j.search
	if s.opened.IsZero() {
		s.opened = j.now
	}
	if until.After(s.closing) {
		s.closing = until
	}
	if s.count(offered) > 0 {
		// Those who dial slowly cannot hold up a choice for ever.
		s.closing = earlier(s.closing, s.opened.Add(windowCap*j.cfg.Window))
	}
	j.emit(Ask{e.Peer, until})
}

func (j *Job) bid(e BidArrived) {
	r := j.asked(e.Peer)
	if r == nil || r.stage != waiting {
		return
	}
	if e.Price > j.cfg.MaxPrice {
		reason := market.ReasonName(marketv1.DeclineReason_DECLINE_REASON_PRICE)
		j.missed(e.Peer, reason, e.Price-j.cfg.MaxPrice, "bid above the cap")
		return
	}
	r.stage, r.bid, r.price, r.cost, r.came = offered, e.Bid, e.Price, e.Cost, j.now
	j.closeWindow()
}

// declined notes that a provider of this round will not bid.
func (j *Job) declined(e Declined) {
	m := missOf(e.Peer, e.Why)
	j.missed(e.Peer, m.Reason, m.Shortfall, m.Detail)
}

// missOf is a refusal as it is listed.
func missOf(peer souk.NodeKey, r market.Refusal) Miss {
	return Miss{peer, market.ReasonName(r.Reason), r.Shortfall, cmp.Or(r.Detail, strings.Join(r.Unsupported, ", "))}
}

// missed notes that a provider of this round will not bid. Without a reason, it
// was not reached or did not answer.
func (j *Job) missed(peer souk.NodeKey, reason string, shortfall uint64, detail string) {
	r := j.asked(peer)
	if r == nil || r.stage != dialing && r.stage != waiting {
		return
	}
	if reason == "" {
		reason = r.silence()
	}
	r.stage = closed
	j.note(Miss{peer, reason, shortfall, detail})
	j.closeWindow()
}

// silence names what it was that a provider did not do.
func (r *reply) silence() string {
	if r.stage == dialing {
		return "unreachable"
	}
	return "no-answer"
}

func (j *Job) note(m Miss) {
	if len(j.search.misses) < 2*maxCandidates {
		j.search.misses = append(j.search.misses, m)
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
func (j *Job) closeWindow() {
	s := &j.search
	if s.count(dialing)+s.count(waiting) > 0 && j.now.Before(s.closes(j.deadline)) {
		return
	}
	if s.count(offered) == 0 && s.count(waiting) > 0 && j.now.Before(s.closing) {
		// The last dial was given up while orders are out: wait for those.
		j.giveUpDials()
		return
	}
	for _, r := range s.round {
		if r.stage == dialing || r.stage == waiting {
			j.note(Miss{Peer: r.peer, Reason: r.silence(), Detail: "not within the window"})
			r.stage = closed
		}
	}
	j.leaseNext()
}

func (j *Job) giveUpDials() {
	for _, r := range j.search.round {
		if r.stage == dialing {
			j.note(Miss{Peer: r.peer, Reason: r.silence(), Detail: "not within " + j.cfg.DialWithin.String()})
			r.stage = closed
		}
	}
}

// leaseNext takes the bid by which the job is expected to cost least; of equal
// ones the best candidate's.
// Bids that went stale meanwhile are asked for once more.
func (j *Job) leaseNext() {
	var best *reply
	var stale []souk.NodeKey
	for _, r := range j.search.round {
		if r.stage != offered {
			continue
		}
		if j.now.Sub(r.came) >= j.cfg.BidLife {
			r.stage = closed
			if !slices.Contains(j.search.again, r.peer) {
				stale = append(stale, r.peer)
			}
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(r.cost, best.cost), cmp.Compare(r.price, best.price)) < 0 {
			best = r
		}
	}
	j.search.again = append(j.search.again, stale...)
	j.search.queue = append(stale, j.search.queue...)
	if best == nil {
		j.nextRound()
		return
	}
	best.stage = closed
	j.peer = best.peer
	j.enter(stepLeasing)
	j.emit(SignLease{best.peer, best.bid})
}

// signed starts the run, or ends a lease that came too late to be wanted.
func (j *Job) signed(e LeaseSigned) {
	if e.Lease == j.lease {
		return
	}
	if j.step != stepLeasing || e.Peer != j.peer {
		j.emit(Release{Peer: e.Peer, Lease: e.Lease, Discard: true, Drop: true})
		return
	}
	j.lease = e.Lease
	j.attempts++
	j.enter(stepFunding)
	j.emit(Attach{j.peer, j.lease})
}

func (j *Job) refused(e LeaseDeclined) {
	if j.step != stepLeasing || e.Peer != j.peer {
		return
	}
	j.search.refused++
	if e.Why.Reason == marketv1.DeclineReason_DECLINE_REASON_PAYMENT {
		j.search.unpaid++
	}
	j.note(missOf(e.Peer, e.Why))
	j.leaseNext()
}

// leaseLost gives up a lease request that was not answered. The provider may
// hold a lease signed by us, so it is released in any case.
func (j *Job) leaseLost(why string) {
	j.search.refused++
	j.note(Miss{Peer: j.peer, Reason: "lease-failed", Detail: why})
	j.emit(Release{Peer: j.peer, Discard: true, Drop: true})
	j.leaseNext()
}

// silent tells whether somebody was asked and nobody answered. That is more often
// a moment's load or a broken link than a market without providers.
func (s *search) silent() bool {
	return len(s.misses) > 0 && !slices.ContainsFunc(s.misses, func(m Miss) bool { return m.Reason != "unreachable" && m.Reason != "no-answer" })
}

// exhausted ends a search that found nobody, or has it done again.
func (j *Job) exhausted() {
	j.peer = souk.NodeKey{}
	if j.search.silent() && j.silences < maxSilences {
		j.silences++
		j.enter(stepIdle)
		return
	}
	s, end := &j.search, End{State: NoMatch, Reason: ReasonNoOffer, Detail: j.search.summary()}
	switch {
	case len(j.over) > 0:
		last := j.over[len(j.over)-1]
		end.State, end.Reason, end.Detail = Failed, last.Reason, cmp.Or(last.Detail, "and no other provider took the job")
	case s.refused > 0 && s.unpaid == s.refused:
		end.State, end.Reason = Unpaid, ReasonPaymentRefused
	case s.silent():
		end.Reason = ReasonNoAnswer
	case len(s.misses) > 0:
		end.Reason = ReasonDeclined
	}
	j.finish(end)
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
