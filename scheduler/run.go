package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// handleRun takes the events of a signed lease; those of any other are late.
func (a *Attempt) handleRun(e Event) {
	if !a.step.attached() {
		return
	}
	switch e := e.(type) {
	case RunState:
		if e.Lease == a.lease {
			a.linkBy = time.Time{}
			a.phase(e)
		}
	case LinkLost:
		if e.Lease == a.lease && a.linkBy.IsZero() {
			a.linkBy = a.now.Add(a.cfg.Reconnect)
		}
	case LinkBack:
		if e.Lease == a.lease {
			a.linkBy = time.Time{}
		}
	case OutputsMoving:
		if e.Lease == a.lease && a.step == stepFetching {
			a.deadline = earlier(a.now.Add(a.cfg.FetchWithin), a.fetchBy)
		}
	case OutputsVerified:
		if e.Lease == a.lease && a.step == stepFetching {
			a.end.Output = a.output
			a.settle()
		}
	case OutputsFailed:
		if e.Lease == a.lease && a.step == stepFetching {
			a.noOutputs(e.Err)
		}
	case Settled:
		if e.Lease == a.lease && (a.step == stepSettling || a.step == stepReleasing) {
			a.finish(a.end)
		}
	}
}

// phase follows the provider's word. A run only goes forward, except between
// running and paused: a word of an earlier phase is late.
func (a *Attempt) phase(e RunState) {
	switch e.Phase {
	case runv1.Phase_PHASE_STAGING:
		if a.step == stepFunding {
			a.enter(stepStaging)
		}
	case runv1.Phase_PHASE_RUNNING:
		if a.step == stepFunding || a.step == stepStaging || a.step == stepPaused {
			a.enter(stepRunning)
		}
	case runv1.Phase_PHASE_PAUSED:
		if a.step == stepFunding || a.step == stepStaging || a.step == stepRunning {
			a.enter(stepPaused)
		}
	case runv1.Phase_PHASE_COLLECTING, runv1.Phase_PHASE_ENDED:
		a.runOver(e)
	}
}

// runOver takes the provider's word that the job is not running any more.
func (a *Attempt) runOver(e RunState) {
	switch a.step {
	case stepFunding, stepStaging, stepRunning, stepPaused:
		a.ended(e, endingOf(e.Reason))
	case stepReleasing:
		if !a.stopping {
			a.ended(e, a.overrunEnding(e))
		} else if e.Phase == runv1.Phase_PHASE_ENDED {
			a.finish(a.end)
		} else {
			a.settle()
		}
	case stepSettling:
		// It ends when the last voucher is there, or when it stops waiting.
		if e.Phase == runv1.Phase_PHASE_ENDED {
			a.finish(a.end)
		}
	}
}

// overrunEnding is what the end of a run means that we ended for its length.
func (a *Attempt) overrunEnding(e RunState) ending {
	if e.Reason == runv1.EndReason_END_REASON_CLIENT_RELEASED {
		return endingOf(runv1.EndReason_END_REASON_JOB_TIME)
	}
	return endingOf(e.Reason)
}

// ended acts on the end of a run: collect its result, try elsewhere, or end.
func (a *Attempt) ended(e RunState, is ending) {
	if is.reason == ReasonClientOutputs && a.resume <= Leasing {
		// We were here all the time and were told of none: it kept them.
		is = ending{ReasonNoOutputs, Failed, lost, false}
	}
	if !is.result {
		if is.retry != noRetry {
			a.fault(is.reason, is.retry, e.Detail)
		} else {
			a.giveUp(End{State: is.state, Reason: is.reason, Detail: e.Detail})
		}
		return
	}
	a.end = End{State: is.state, Reason: is.reason, Exit: e.Exit, Detail: e.Detail}
	if is.state == Done && e.Exit != 0 {
		a.end.State, a.end.Reason = Failed, ReasonExitCode
		a.end.Detail = cmp.Or(e.Detail, fmt.Sprintf("exit code %d", e.Exit))
	}
	if e.Output == "" {
		a.settle()
		return
	}
	a.output = e.Output
	a.enter(stepFetching)
	a.emit(FetchOutputs{a.lease, e.Output})
}

// settle lets the last voucher go: the outputs are here, or none are wanted.
func (a *Attempt) settle() {
	a.enter(stepSettling)
	a.emit(SettleUp{a.lease})
}

// noOutputs acts on outputs that cannot be had. A provider that keeps a good
// result does not get the last voucher; a job that failed by itself is settled.
func (a *Attempt) noOutputs(why string) {
	if a.end.State == Done {
		a.fault(ReasonNoOutputs, lost, why)
		return
	}
	a.settle()
}

// overrun ends a run that its provider should have ended.
func (a *Attempt) overrun() {
	is := endingOf(runv1.EndReason_END_REASON_JOB_TIME)
	a.end = End{State: is.state, Reason: is.reason, Detail: "ended by the client: longer than " + a.cfg.MaxDuration.String()}
	a.enter(stepReleasing)
	a.emit(Release{Peer: a.peer, Lease: a.lease})
}

// stop ends the job for its owner, wherever it stands.
func (a *Attempt) stop() {
	stopped := End{State: Stopped, Reason: ReasonStopped}
	switch a.step {
	case stepMatching, stepIdle, stepAsking, stepLeasing:
		a.stopping = true
		a.giveUp(stopped)
	case stepFunding, stepStaging, stepRunning, stepPaused:
		a.stopping, a.end = true, stopped
		a.enter(stepReleasing)
		a.emit(Release{Peer: a.peer, Lease: a.lease, Discard: true})
	case stepReleasing:
		a.stopping, a.end = true, stopped
	case stepFetching:
		// The work is done: it is paid, though its result is dropped.
		a.stopping, a.end = true, stopped
		a.emit(Release{Peer: a.peer, Lease: a.lease, Discard: true})
		a.settle()
	}
}

// giveUp lets go of whatever is signed and ends the job.
func (a *Attempt) giveUp(end End) {
	if a.step >= stepLeasing {
		a.emit(Release{Peer: a.peer, Lease: a.lease, Discard: true, Drop: true})
	}
	a.finish(end)
}

// fault gives up a provider and tries the job elsewhere if its owner allows.
func (a *Attempt) fault(reason Reason, cause jobv1.RetryCause, detail string) {
	r := a.cfg.Retry
	if !slices.Contains(r.GetOn(), cause) || a.attempts > min(int(r.GetMax()), maxRetries) {
		a.giveUp(End{State: Failed, Reason: reason, Detail: detail})
		return
	}
	a.emit(Release{Peer: a.peer, Lease: a.lease, Discard: true, Drop: true})
	a.tries = append(a.tries, Try{Peer: a.peer, Lease: a.lease, Reason: reason, Detail: detail, Misses: a.search.misses})
	a.avoid = append(a.avoid, a.peer)
	a.end = End{}
	a.match()
}

// finish ends the attempt; it happens once.
func (a *Attempt) finish(end End) {
	a.enter(stepEnded)
	a.end = end
	a.emit(Finish{end})
}
