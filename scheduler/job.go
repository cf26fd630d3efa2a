package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/souk-market/souk"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
)

// JobConfig holds what a [Job] needs to know of its job, and the spans
// it waits. A zero span takes its default.
type JobConfig struct {
	MaxDuration time.Duration // running time; default 24h
	StartWithin time.Duration // from the start of an attempt to running; default 5m
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

func (c *JobConfig) fill() {
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

// step is where a job stands; several steps may show as one [State].
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

// Job is the client's side of one job: from its candidates to its end, with
// retries. The driver calls [Job.Step] with each [Event] and does the
// [Action]s it returns.
type Job struct {
	cfg JobConfig
	now time.Time // of the last event; never goes back
	out []Action

	step     step
	resume   State     // where a resumed job goes on; Matching starts anew
	deadline time.Time // of the step
	startBy  time.Time // of all steps up to running
	linkBy   time.Time // when a broken stream is given up; zero while it is whole
	runBy    time.Time // of all running and pausing together
	fetchBy  time.Time // of fetching, however much moves

	search   search
	silences int // searches of this attempt that nobody answered

	peer     souk.NodeKey
	lease    souk.LeaseID
	attempts int
	avoid    []souk.NodeKey
	over     []Attempt
	ran      time.Duration // running time up to the last pause
	since    time.Time     // when the run last went on
	output   string        // the CID being fetched
	stopping bool
	end      End // what follows the step; final once the step is stepEnded
}

// NewJob returns a job that has done nothing yet: its first
// [Job.Step], due at once, sets it going.
func NewJob(cfg JobConfig, now time.Time) *Job {
	cfg.fill()
	return &Job{cfg: cfg, now: now}
}

// Snapshot is what [ResumeJob] needs after a restart. The driver stores it
// when it changed, before it does what [Job.Step] returned.
type Snapshot struct {
	Provider souk.NodeKey   `json:"provider"` // of the lease; zero without one
	Lease    souk.LeaseID   `json:"lease"`    // zero while none is signed
	State    State          `json:"state"`
	Attempts int            `json:"attempts"` // leases signed, with this one
	Ran      time.Duration  `json:"ran"`      // running time up to the last pause
	Avoid    []souk.NodeKey `json:"avoid"`    // providers that lost the job before
	Over     []Attempt      `json:"tries"`    // attempts that are over
	Stopping bool           `json:"stopping"` // the owner asked for the end
	End      End            `json:"end"`      // meaningful once State has ended
}

// Snapshot is the job as a restart would need it.
func (j *Job) Snapshot() Snapshot {
	s := Snapshot{Provider: j.peer, Lease: j.lease, State: j.State(), Attempts: j.attempts, Ran: j.ran,
		Avoid: slices.Clone(j.avoid), Over: slices.Clone(j.over), Stopping: j.stopping}
	if s.State.Ended() {
		s.End = j.end
	}
	return s
}

// ResumeJob goes on from a snapshot: with the run where a lease was signed,
// otherwise with the search. Its first [Job.Step] is due at once.
func ResumeJob(cfg JobConfig, s Snapshot, now time.Time) *Job {
	j := NewJob(cfg, now)
	j.attempts, j.ran, j.stopping = s.Attempts, s.Ran, s.Stopping
	j.avoid, j.over = slices.Clone(s.Avoid), slices.Clone(s.Over)
	switch {
	case s.State.Ended():
		j.resume, j.end = s.State, s.End
		j.peer, j.lease = s.Provider, s.Lease
	case s.State > Leasing && !s.Lease.IsZero():
		j.resume = s.State
		j.peer, j.lease = s.Provider, s.Lease
		if s.State == Collecting {
			j.resume = Running // what there is to collect, the provider tells again
		}
	}
	return j
}

// Step takes one event and returns what is to be done, in order. Time that goes
// back is taken as standing still.
func (j *Job) Step(now time.Time, e Event) []Action {
	if now.After(j.now) {
		j.now = now
	}
	j.out = nil
	if j.step == stepFresh {
		j.begin()
	}
	j.handle(e)
	j.overdue()
	return j.out
}

func (j *Job) begin() {
	switch {
	case j.resume.Ended():
		j.finish(j.end)
	case j.resume > Leasing:
		j.startBy, j.linkBy = j.now.Add(j.cfg.StartWithin), j.now.Add(j.cfg.Reconnect)
		j.emit(Attach{j.peer, j.lease})
		j.enter(map[State]step{Funding: stepFunding, Staging: stepStaging, Running: stepRunning, Paused: stepPaused}[j.resume])
		if j.stopping {
			j.stop()
		}
	case j.stopping:
		j.finish(End{State: Stopped, Reason: ReasonStopped})
	default:
		j.match()
	}
}

func (j *Job) handle(e Event) {
	switch e := e.(type) {
	case Candidates:
		j.candidates(e.Peers)
	case Proving:
		if j.step == stepMatching {
			j.deadline = j.startBy
		}
	case Dialed:
		j.dialed(e)
	case DialFailed:
		j.missed(e.Peer, "", 0, e.Err)
	case Declined:
		j.declined(e)
	case BidArrived:
		j.bid(e)
	case LeaseSigned:
		j.signed(e)
	case LeaseDeclined:
		j.refused(e)
	case LeaseFailed:
		if j.step == stepLeasing && e.Peer == j.peer {
			j.leaseLost(e.Err)
		}
	case StopAsked:
		j.stop()
	default:
		j.handleRun(e)
	}
}

// enter goes to a step and sets its deadline.
func (j *Job) enter(s step) {
	if j.step == stepRunning {
		j.ran += j.now.Sub(j.since)
	}
	j.step = s
	switch s {
	case stepMatching:
		j.deadline = j.now.Add(findWithin)
	case stepIdle:
		j.deadline = j.now.Add(silencePause << (j.silences - 1))
	case stepAsking:
		j.deadline = j.now.Add(j.cfg.DialWithin)
	case stepLeasing:
		j.deadline = j.now.Add(j.cfg.LeaseWithin)
	case stepFunding:
		j.deadline = j.now.Add(j.cfg.FundWithin + j.cfg.Slack)
	case stepStaging:
		j.deadline = j.startBy
	case stepRunning, stepPaused:
		if j.runBy.IsZero() {
			j.runBy = j.now.Add(2*j.cfg.MaxDuration + 10*j.cfg.HoldPaused + j.cfg.Slack)
		}
		j.since = j.now
		j.deadline = j.now.Add(j.cfg.HoldPaused + j.cfg.Slack)
		if s == stepRunning {
			j.deadline = j.now.Add(max(0, j.cfg.MaxDuration-j.ran) + j.cfg.Slack)
		}
		j.deadline = earlier(j.deadline, j.runBy)
	case stepFetching:
		j.fetchBy = j.now.Add(j.cfg.FetchFor)
		j.deadline = j.now.Add(j.cfg.FetchWithin)
	case stepReleasing, stepSettling:
		j.deadline = j.now.Add(j.cfg.SettleFor)
	}
}

// Next is when [Job.Step] must be called at the latest, with a [Tick] if
// nothing else happened; false once the job has ended.
func (j *Job) Next() (time.Time, bool) {
	switch j.step {
	case stepFresh:
		return j.now, true
	case stepEnded:
		return time.Time{}, false
	}
	at := j.deadline
	if j.step == stepAsking {
		at = j.search.closes(j.deadline)
	}
	if j.step.starting() {
		at = earlier(at, j.startBy)
	}
	if j.linkMatters() {
		at = earlier(at, j.linkBy)
	}
	return at, true
}

func (j *Job) linkMatters() bool {
	return !j.linkBy.IsZero() && j.step >= stepFunding && j.step <= stepPaused
}

// overdue does what a passed deadline asks for.
func (j *Job) overdue() {
	at, ok := j.Next()
	if !ok || j.now.Before(at) {
		return
	}
	switch {
	case j.linkMatters() && !j.now.Before(j.linkBy):
		j.fault(ReasonProviderLost, lost, "unreachable for "+j.cfg.Reconnect.String())
	case j.step <= stepAsking && j.search.silent() && !j.now.Before(j.startBy):
		j.silences = maxSilences
		j.exhausted()
	case j.step.starting() && !j.now.Before(j.startBy):
		j.releaseAndFinish(End{State: Failed, Reason: ReasonStartTimeout, Detail: "not running within " + j.cfg.StartWithin.String()})
	default:
		j.lapse()
	}
}

// lapse ends a step whose own deadline has passed.
func (j *Job) lapse() {
	switch j.step {
	case stepMatching:
		j.exhausted()
	case stepIdle:
		j.look()
	case stepAsking:
		j.closeWindow()
	case stepLeasing:
		j.leaseLost("no answer within " + j.cfg.LeaseWithin.String())
	case stepFunding:
		j.fault(ReasonFundingTimeout, lost, "deposit not confirmed within "+j.cfg.FundWithin.String())
	case stepRunning:
		j.overrun()
	case stepPaused:
		j.releaseAndFinish(End{State: Unpaid, Reason: ReasonClientUnpaid, Detail: "paused for longer than " + j.cfg.HoldPaused.String()})
	case stepReleasing:
		j.finish(j.end)
	case stepFetching:
		j.noOutputs("nothing came for " + j.cfg.FetchWithin.String())
	case stepSettling:
		end := j.end
		end.Detail = cmp.Or(end.Detail, "the final receipt is not settled")
		j.finish(end)
	}
}

// State is where the job stands.
func (j *Job) State() State {
	switch j.step {
	case stepFresh:
		return j.resume
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
		return j.end.State
	default:
		return Matching
	}
}

// End is how the job ended; false while it has not.
func (j *Job) End() (End, bool) { return j.end, j.step == stepEnded }

// Lease is the provider and lease of the attempt under way; zero where there is none.
func (j *Job) Lease() (souk.NodeKey, souk.LeaseID) { return j.peer, j.lease }

// Attempts counts the leases signed.
func (j *Job) Attempts() int { return j.attempts }

// Over lists the attempts that are over and were followed by another.
func (j *Job) Over() []Attempt { return j.over }

// Misses lists who was asked in this attempt and did not take the job, and why.
func (j *Job) Misses() []Miss { return j.search.misses }

func (j *Job) emit(actions ...Action) { j.out = append(j.out, actions...) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
