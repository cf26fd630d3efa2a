package oci

import (
	"context"
	"fmt"
	"github.com/souk-market/souk/gpu"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu/runner"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

const (
	endWithin = 30 * time.Second       // for a container to end once it is killed
	awayFor   = time.Minute            // how long an engine may be away while a container runs
	lookEvery = 250 * time.Millisecond // at a container whose output has ended, or whose engine was away
	lookFirst = 5 * time.Millisecond
)

// end is a container as its engine sees it.
type end struct {
	over   bool
	paused bool
	exit   int
	memory bool      // the engine says that it was killed for its memory
	failed string    // why the host failed; empty: it did not
	fault  string    // of that, the kind of [gpu.Incident]
	well   time.Time // when all was well for the last time, where the host failed
	notRun string    // why the command was no program; empty: it was
}

// notRun finds that a container's first program, runc or crun, found no other to
// become: it says so in the place of the job, and nothing else is said.
func notRun(exit int, stderr *sink) string {
	text := strings.TrimSpace(string(stderr.head))
	if exit == 0 || stderr.more || strings.Contains(text, "\n") || !notRunForm.MatchString(text) {
		return ""
	}
	return "the image's command cannot be run: " + text
}

// notRunForm is what runc says, and what crun does, plainly or as JSON.
var notRunForm = regexp.MustCompile("(?i)^(exec /.*: |(\\{.*)?exec container process.*`.*`: )(exec format error|no such file or directory|permission denied)(\".*\\})?$")

// await blocks until the container has ended. Podman looks only four times a second
// for one that does, so the end of its output is taken as a hint.
func (u *run) await(ctx context.Context, silent <-chan struct{}) end {
	waited := u.cli.ContainerWait(ctx, u.id, client.ContainerWaitOptions{})
	result, failed := waited.Result, waited.Error
	var look <-chan time.Time
	pause := lookFirst
	since := time.Now()       // when the engine last answered
	var asked, went time.Time // when it was asked to end; when its engine went away
	ending, tooLate := u.ending, (<-chan time.Time)(nil)
	for {
		select {
		case <-result:
			result, look = nil, time.After(0)
			continue
		case <-failed:
			// The engine went away, and with it the output: the run is lost.
			failed, pause, look = nil, lookEvery, time.After(0)
			since, went = time.Now(), time.Now()
			u.end(cause{reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, detail: "the container engine went away", now: true})
			continue
		case <-silent:
			silent, look = nil, time.After(0)
			continue
		case <-ending:
			ending, tooLate, asked = nil, time.After(endWithin), time.Now()
			continue
		case <-tooLate: // it is removed, or swept once its engine can
			return end{over: true, failed: fmt.Sprintf("the container engine did not end the container within %v", endWithin), fault: gpu.KindStuck, well: asked}
		case <-look:
		}
		now, known := u.look(ctx)
		switch {
		case known && now.over:
			if !went.IsZero() {
				now.fault, now.well = gpu.KindEngine, went
			}
			return now
		case known:
			since = time.Now()
		case time.Since(since) > awayFor:
			return end{over: true, failed: fmt.Sprintf("the container engine did not answer for %v", awayFor), fault: gpu.KindEngine, well: since}
		}
		look = time.After(pause)
		pause = min(2*pause, lookEvery)
	}
}

// look asks the engine for the state of the container; known tells whether it said.
func (u *run) look(ctx context.Context) (e end, known bool) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	got, err := u.cli.ContainerInspect(ctx, u.id, client.ContainerInspectOptions{})
	switch {
	case errdefs.IsNotFound(err):
		return end{over: true, failed: "the container was removed", fault: gpu.KindRemoved}, true
	case err != nil || got.Container.State == nil:
		return end{}, false
	}
	s := got.Container.State
	switch s.Status {
	case "exited", "dead", "stopped", "removing":
		return end{over: true, exit: s.ExitCode, memory: s.OOMKilled}, true
	}
	return end{paused: s.Paused || s.Status == "paused"}, true
}

// killed is the exit code of a program that a signal ended.
func killed(by syscall.Signal) int { return 128 + int(by) }

// finish settles why the run ended, and leaves no more in /out than the job may.
func (u *run) finish(e end) {
	left, tidyErr := tidy(u.spec.Out, u.spec.Disk)
	u.mu.Lock()
	defer u.mu.Unlock()
	r := runner.Result{ExitCode: e.exit, Usage: u.usage(), Fault: e.fault, UsableUntil: e.well}
	r.Reason, r.Detail = u.reason(e)
	if u.cause.devices {
		r.UsableUntil = u.good
	}
	switch {
	case tidyErr != nil:
		r.Reason, r.Detail = runv1.EndReason_END_REASON_PROVIDER_FAILED, oneLine("look at the outputs: "+tidyErr.Error())
	case left.full && r.Reason == runv1.EndReason_END_REASON_COMPLETED:
		r.Reason, r.Detail = runv1.EndReason_END_REASON_JOB_DISK, pastDisk(u.spec.Disk)
	case left.odd > 0 && r.Detail == "":
		r.Detail = fmt.Sprintf("%d links or special files in /out were removed", left.odd)
	}
	u.result = r
	close(u.done)
}

// reason is why the run ended. It wants mu.
func (u *run) reason(e end) (runv1.EndReason, string) {
	switch {
	case e.failed != "":
		return runv1.EndReason_END_REASON_PROVIDER_FAILED, e.failed
	case u.cause.reason != runv1.EndReason_END_REASON_UNSPECIFIED:
		return u.cause.reason, u.cause.detail
	case e.exit != 0 && e.memory, e.exit == killed(syscall.SIGKILL) && u.podman:
		// Podman does not tell a kill for memory from another, and nobody else kills.
		return runv1.EndReason_END_REASON_JOB_MEMORY, fmt.Sprintf("it used more than its %d bytes of memory", u.spec.Memory)
	case e.notRun != "":
		return runv1.EndReason_END_REASON_JOB_INVALID, oneLine(e.notRun)
	case e.exit == killed(syscall.SIGXFSZ):
		return runv1.EndReason_END_REASON_JOB_DISK, pastDisk(u.spec.Disk)
	}
	return runv1.EndReason_END_REASON_COMPLETED, ""
}

func pastDisk(limit uint64) string {
	return fmt.Sprintf("it wrote more than its %d bytes of disk", limit)
}

// oneLine is text that fits in [runner.Result.Detail].
func oneLine(text string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
	for len(clean) > runner.MaxDetail {
		clean = clean[:runner.MaxDetail]
		clean = strings.ToValidUTF8(clean, "")
	}
	return clean
}

// hostUser is who this process is.
func hostUser() user { return user{uid: os.Geteuid(), gid: os.Getegid()} }
