package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/souk-market/souk"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
)

// AttemptConfig holds what an [Attempt] needs to know of its job, and the spans
// it waits. A zero span takes its default.
type AttemptConfig struct {
	MaxDuration time.Duration // running time; default 24h
	StartWithin time.Duration // from the start of a try to running; default 5m
	HoldPaused  time.Duration // how long the provider keeps a paused run; default 30s
	MaxPrice    uint64        // atoms for one device and hour; bids above it are passed over
	Retry       *jobv1.Retry  // nil: never elsewhere

	Ask         int           // providers asked at once; default 8
	Window      time.Duration // how long bids are waited for, beside two round trips; default 250ms
	DialWithin  time.Duration // default 5s
	BidLife     time.Duration // how long after its arrival a bid is worth taking; default 3s
	LeaseWithin time.Duration // for one provider to countersign; default 10s
	FundWithin  time.Duration // in state funding; default 2m
	Reconnect   time.Duration // how long a broken stream is waited for; default 30s
	FetchWithin time.Duration // without news of the outputs; default 2m
	FetchFor    time.Duration // for the outputs in all; default 6h
	SettleFor   time.Duration // for the final receipt and voucher; default 30s
	Slack       time.Duration // given to a provider to keep a deadline of its own; default 15s
}

func (c *AttemptConfig) fill() {
	c.MaxDuration = cmp.Or(c.MaxDuration, 24*time.Hour)
	c.StartWithin = cmp.Or(c.StartWithin, 5*time.Minute)
	c.HoldPaused = cmp.Or(c.HoldPaused, 30*time.Second)
	c.Ask = cmp.Or(c.Ask, 8)
	c.Window = cmp.Or(c.Window, 250*time.Millisecond)
	c.DialWithin = cmp.Or(c.DialWithin, 5*time.Second)
	c.BidLife = cmp.Or(c.BidLife, 3*time.Second)
	c.LeaseWithin = cmp.Or(c.LeaseWithin, 10*time.Second)
	c.FundWithin = cmp.Or(c.FundWithin, 2*time.Minute)
	c.Reconnect = cmp.Or(c.Reconnect, 30*time.Second)
	c.FetchWithin = cmp.Or(c.FetchWithin, 2*time.Minute)
	c.FetchFor = cmp.Or(c.FetchFor, 6*time.Hour)
	c.SettleFor = cmp.Or(c.SettleFor, 30*time.Second)
	c.Slack = cmp.Or(c.Slack, 15*time.Second)
}

// Limits on what one search remembers.
const (
	maxCandidates = 64               // providers asked in one search
	maxRetries    = 16               // whatever the job says
	maxRTT        = 1 * time.Second  // a peer cannot stretch the window by more
	windowCap     = 8                // windows between the first order and the choice
	findWithin    = 10 * time.Second // for the driver to answer FindCandidates
	maxSilences   = 3                // searches without any answer before it counts; pauses of 1, 2 and 4 s follow them
	silencePause  = 1 * time.Second
)

// step is where an attempt stands; several steps may show as one [State].
type step uint8

const (
	stepFresh     step = iota // nothing was asked for yet
	stepMatching              // FindCandidates is out
	stepIdle                  // nobody answered: a pause before they are asked again
	stepAsking                // Dial and Ask are out
	stepLeasing               // SignLease is out
	stepFunding               // a lease is signed: its stream is attached from here on
	stepStaging               //
	stepRunning               //
	stepPaused                //
	stepReleasing             // Release is out; the provider's end of the run is awaited
	stepFetching              // FetchOutputs is out
	stepSettling              // SettleUp is out
	stepEnded
)

// attached tells whether a run's stream matters in this step.
func (s step) attached() bool { return s >= stepFunding && s <= stepSettling }

// starting tells whether the job's start is still awaited.
func (s step) starting() bool { return s >= stepMatching && s <= stepStaging }

// Attempt is the client's side of one job: from its candidates to its end, with
// retries. The driver calls [Attempt.Step] with each [Event] and does the
// [Action]s it returns.
type Attempt struct {
	cfg AttemptConfig
	now time.Time // of the last event; never goes back
	out []Action

	step     step
	resume   State     // where a resumed attempt goes on; Matching starts anew
	deadline time.Time // of the step
	startBy  time.Time // of all steps up to running
	linkBy   time.Time // when a broken stream is given up; zero while it is whole
	runBy    time.Time // of all running and pausing together
	fetchBy  time.Time // of fetching, however much moves

	search   search
	silences int // searches of this try that nobody answered

	peer     souk.NodeKey
	lease    souk.LeaseID
	attempts int
	avoid    []souk.NodeKey
	tries    []Try
	ran      time.Duration // running time up to the last pause
	since    time.Time     // when the run last went on
	output   string        // the CID being fetched
	stopping bool
	end      End // what follows the step; final once the step is stepEnded
}

// NewAttempt returns an attempt that has done nothing yet: its first
// [Attempt.Step], due at once, sets it going.
func NewAttempt(cfg AttemptConfig, now time.Time) *Attempt {
	cfg.fill()
	return &Attempt{cfg: cfg, now: now}
}

// Snapshot is what [ResumeAttempt] needs after a restart. The driver stores it
// when it changed, before it does what [Attempt.Step] returned.
type Snapshot struct {
	Provider souk.NodeKey   `json:"provider"` // of the lease; zero without one
	Lease    souk.LeaseID   `json:"lease"`    // zero while none is signed
	State    State          `json:"state"`
	Attempts int            `json:"attempts"` // leases signed, with this one
	Ran      time.Duration  `json:"ran"`      // running time up to the last pause
	Avoid    []souk.NodeKey `json:"avoid"`    // providers that lost the job before
	Tries    []Try          `json:"tries"`    // attempts that are over
	Stopping bool           `json:"stopping"` // the owner asked for the end
	End      End            `json:"end"`      // meaningful once State has ended
}

// Snapshot is the attempt as a restart would need it.
func (a *Attempt) Snapshot() Snapshot {
	s := Snapshot{Provider: a.peer, Lease: a.lease, State: a.State(), Attempts: a.attempts, Ran: a.ran,
		Avoid: slices.Clone(a.avoid), Tries: slices.Clone(a.tries), Stopping: a.stopping}
	if s.State.Ended() {
		s.End = a.end
	}
	return s
}

// ResumeAttempt goes on from a snapshot: with the run where a lease was signed,
// otherwise with the search. Its first [Attempt.Step] is due at once.
func ResumeAttempt(cfg AttemptConfig, s Snapshot, now time.Time) *Attempt {
	a := NewAttempt(cfg, now)
	a.attempts, a.ran, a.stopping = s.Attempts, s.Ran, s.Stopping
	a.avoid, a.tries = slices.Clone(s.Avoid), slices.Clone(s.Tries)
	switch {
	case s.State.Ended():
		a.resume, a.end = s.State, s.End
		a.peer, a.lease = s.Provider, s.Lease
	case s.State > Leasing && !s.Lease.IsZero():
		a.resume = s.State
		a.peer, a.lease = s.Provider, s.Lease
		if s.State == Collecting {
			a.resume = Running // what there is to collect, the provider tells again
		}
	}
	return a
}

// Step takes one event and returns what is to be done, in order. Time that goes
// back is taken as standing still.
func (a *Attempt) Step(now time.Time, e Event) []Action {
	if now.After(a.now) {
		a.now = now
	}
	a.out = nil
	if a.step == stepFresh {
		a.begin()
	}
	a.handle(e)
	a.overdue()
	return a.out
}

func (a *Attempt) begin() {
	switch {
	case a.resume.Ended():
		a.finish(a.end)
	case a.resume > Leasing:
		a.startBy, a.linkBy = a.now.Add(a.cfg.StartWithin), a.now.Add(a.cfg.Reconnect)
		a.emit(Attach{a.peer, a.lease})
		a.enter(map[State]step{Funding: stepFunding, Staging: stepStaging, Running: stepRunning, Paused: stepPaused}[a.resume])
		if a.stopping {
			a.stop()
		}
	case a.stopping:
		a.finish(End{State: Stopped, Reason: ReasonStopped})
	default:
		a.match()
	}
}

func (a *Attempt) handle(e Event) {
	switch e := e.(type) {
	case Candidates:
		a.candidates(e.Peers)
	case Dialed:
		a.dialed(e)
	case DialFailed:
		a.missed(e.Peer, "", 0, e.Err)
	case Declined:
		a.declined(e)
	case BidArrived:
		a.bid(e)
	case LeaseSigned:
		a.signed(e)
	case LeaseDeclined:
		a.refused(e)
	case LeaseFailed:
		if a.step == stepLeasing && e.Peer == a.peer {
			a.leaseLost(e.Err)
		}
	case StopAsked:
		a.stop()
	default:
		a.handleRun(e)
	}
}

// enter goes to a step and sets its deadline.
func (a *Attempt) enter(s step) {
	if a.step == stepRunning {
		a.ran += a.now.Sub(a.since)
	}
	a.step = s
	switch s {
	case stepMatching:
		a.deadline = a.now.Add(findWithin)
	case stepIdle:
		a.deadline = a.now.Add(silencePause << (a.silences - 1))
	case stepAsking:
		a.deadline = a.now.Add(a.cfg.DialWithin)
	case stepLeasing:
		a.deadline = a.now.Add(a.cfg.LeaseWithin)
	case stepFunding:
		a.deadline = a.now.Add(a.cfg.FundWithin + a.cfg.Slack)
	case stepStaging:
		a.deadline = a.startBy
	case stepRunning, stepPaused:
		if a.runBy.IsZero() {
			a.runBy = a.now.Add(2*a.cfg.MaxDuration + 10*a.cfg.HoldPaused + a.cfg.Slack)
		}
		a.since = a.now
		a.deadline = a.now.Add(a.cfg.HoldPaused + a.cfg.Slack)
		if s == stepRunning {
			a.deadline = a.now.Add(max(0, a.cfg.MaxDuration-a.ran) + a.cfg.Slack)
		}
		a.deadline = earlier(a.deadline, a.runBy)
	case stepFetching:
		a.fetchBy = a.now.Add(a.cfg.FetchFor)
		a.deadline = a.now.Add(a.cfg.FetchWithin)
	case stepReleasing, stepSettling:
		a.deadline = a.now.Add(a.cfg.SettleFor)
	}
}

// Next is when [Attempt.Step] must be called at the latest, with a [Tick] if
// nothing else happened; false once the attempt has ended.
func (a *Attempt) Next() (time.Time, bool) {
	switch a.step {
	case stepFresh:
		return a.now, true
	case stepEnded:
		return time.Time{}, false
	}
	at := a.deadline
	if a.step == stepAsking {
		at = a.search.closes(a.deadline)
	}
	if a.step.starting() {
		at = earlier(at, a.startBy)
	}
	if a.linkMatters() {
		at = earlier(at, a.linkBy)
	}
	return at, true
}

func (a *Attempt) linkMatters() bool {
	return !a.linkBy.IsZero() && a.step >= stepFunding && a.step <= stepPaused
}

// overdue does what a passed deadline asks for.
func (a *Attempt) overdue() {
	at, ok := a.Next()
	if !ok || a.now.Before(at) {
		return
	}
	switch {
	case a.linkMatters() && !a.now.Before(a.linkBy):
		a.fault(ReasonProviderLost, lost, "unreachable for "+a.cfg.Reconnect.String())
	case a.step <= stepAsking && a.search.silent() && !a.now.Before(a.startBy):
		a.silences = maxSilences
		a.exhausted()
	case a.step.starting() && !a.now.Before(a.startBy):
		a.giveUp(End{State: Failed, Reason: ReasonStartTimeout, Detail: "not running within " + a.cfg.StartWithin.String()})
	default:
		a.lapse()
	}
}

// lapse ends a step whose own deadline has passed.
func (a *Attempt) lapse() {
	switch a.step {
	case stepMatching:
		a.exhausted()
	case stepIdle:
		a.look()
	case stepAsking:
		a.closeWindow()
	case stepLeasing:
		a.leaseLost("no answer within " + a.cfg.LeaseWithin.String())
	case stepFunding:
		a.fault(ReasonFundingTimeout, lost, "deposit not confirmed within "+a.cfg.FundWithin.String())
	case stepRunning:
		a.overrun()
	case stepPaused:
		a.giveUp(End{State: Unpaid, Reason: ReasonClientUnpaid, Detail: "paused for longer than " + a.cfg.HoldPaused.String()})
	case stepReleasing:
		a.finish(a.end)
	case stepFetching:
		a.noOutputs("nothing came for " + a.cfg.FetchWithin.String())
	case stepSettling:
		end := a.end
		end.Detail = cmp.Or(end.Detail, "the final receipt is not settled")
		a.finish(end)
	}
}

// State is where the job stands.
func (a *Attempt) State() State {
	switch a.step {
	case stepFresh:
		return a.resume
	case stepLeasing:
		return Leasing
	case stepFunding:
		return Funding
	case stepStaging:
		return Staging
	case stepRunning:
		return Running
	case stepPaused:
		return Paused
	case stepReleasing, stepFetching, stepSettling:
		return Collecting
	case stepEnded:
		return a.end.State
	default:
		return Matching
	}
}

// End is how the job ended; false while it has not.
func (a *Attempt) End() (End, bool) { return a.end, a.step == stepEnded }

// Lease is the provider and lease of the attempt in progress; zero where there is none.
func (a *Attempt) Lease() (souk.NodeKey, souk.LeaseID) { return a.peer, a.lease }

// Attempts counts the leases signed.
func (a *Attempt) Attempts() int { return a.attempts }

// Tries lists the attempts that are over and were followed by another.
func (a *Attempt) Tries() []Try { return a.tries }

// Misses lists who was asked in this try and did not take the job, and why.
func (a *Attempt) Misses() []Miss { return a.search.misses }

func (a *Attempt) emit(actions ...Action) { a.out = append(a.out, actions...) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
