package oci

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu/runner"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

const (
	grace       = time.Second // from the notice, SIGTERM, to SIGKILL
	killAgain   = time.Second // between two SIGKILLs, where the first changed nothing
	toggleAgain = 100 * time.Millisecond
	drainWithin = 10 * time.Second // what was printed is read once the container has ended
	drainKilled = time.Second      // likewise where we ended it: its last words matter less than its end
	cleanWithin = 30 * time.Second // for removing a container
)

// run is a job in its container.
type run struct {
	runner   *Runner
	cli      *client.Client
	spec     runner.Spec
	held     *held // its devices and its proxy; nil: the processor alone, and no network
	podman   bool
	name     string // of the container
	id       string // of the container; empty: there is none
	log      *slog.Logger
	ending   chan struct{} // closed by the first reason to end it
	done     chan struct{} // closed when result is final
	toggling sync.Mutex    // one of Pause and Resume at a time

	mu     sync.Mutex // guards all below; result is read freely after done
	watch  runner.Stopwatch
	timer  *time.Timer // ends the run when its running time is used up; nil before it begins
	paused bool
	over   bool // the container has ended
	cause  cause
	used   sample
	good   time.Time // when its devices were last found to be usable
	result runner.Result
}

// cause is why we ended a run.
type cause struct {
	reason runv1.EndReason // none: we did not
	detail string
	now    bool // without notice

	devices bool // its devices are not usable any more
}

func newRun(r *Runner, s runner.Spec) *run {
	return &run{runner: r, cli: r.engine.client(), spec: s, name: containerName(s), podman: r.engine.Facts().Podman, log: r.log.With("lease", s.Lease.Short()),
		ending: make(chan struct{}), done: make(chan struct{})}
}

// endedAtStart ends a run that cannot be started anywhere.
func (u *run) endedAtStart(err error) *run {
	u.over = true
	u.result = runner.Result{Reason: runv1.EndReason_END_REASON_JOB_INVALID, Detail: oneLine(err.Error())}
	close(u.done)
	return u
}

// create makes the container. One of the same name that is ours is what an earlier
// life of the daemon left.
func (u *run) create(ctx context.Context, c client.ContainerCreateOptions) error {
	made, err := u.cli.ContainerCreate(ctx, c)
	if errdefs.IsConflict(err) {
		there, lookErr := u.cli.ContainerInspect(ctx, c.Name, client.ContainerInspectOptions{})
		if lookErr != nil || there.Container.Config == nil || there.Container.Config.Labels[labelOwner] != u.runner.owner {
			return err
		}
		if err := destroy(ctx, u.cli, there.Container.ID); err != nil {
			return fmt.Errorf("remove an earlier container: %w", err)
		}
		made, err = u.cli.ContainerCreate(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("create the container: %w", err)
	}
	u.id = made.ID
	return nil
}

// launch starts the container and what follows it. Its output is attached before
// it starts, so that none is lost.
func (u *run) launch(ctx context.Context) error {
	printed, err := u.cli.ContainerAttach(ctx, u.id, client.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		// Podman makes the container ready for that, and fails where its command is
		// none; the reason is told to who starts it alone.
		if _, startErr := u.cli.ContainerStart(ctx, u.id, client.ContainerStartOptions{}); startErr != nil {
			err = startErr
		}
		return fmt.Errorf("attach to the container: %w", err)
	}
	if _, err := u.cli.ContainerStart(ctx, u.id, client.ContainerStartOptions{}); err != nil {
		printed.Close()
		return fmt.Errorf("start the container: %w", err)
	}
	if err := u.passGate(ctx, printed); err != nil {
		printed.Close()
		return err
	}
	u.mu.Lock()
	u.watch.Start(time.Now())
	u.timer = time.AfterFunc(u.spec.Duration, u.expire)
	u.mu.Unlock()
	go u.follow(printed)
	return nil
}

// follow sees a run to its end. It waits for all that it starts.
func (u *run) follow(printed client.ContainerAttachResult) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var work sync.WaitGroup
	silent := make(chan struct{})
	stdout, stderr := &sink{to: u.spec.Stdout}, &sink{to: u.spec.Stderr}
	go func() {
		defer close(silent)
		demultiplex(printed.Reader, stdout, stderr)
	}()
	work.Go(func() { u.kill(ctx) })
	work.Go(func() { u.measure(ctx) })
	work.Go(func() { u.guardDisk(ctx) })
	work.Go(func() { u.guardDevices(ctx) })
	if u.held != nil {
		work.Go(func() { u.held.reach.serve(ctx) })
	}
	end := u.await(ctx, silent)
	u.mu.Lock()
	u.over = true
	u.watch.Stop(time.Now())
	u.timer.Stop()
	drain := drainWithin
	if u.cause.reason != runv1.EndReason_END_REASON_UNSPECIFIED {
		drain = drainKilled
	}
	u.mu.Unlock()
	cancel()
	select {
	case <-silent:
	case <-time.After(drain): // Podman may keep the stream of a dead container open
	}
	printed.Close()
	<-silent
	work.Wait()
	u.remove()
	u.held.release()
	u.runner.ended(u.name)
	end.notRun = notRun(end.exit, stderr)
	u.finish(end)
}

// expire ends the run once its running time is used up.
func (u *run) expire() {
	u.mu.Lock()
	left := u.spec.Duration - u.watch.Elapsed(time.Now())
	if u.paused || left > 0 { // a pause came between the timer and us
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	u.end(cause{reason: runv1.EndReason_END_REASON_JOB_TIME, detail: fmt.Sprintf("it ran for %v", u.spec.Duration)})
}

// end asks for the end of the container, for the first cause that is given.
func (u *run) end(c cause) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over || u.cause.reason != runv1.EndReason_END_REASON_UNSPECIFIED {
		return
	}
	u.cause = c
	close(u.ending)
}

// kill carries an end out: notice and grace, where there is no hurry, and then
// SIGKILL until the container has ended. A paused one is let go for that.
func (u *run) kill(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-u.ending:
	}
	u.mu.Lock()
	notice := !u.cause.now && !u.paused
	u.mu.Unlock()
	if notice {
		u.signal(ctx, "SIGTERM")
		if !sleep(ctx, grace) {
			return
		}
	}
	for {
		u.signal(ctx, "SIGKILL")
		u.mu.Lock()
		paused := u.paused
		u.mu.Unlock()
		if paused {
			_, _ = u.cli.ContainerUnpause(ctx, u.id, client.ContainerUnpauseOptions{})
			u.signal(ctx, "SIGKILL")
		}
		if !sleep(ctx, killAgain) {
			return
		}
	}
}

// signal sends a signal; a container that has ended takes none.
func (u *run) signal(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if _, err := u.cli.ContainerKill(ctx, u.id, client.ContainerKillOptions{Signal: name}); err != nil && ctx.Err() == nil {
		u.log.Debug("signal a container", "signal", name, "err", err)
	}
}

// sleep waits for d, and tells whether ctx went on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Stop implements [runner.Run].
func (u *run) Stop() { u.end(cause{reason: runv1.EndReason_END_REASON_CLIENT_RELEASED}) }

// Signal implements [runner.Signaled].
func (u *run) Signal() error {
	u.mu.Lock()
	over := u.over
	u.mu.Unlock()
	if over {
		return nil
	}
	u.signal(context.Background(), "SIGTERM")
	return nil
}

// Pause implements [runner.Run], by the engine's freezer.
func (u *run) Pause() error {
	return u.toggle("pause", true, func(ctx context.Context) error {
		_, err := u.cli.ContainerPause(ctx, u.id, client.ContainerPauseOptions{})
		return err
	})
}

// Resume implements [runner.Run].
func (u *run) Resume() error {
	return u.toggle("resume", false, func(ctx context.Context) error {
		_, err := u.cli.ContainerUnpause(ctx, u.id, client.ContainerUnpauseOptions{})
		return err
	})
}

// toggle pauses or resumes a run that is not so already, and has not ended.
func (u *run) toggle(what string, pause bool, do func(context.Context) error) error {
	u.toggling.Lock()
	defer u.toggling.Unlock()
	u.mu.Lock()
	idle := u.over || u.cause.reason != runv1.EndReason_END_REASON_UNSPECIFIED || u.paused == pause
	u.mu.Unlock()
	if idle {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	for err := do(ctx); err != nil; err = do(ctx) {
		now, known := u.look(ctx)
		if known && now.over {
			return nil
		}
		if known && now.paused == pause {
			break
		}
		// A busy kernel may refuse to freeze all at once what it will freeze next time.
		if !sleep(ctx, toggleAgain) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if u.paused = pause; u.over {
		return nil
	}
	if pause {
		u.watch.Stop(now)
		u.timer.Stop()
		return nil
	}
	u.timer.Reset(u.spec.Duration - u.watch.Elapsed(now))
	u.watch.Start(now)
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
	return u.usage()
}

// usage wants mu.
func (u *run) usage() runner.Usage {
	used := runner.Usage{RunningFor: u.watch.Elapsed(time.Now()), CPU: u.used.cpu, MaxRSS: u.used.memory}
	if !u.over {
		used.Memory = u.used.now
	}
	if u.held != nil && u.held.reach != nil {
		used.Counters = map[string]uint64{runner.EgressByte: u.held.reach.proxy.Bytes()}
	}
	return used
}

// destroy removes a container that did not become a run.
func (u *run) destroy() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWithin)
	defer cancel()
	if err := destroy(ctx, u.cli, u.id); err != nil {
		u.log.Warn("a container was not removed", "container", u.id, "err", err)
	}
}

// remove removes the container; what the engine does not remove now is swept later.
func (u *run) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWithin)
	defer cancel()
	_, err := u.cli.ContainerRemove(ctx, u.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		u.log.Warn("a container was not removed", "container", u.id, "err", err)
	}
}
