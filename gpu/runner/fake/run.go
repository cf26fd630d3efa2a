package fake

import (
	"maps"
	"sync"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// run is a guest in its goroutine.
type run struct {
	spec runner.Spec
	over chan struct{} // closed when the guest must end
	done chan struct{} // closed when result is final

	mu      sync.Mutex // guards all below; result is read freely after done
	watch   runner.Stopwatch
	timer   *time.Timer   // nil before it begins
	resumed chan struct{} // closed by Resume; nil: not paused
	reason  runv1.EndReason
	detail  string
	energy  uint64
	counted map[string]uint64
	result  runner.Result
}

func newRun(s runner.Spec) *run {
	return &run{spec: s, over: make(chan struct{}), done: make(chan struct{})}
}

// end makes the guest end, for the first reason that is given.
func (u *run) end(reason runv1.EndReason, detail string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.reason != runv1.EndReason_END_REASON_UNSPECIFIED {
		return
	}
	if reason == runv1.EndReason_END_REASON_JOB_TIME && u.resumed != nil {
		return // a pause came between the timer and us
	}
	u.reason, u.detail = reason, detail
	close(u.over)
}

// finish settles the result once the guest is gone.
func (u *run) finish(code int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	u.watch.Stop(now)
	if u.timer != nil {
		u.timer.Stop()
	}
	if u.reason == runv1.EndReason_END_REASON_UNSPECIFIED {
		u.reason = runv1.EndReason_END_REASON_COMPLETED
		close(u.over)
	}
	u.result = runner.Result{
		ExitCode: code, Reason: u.reason, Detail: u.detail,
		Usage: u.usage(now),
	}
	close(u.done)
}

// Stop implements [runner.Run].
func (u *run) Stop() { u.end(runv1.EndReason_END_REASON_CLIENT_RELEASED, "") }

// Pause implements [runner.Run]. The guest stops where it next asks its process
// for something.
func (u *run) Pause() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.reason != runv1.EndReason_END_REASON_UNSPECIFIED || u.resumed != nil {
		return nil
	}
	u.resumed = make(chan struct{})
	u.watch.Stop(time.Now())
	u.timer.Stop()
	return nil
}

// Resume implements [runner.Run].
func (u *run) Resume() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.resumed == nil {
		return nil
	}
	close(u.resumed)
	u.resumed = nil
	if u.reason == runv1.EndReason_END_REASON_UNSPECIFIED {
		now := time.Now()
		u.timer.Reset(u.spec.Duration - u.watch.Elapsed(now))
		u.watch.Start(now)
	}
	return nil
}

// Wait implements [runner.Run].
func (u *run) Wait() runner.Result {
	<-u.done
	return u.result
}

// Done implements [runner.Run].
func (u *run) Done() <-chan struct{} { return u.done }

// Usage implements [runner.Run].
func (u *run) Usage() runner.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.usage(time.Now())
}

func (u *run) usage(now time.Time) runner.Usage {
	running := u.watch.Elapsed(now)
	return runner.Usage{RunningFor: running, CPU: running, EnergyMillijoules: u.energy, Counters: maps.Clone(u.counted)}
}

// paused returns what is closed by Resume, or nil.
func (u *run) paused() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.resumed
}
