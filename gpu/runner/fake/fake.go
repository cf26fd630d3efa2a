// Package fake runs jobs as goroutines, for tests of what drives a runner.
//
// A program is a file that holds the name of a [Guest]. A guest ends by itself
// when its run does, as it asks its [Process] for everything, and is boxed in by
// that alone: it must be trusted. It keeps the promises of package runner, and
// its clock is that of package time, so it works under testing/synctest.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Guest is a program. It returns its exit code.
type Guest func(*Process) int

// maxName bounds the name in a program's file.
const maxName = 256

// Config holds what a [Runner] needs.
type Config struct {
	Guests map[string]Guest // by name; not changed any more
	Kind   marketv1.Runner  // what it passes for; default RUNNER_WASM
}

// Runner starts guests.
type Runner struct {
	config Config
}

// New checks c.
func New(c Config) (*Runner, error) {
	if len(c.Guests) == 0 {
		return nil, errors.New("fake runner: no guests")
	}
	if c.Kind == marketv1.Runner_RUNNER_UNSPECIFIED {
		c.Kind = marketv1.Runner_RUNNER_WASM
	}
	return &Runner{config: c}, nil
}

// Kind implements [runner.Runner].
func (r *Runner) Kind() marketv1.Runner { return r.config.Kind }

// Plan implements [runner.Runner].
func (r *Runner) Plan(job *jobv1.Job, dir string) (runner.Plan, error) {
	return runner.ModulePlan(job, dir)
}

// Start implements [runner.Runner].
func (r *Runner) Start(ctx context.Context, s runner.Spec) (runner.Run, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start lease %s: %w", s.Lease.Short(), context.Cause(ctx))
	}
	if s.Memory == 0 || s.Disk == 0 || s.Duration <= 0 || s.Out == "" {
		return nil, fmt.Errorf("start lease %s: memory, disk, duration or output folder is missing", s.Lease.Short())
	}
	name, err := readName(s.Program.Module)
	if err != nil {
		return nil, fmt.Errorf("start lease %s: %w", s.Lease.Short(), err)
	}
	u := newRun(s)
	guest, ok := r.config.Guests[name]
	if !ok {
		u.end(runv1.EndReason_END_REASON_JOB_INVALID, fmt.Sprintf("no guest is named %.40q", name))
		u.finish(0)
		return u, nil
	}
	u.begin()
	go u.run(guest)
	return u, nil
}

func readName(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxName))
	return strings.TrimSpace(string(text)), err
}

// run calls the guest; one that a [Process] ended comes back as a panic.
func (u *run) run(guest Guest) {
	code := 0
	defer func() {
		if r := recover(); r != nil && r != errEnded {
			panic(r)
		}
		u.finish(code)
	}()
	p, err := newProcess(u)
	if err != nil {
		u.end(runv1.EndReason_END_REASON_PROVIDER_FAILED, err.Error())
		return
	}
	defer p.close()
	p.Check()
	code = guest(p)
}

// ended is what a [Process] panics with when its run is over.
var errEnded = errors.New("the run is over")

// begin starts the clock.
func (u *run) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watch.Start(time.Now())
	u.timer = time.AfterFunc(u.spec.Duration, func() {
		u.end(runv1.EndReason_END_REASON_JOB_TIME, fmt.Sprintf("it ran for %v", u.spec.Duration))
	})
}
