package wasm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// drainWithin bounds how long output is still read once the process is dead,
// in case something it left behind keeps a pipe open.
const drainWithin = 10 * time.Second

// noMemory is the exit code of the Go runtime when the kernel gives it no more.
const noMemory = 2

// run is a module in its process.
type run struct {
	process  *process
	memory   uint64
	lost     runv1.EndReason // what it means when the process ends without a word
	duration time.Duration
	log      *slog.Logger
	began    chan struct{} // closed when the module begins
	done     chan struct{} // closed when result is final

	mu     sync.Mutex // guards all below; result is read freely after done
	watch  runner.Stopwatch
	timer  *time.Timer // ends the run when its running time is used up; nil before it begins
	paused bool
	over   bool   // the process is dead
	cause  report // why we killed it; no reason: we did not
	last   report // what it said of its end; no reason: nothing
	result runner.Result
}

func newRun(p *process, s runner.Spec, lost runv1.EndReason, log *slog.Logger) *run {
	return &run{
		process: p, memory: s.Memory, lost: lost, duration: s.Duration,
		log:   log.With("lease", s.Lease.Short()),
		began: make(chan struct{}), done: make(chan struct{}),
	}
}

// follow starts what reads from the process. The goroutines end with it, and
// done is closed after the last.
func (u *run) follow(stdout, stderr io.Writer) {
	var readers sync.WaitGroup
	readers.Go(func() { drain(u.process.stdout, stdout) })
	readers.Go(func() { drain(u.process.stderr, stderr) })
	readers.Go(u.reports)
	go func() {
		<-u.process.exited
		u.mu.Lock()
		u.over = true
		u.watch.Stop(time.Now())
		if u.timer != nil {
			u.timer.Stop()
		}
		u.mu.Unlock()
		u.process.reap <- struct{}{}
		exit := <-u.process.exited
		u.process.closeAfter(drainWithin)
		readers.Wait()
		u.finish(exit)
	}()
}

// drain copies what a module prints. A writer that fails loses the rest; the
// module is not stopped for that.
func drain(from *os.File, to io.Writer) {
	defer from.Close()
	if to != nil {
		_, _ = io.Copy(to, from)
	}
	_, _ = io.Copy(io.Discard, from)
}

// reports reads at most two reports: that the module begins, and how it ended.
func (u *run) reports() {
	defer u.process.report.Close()
	lines := bufio.NewScanner(u.process.report)
	lines.Buffer(make([]byte, 0, maxReport), maxReport)
	for range 2 {
		if !lines.Scan() {
			return
		}
		r, err := parseReport(lines.Bytes())
		if err != nil {
			u.log.Warn("bad report from a module's process", "err", err)
			return
		}
		u.mu.Lock()
		if r.Reason != runv1.EndReason_END_REASON_UNSPECIFIED {
			u.last = r
		} else if u.timer == nil {
			u.watch.Start(time.Now())
			u.timer = time.AfterFunc(u.duration, u.expire)
			close(u.began)
		}
		u.mu.Unlock()
	}
}

// expire ends the run once its running time is used up.
func (u *run) expire() {
	u.mu.Lock()
	left := u.duration - u.watch.Elapsed(time.Now())
	if u.paused || left > 0 { // a pause came between the timer and us
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	u.end(runv1.EndReason_END_REASON_JOB_TIME, fmt.Sprintf("it ran for %v", u.duration))
}

// end kills the process, for the first reason that is given.
func (u *run) end(reason runv1.EndReason, detail string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return
	}
	if u.cause.Reason == runv1.EndReason_END_REASON_UNSPECIFIED {
		u.cause = report{Reason: reason, Detail: detail}
	}
	u.process.kill()
}

// Stop implements [runner.Run].
func (u *run) Stop() { u.end(runv1.EndReason_END_REASON_CLIENT_RELEASED, "") }

// Pause implements [runner.Run].
func (u *run) Pause() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over || u.paused {
		return nil
	}
	if err := u.process.stop(); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	u.paused = true
	u.watch.Stop(time.Now())
	if u.timer != nil {
		u.timer.Stop()
	}
	return nil
}

// Resume implements [runner.Run].
func (u *run) Resume() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over || !u.paused {
		return nil
	}
	if err := u.process.resume(); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	u.paused = false
	now := time.Now()
	if u.timer != nil {
		u.timer.Reset(u.duration - u.watch.Elapsed(now))
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
	if u.over {
		select {
		case <-u.done:
			return u.result.Usage
		default: // what it printed is still being read
		}
	}
	used := runner.Usage{RunningFor: u.watch.Elapsed(time.Now())}
	if !u.over { // its id stays taken until then
		used.CPU, used.Memory = u.process.usage()
	}
	return used
}

// finish settles why the run ended. What the module's own end says comes first:
// it was there before we could kill.
func (u *run) finish(exit exit) {
	u.mu.Lock()
	defer u.mu.Unlock()
	end := u.last
	switch {
	case end.Reason != runv1.EndReason_END_REASON_UNSPECIFIED:
	case u.cause.Reason != runv1.EndReason_END_REASON_UNSPECIFIED:
		end = u.cause
	case exit.rss > u.memory || exit.code == noMemory:
		// The process is bounded too, for what a module holds outside its own
		// memory: tables, open files, code.
		end = report{Reason: runv1.EndReason_END_REASON_JOB_MEMORY, Detail: "out of memory outside of the module's own"}
	default:
		end = report{Reason: u.lost, Detail: oneLine("the module's process ended unexpectedly: " + exit.state)}
		u.log.Warn("a module's process ended without a report", "err", errors.New(exit.state))
	}
	u.result = runner.Result{
		ExitCode: int(int32(end.Exit)), Reason: end.Reason, Detail: end.Detail,
		Usage: runner.Usage{RunningFor: u.watch.Elapsed(time.Now()), CPU: exit.cpu, MaxRSS: exit.rss},
	}
	close(u.done)
}
