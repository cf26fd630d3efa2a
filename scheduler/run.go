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
func (j *Job) handleRun(e Event) {
	if !j.step.attached() {
		return
	}
	switch e := e.(type) {
	case RunState:
		if e.Lease == j.lease {
			j.linkBy = time.Time{}
			j.phase(e)
		}
	case LinkLost:
		if e.Lease == j.lease && j.linkBy.IsZero() {
			j.linkBy = j.now.Add(j.cfg.Reconnect)
		}
	case LinkBack:
		if e.Lease == j.lease {
			j.linkBy = time.Time{}
		}
	case JobIdle:
		if e.Lease == j.lease && j.step == stepRunning {
			j.idle(e.Detail)
		}
	case OutputsMoving:
		if e.Lease == j.lease && j.step == stepFetching {
			j.deadline = earlier(j.now.Add(j.cfg.FetchWithin), j.fetchBy)
		}
	case OutputsVerified:
		if e.Lease == j.lease && j.step == stepFetching {
			j.end.Output = j.output
			j.settle()
		}
	case OutputsFailed:
		if e.Lease == j.lease && j.step == stepFetching {
			j.noOutputs(e.Err)
		}
	case Settled:
		if e.Lease == j.lease && (j.step == stepSettling || j.step == stepReleasing) {
			j.finish(j.end)
		}
	}
}

// phase follows what the provider reports of a run. A run only goes forward, except
// between running and paused: a report of an earlier phase arrived late.
func (j *Job) phase(e RunState) {
	switch e.Phase {
	case runv1.Phase_PHASE_STAGING:
		if j.step == stepFunding {
			j.enter(stepStaging)
		}
	case runv1.Phase_PHASE_RUNNING:
		if j.step == stepFunding || j.step == stepStaging || j.step == stepPaused {
			j.enter(stepRunning)
		}
	case runv1.Phase_PHASE_PAUSED:
		if j.step == stepFunding || j.step == stepStaging || j.step == stepRunning {
			j.enter(stepPaused)
		}
	case runv1.Phase_PHASE_COLLECTING, runv1.Phase_PHASE_ENDED:
		j.runOver(e)
	}
}

// runOver acts on the provider's report that the job does not run any more.
func (j *Job) runOver(e RunState) {
	switch j.step {
	case stepFunding, stepStaging, stepRunning, stepPaused:
		j.ended(e, endingOf(e.Reason))
	case stepReleasing:
		if !j.stopping {
			j.endedByUs(e)
		} else if e.Phase == runv1.Phase_PHASE_ENDED {
			j.finish(j.end)
		} else {
			j.settle()
		}
	case stepSettling:
		// It ends when the last voucher is there, or when it stops waiting.
		if e.Phase == runv1.Phase_PHASE_ENDED {
			j.finish(j.end)
		}
	}
}

// endedByUs acts on the end of a run that we ended for what its job did.
func (j *Job) endedByUs(e RunState) {
	is := endingOf(e.Reason)
	if e.Reason == runv1.EndReason_END_REASON_CLIENT_RELEASED {
		is, e.Detail = ending{j.end.Reason, j.end.State, noRetry, true}, j.end.Detail
	}
	j.ended(e, is)
}

// ended acts on the end of a run: collect its result, attempt it elsewhere, or end.
func (j *Job) ended(e RunState, is ending) {
	if is.reason == ReasonClientOutputs && j.resume <= Leasing {
		// The client was connected and was told of no outputs: the provider keeps them.
		is = ending{ReasonNoOutputs, Failed, lost, false}
	}
	if !is.result {
		if is.retry != noRetry {
			j.fault(is.reason, is.retry, e.Detail)
		} else {
			j.releaseAndFinish(End{State: is.state, Reason: is.reason, Detail: e.Detail})
		}
		return
	}
	j.end = End{State: is.state, Reason: is.reason, Exit: e.Exit, Detail: e.Detail}
	if is.state == Done && e.Exit != 0 {
		j.end.State, j.end.Reason = Failed, ReasonExitCode
		j.end.Detail = cmp.Or(e.Detail, fmt.Sprintf("exit code %d", e.Exit))
	}
	switch {
	case e.Output == "" && e.Phase == runv1.Phase_PHASE_ENDED && (j.step == stepFunding || j.step == stepStaging):
		j.finish(j.end) // it never ran: nothing is due, and the provider says no more
		return
	case e.Output == "":
		j.settle()
		return
	}
	j.output = e.Output
	j.enter(stepFetching)
	j.emit(FetchOutputs{j.lease, e.Output})
}

// settle allows the last voucher to be sent: the outputs are here, or none are wanted.
func (j *Job) settle() {
	j.enter(stepSettling)
	j.emit(SettleUp{j.lease})
}

// noOutputs acts on outputs that cannot be had. A provider that keeps a good
// result does not get the last voucher; a job that failed by itself is settled.
func (j *Job) noOutputs(why string) {
	if j.end.State == Done {
		j.fault(ReasonNoOutputs, lost, why)
		return
	}
	j.settle()
}

// overrun ends a run that its provider should have ended.
func (j *Job) overrun() {
	is := endingOf(runv1.EndReason_END_REASON_JOB_TIME)
	j.end = End{State: is.state, Reason: is.reason, Detail: "ended by the client: longer than " + j.cfg.MaxDuration.String()}
	j.enter(stepReleasing)
	j.emit(Release{Peer: j.peer, Lease: j.lease})
}

// idle ends a run that does not use its GPUs. What it wrote comes home.
func (j *Job) idle(detail string) {
	j.end = End{State: Failed, Reason: ReasonJobIdle, Detail: detail}
	j.enter(stepReleasing)
	j.emit(Release{Peer: j.peer, Lease: j.lease})
}

// stop ends the job for its owner, wherever it stands.
func (j *Job) stop() {
	stopped := End{State: Stopped, Reason: ReasonStopped}
	switch j.step {
	case stepMatching, stepIdle, stepAsking, stepLeasing:
		j.stopping = true
		j.releaseAndFinish(stopped)
	case stepFunding, stepStaging, stepRunning, stepPaused:
		j.stopping, j.end = true, stopped
		j.enter(stepReleasing)
		j.emit(Release{Peer: j.peer, Lease: j.lease, Discard: true})
	case stepReleasing:
		j.stopping, j.end = true, stopped
	case stepFetching:
		// The work is done: it is paid, though its result is dropped.
		j.stopping, j.end = true, stopped
		j.emit(Release{Peer: j.peer, Lease: j.lease, Discard: true})
		j.settle()
	}
}

// releaseAndFinish releases whatever is signed and ends the job.
func (j *Job) releaseAndFinish(end End) {
	if j.step >= stepLeasing {
		j.emit(Release{Peer: j.peer, Lease: j.lease, Discard: true, Drop: true})
	}
	j.finish(end)
}

// fault releases the lease and attempts the job elsewhere if its owner allows.
func (j *Job) fault(reason Reason, cause jobv1.RetryCause, detail string) {
	r := j.cfg.Retry
	if !slices.Contains(r.GetOn(), cause) || j.attempts > min(int(r.GetMax()), maxRetries) {
		j.releaseAndFinish(End{State: Failed, Reason: reason, Detail: detail})
		return
	}
	j.emit(Release{Peer: j.peer, Lease: j.lease, Discard: true, Drop: true})
	j.over = append(j.over, Attempt{Peer: j.peer, Lease: j.lease, Reason: reason, Detail: detail, Misses: j.search.misses})
	j.avoid = append(j.avoid, j.peer)
	j.end = End{}
	j.match()
}

// finish ends the job; it happens once.
func (j *Job) finish(end End) {
	j.enter(stepEnded)
	j.end = end
	j.emit(Finish{end})
}
