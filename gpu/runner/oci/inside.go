package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/gate"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

const (
	passWithin  = 30 * time.Second // for a container to look at its devices; a cold driver takes seconds
	checkEvery  = 10 * time.Second // between two looks at the devices of a run
	checkWithin = 5 * time.Second  // for one
	checkAgain  = time.Second      // after one that found a device unusable, to be sure

	// checkUser looks at the devices: another than the job, which could make a process
	// of its own user lie, and with no rights either.
	checkUser = "2:2"
)

// passGate waits until the container has looked at its devices, and lets the job start
// if it has exactly those of its lease and its proxy is there. The error is a
// [*runner.UnprovedError] where it has not.
func (u *run) passGate(ctx context.Context, printed client.ContainerAttachResult) error {
	if u.held == nil {
		return nil
	}
	taking := ctx // which has a bound of its own
	ctx, cancel := context.WithTimeout(ctx, passWithin)
	defer cancel()
	died := make(chan end, 1)
	go u.dies(ctx, cancel, died)
	report, err := u.held.door.Report(ctx)
	cancel()
	last := <-died
	switch {
	case err != nil && last.over:
		return u.held.unproved(fmt.Sprintf("its first program ended with %d: %s", last.exit, saidBy(printed)))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return u.held.unproved(fmt.Sprintf("it did not say within %v what devices it has: the driver may hang", passWithin))
	case err != nil:
		return u.held.unproved(err.Error())
	}
	if unlike := report.Unlike(u.held.edits, u.held.ids); unlike != "" {
		return u.held.unproved(unlike)
	}
	if report.Command != "" {
		return &invalidError{"the image's command cannot be run: " + report.Command}
	}
	if report.Proxy != "" {
		return fmt.Errorf("the container's proxy: %s", oneLine(report.Proxy))
	}
	if err := u.held.reach.take(taking, u.held.door); err != nil {
		return err
	}
	u.good = time.Now()
	return u.held.door.Open()
}

// unproved is why a container's job was not started.
func (h *held) unproved(detail string) error {
	if len(h.ids) == 0 {
		return errors.New("the container's gate: " + detail)
	}
	return &runner.UnprovedError{Detail: detail}
}

// dies looks whether the container ends before it has said anything, and then cancels.
func (u *run) dies(ctx context.Context, cancel context.CancelFunc, died chan<- end) {
	for sleep(ctx, lookEvery) {
		if now, known := u.look(ctx); known && now.over {
			cancel()
			died <- now
			return
		}
	}
	died <- end{}
}

// saidBy is what a container printed before it ended, in one line.
func saidBy(printed client.ContainerAttachResult) string {
	var said sink
	done := make(chan struct{})
	go func() { defer close(done); demultiplex(printed.Reader, &said, &said) }()
	select {
	case <-done:
	case <-time.After(drainKilled):
	}
	printed.Close()
	<-done
	return oneLine(string(said.head))
}

// guardDevices looks at the devices from inside until ctx ends, and ends the run when a
// leased one cannot be used any more. That it cannot be looked at is no fault: the job
// may have taken all of its memory.
func (u *run) guardDevices(ctx context.Context) {
	if u.held == nil || len(u.held.ids) == 0 {
		return
	}
	for sleep(ctx, checkEvery) {
		unlike, err := u.checkDevices(ctx)
		if err == nil && unlike != "" && sleep(ctx, checkAgain) {
			unlike, err = u.checkDevices(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			u.log.Info("the devices of a container cannot be looked at", "err", err)
		case unlike != "":
			u.end(cause{reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, now: true, devices: true,
				detail: oneLine(unlike + " (the host took it from a running container, as systemctl daemon-reload does)")})
			return
		}
	}
}

// checkDevices says how the container differs from what was leased; an error says why
// that cannot be told.
func (u *run) checkDevices(ctx context.Context) (unlike string, err error) {
	u.toggling.Lock() // a container that is paused meanwhile answers nothing
	defer u.toggling.Unlock()
	u.mu.Lock()
	idle := u.paused || u.over
	u.mu.Unlock()
	if idle {
		return "", nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	line, err := u.exec(ctx, u.held.kit.Command(u.held.edits.Folder, gate.Check, u.held.vendors))
	if err != nil {
		return "", err
	}
	report, err := gate.Decode(line)
	if err != nil {
		return "", err
	}
	if unlike = report.Unlike(u.held.edits, u.held.ids); unlike == "" {
		u.mu.Lock()
		u.good = began
		u.mu.Unlock()
	}
	return unlike, nil
}

// exec runs a program in the container, and returns what it printed.
func (u *run) exec(ctx context.Context, command []string) ([]byte, error) {
	made, err := u.cli.ExecCreate(ctx, u.id, client.ExecCreateOptions{User: checkUser, Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return nil, err
	}
	got, err := u.cli.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	defer got.Close()
	stop := context.AfterFunc(ctx, func() { got.Close() })
	defer stop()
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, io.LimitReader(got.Reader, gate.MaxReport)); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if stdout.Len() == 0 {
		return nil, fmt.Errorf("it said nothing: %s", oneLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}
