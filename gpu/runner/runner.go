// Package runner says how a job is run: what boxes it in, what it gets, and how
// it ends.
//
// A run is bounded in memory, disk and running time, and is dead within two
// seconds of passing a bound. It sees its two folders, its arguments and its
// environment, and nothing else of the host. Every run ends, and its result
// names why. The test in runnertest holds every runner to this.
package runner

import (
	"context"
	"io"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Runner starts jobs. Its methods may be called at once.
type Runner interface {
	// Kind is what boxes the jobs in.
	Kind() marketv1.Runner
	// Start returns once the job runs, or has ended already: a program that
	// cannot run is a [Run] whose result is JOB_INVALID. An error means that
	// this host failed. Ctx bounds the start only; [Run.Stop] ends the run.
	Start(ctx context.Context, s Spec) (Run, error)
}

// Spec is what a run needs. Memory, Disk, Duration and Program are required.
type Spec struct {
	Lease    souk.LeaseID  // for logs and names on the host
	Seed     [32]byte      // the job id: seeds the guest's clock and random source
	Program  string        // path of the program on the host
	Args     []string      // what follows the program's own name
	Env      []string      // NAME=value
	In       string        // host folder shown read-only as /in; empty: there is none
	Out      string        // host folder shown writable as /out; must exist
	Memory   uint64        // bytes
	Disk     uint64        // bytes under Out, over all files
	Duration time.Duration // of running time: what is spent paused does not count
	Stdout   io.Writer     // written to while the job runs, by one goroutine; nil: discarded
	Stderr   io.Writer     // likewise, by another goroutine
}

// Run is a started job. Its methods may be called at once, and after its end.
type Run interface {
	// Pause stops the job's clock and the job; it keeps its memory. Pausing a
	// paused or ended run does nothing.
	Pause() error
	// Resume continues after Pause.
	Resume() error
	// Stop ends the run, which then has the reason CLIENT_RELEASED; who stopped
	// it for another reason knows that reason. It does not wait.
	Stop()
	// Wait blocks until the job is gone and all its output is written.
	Wait() Result
	// Done is closed when Wait would not block.
	Done() <-chan struct{}
}

// Result is how a run ended.
type Result struct {
	ExitCode int             // the guest's own; meaningful with COMPLETED
	Reason   runv1.EndReason // COMPLETED, JOB_MEMORY, JOB_TIME, JOB_DISK, JOB_INVALID, CLIENT_RELEASED or PROVIDER_FAILED
	Detail   string          // one line for people, at most [MaxDetail] bytes
	Usage    Usage
}

// MaxDetail bounds [Result.Detail] in bytes, so that it fits in a message.
const MaxDetail = 200

// Usage is what a run used.
type Usage struct {
	RunningFor time.Duration // wall time, without what was spent paused
	CPU        time.Duration // processor time, over all cores
	MaxRSS     uint64        // most host memory at one time, bytes; 0: not measured
}
