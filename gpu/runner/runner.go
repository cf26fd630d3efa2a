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
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Runner starts jobs. Its methods may be called at once.
type Runner interface {
	// Kind is what boxes the jobs in.
	Kind() marketv1.Runner
	// Plan says what a job needs in dir, a folder of its own, before it starts, and
	// what it leaves there. The error is an [*UnfitError] for a job that this runner
	// cannot run on any host.
	Plan(job *jobv1.Job, dir string) (Plan, error)
	// Start returns once the job runs, or has ended already: a program that
	// cannot run is a [Run] whose result is JOB_INVALID. An error means that
	// this host failed. Ctx bounds the start only; [Run.Stop] ends the run.
	Start(ctx context.Context, s Spec) (Run, error)
}

// Spec is what a run needs. Memory, Disk, Duration and Program are required.
type Spec struct {
	Lease    souk.LeaseID  // for logs and names on the host
	Seed     [32]byte      // the job id: seeds the guest's clock and random source
	Devices  []Device      // what is leased; a runner gives the run these and no others
	Program  Program       // as the [Plan] says, like In and Out
	Args     []string      // what follows the program's own name
	Env      []string      // NAME=value
	In       string        // host folder shown read-only as /in; empty: there is none
	Out      string        // host folder shown writable as /out; must exist
	Memory   uint64        // bytes
	Disk     uint64        // bytes under Out, over all files
	Hosts    []string      // what it may reach, as HOST:PORT; nil: nothing
	Shm      uint64        // most bytes in /dev/shm, a part of Memory; 0: half of it. Images only
	CPUMilli uint32        // thousandths of a processor core; 0: not bounded
	Duration time.Duration // of running time: what is spent paused does not count
	Stdout   io.Writer     // written to while the job runs, by one goroutine; nil: discarded
	Stderr   io.Writer     // likewise, by another goroutine
}

// Device is one device of a lease.
type Device struct {
	ID     string // as in the lease: NVML's UUID, or that of the processor
	Class  string
	Vendor string // as [gpu.Device.Vendor] says; empty: the processor, or a device that the machine no longer has
}

// Program is what a run starts. One field is set.
type Program struct {
	Module string // path of a WebAssembly module on the host
	Image  string // an OCI image by digest, NAME@sha256:…, or by content id, ipfs://CID
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
	// Usage is what the run has used so far; once it has ended, what [Result] says.
	Usage() Usage
}

// Result is how a run ended.
type Result struct {
	ExitCode int             // the guest's own; meaningful with COMPLETED
	Reason   runv1.EndReason // COMPLETED, JOB_MEMORY, JOB_TIME, JOB_DISK, JOB_INVALID, CLIENT_RELEASED or PROVIDER_FAILED
	Detail   string          // one line for people, at most [MaxDetail] bytes
	Usage    Usage

	// Where the host failed: the kind of [gpu.Incident], and when all was seen to be
	// well for the last time; zero: it was to the end, or nobody knows.
	Fault       string
	UsableUntil time.Time
}

// EgressByte is the counter of what passed between a job and the hosts that it reaches,
// in bytes, both ways together: a unit of tariffs.
const EgressByte = "egress-byte"

// UnprovedError is why a job was not started: what it would run in did not prove that it
// has exactly the devices of the lease. It is this host's fault.
type UnprovedError struct{ Detail string }

func (e *UnprovedError) Error() string { return "devices inside the container: " + e.Detail }

// MaxDetail bounds [Result.Detail] in bytes, so that it fits in a message.
const MaxDetail = 200

// Usage is what a run used. Nothing in it but Memory ever falls.
type Usage struct {
	RunningFor        time.Duration     // wall time, without what was spent paused
	CPU               time.Duration     // processor time, over all cores; 0: not measured, or not yet
	Memory            uint64            // host memory that it has now, bytes; 0: not measured, or it has ended
	MaxRSS            uint64            // most host memory at one time, bytes; 0: not measured, or not yet
	EnergyMillijoules uint64            // of the run's devices; 0: not measured
	Counters          map[string]uint64 // by unit of a tariff, such as token-out; what is not counted is absent
}

// Puller is a runner whose images are brought by the engine that it uses, before
// the start.
type Puller interface {
	// Pull brings an image of at most limit bytes, or finds it there. Progress is
	// called now and then, from one goroutine. The error is an [*ImageError] for
	// what the image or its registry is the cause of; else this host failed.
	Pull(ctx context.Context, image string, limit uint64, progress func(done, total uint64)) error
}

// Absentee is a runner that cannot always start jobs.
type Absentee interface {
	// Absent is why it cannot start a job now; nil: it can.
	Absent() error
}

// Leftover is a runner whose jobs may outlive their end, and this process.
type Leftover interface {
	// Left tells whether anything of a lease, by its name, still runs. An error means
	// that nobody knows.
	Left(ctx context.Context, lease string) (bool, error)
}

// Signaled is a [Run] whose job can be told to save its state.
type Signaled interface {
	// Signal gives the job SIGTERM, and nothing else: it may go on. One that has ended
	// takes none.
	Signal() error
}
