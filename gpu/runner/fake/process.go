package fake

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Process is all that a guest has. A method of it does not return when the run
// is over, and blocks while it is paused; a guest that calls none cannot be
// stopped. It is for the guest's own goroutine.
type Process struct {
	Args   []string
	Env    []string
	In     fs.FS      // nil: there is none
	Rand   *rand.Rand // seeded by the job
	Stdout io.Writer
	Stderr io.Writer

	run    *run
	in     *os.Root
	out    *os.Root
	sizes  map[string]uint64 // of the files written
	disk   uint64
	memory uint64
}

func newProcess(u *run) (*Process, error) {
	p := &Process{
		Args: u.spec.Args, Env: u.spec.Env, Rand: rand.New(rand.NewChaCha8(u.spec.Seed)),
		run: u, sizes: map[string]uint64{},
	}
	p.Stdout, p.Stderr = writer{p, u.spec.Stdout}, writer{p, u.spec.Stderr}
	var err error
	if p.out, err = os.OpenRoot(u.spec.Out); err != nil {
		return nil, err
	}
	if u.spec.In != "" {
		if p.in, err = os.OpenRoot(u.spec.In); err != nil {
			p.out.Close()
			return nil, err
		}
		p.In = p.in.FS()
	}
	return p, nil
}

func (p *Process) close() {
	p.out.Close()
	if p.in != nil {
		p.in.Close()
	}
}

// Check is where a guest that needs nothing lets itself be paused and stopped.
func (p *Process) Check() {
	for {
		select {
		case <-p.run.over:
			panic(errEnded)
		default:
		}
		resumed := p.run.paused()
		if resumed == nil {
			return
		}
		select {
		case <-resumed:
		case <-p.run.over:
		}
	}
}

// Work takes d of running time.
func (p *Process) Work(d time.Duration) {
	until := p.ran() + d
	for {
		p.Check()
		left := until - p.ran()
		if left <= 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-p.run.over:
		}
		timer.Stop()
	}
}

func (p *Process) ran() time.Duration {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	return p.run.watch.Elapsed(time.Now())
}

// Count adds to what the run has used of a unit.
func (p *Process) Count(unit string, n uint64) {
	p.Check()
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if p.run.counted == nil {
		p.run.counted = map[string]uint64{}
	}
	p.run.counted[unit] += n
}

// Spend adds to the energy that the run has used.
func (p *Process) Spend(millijoules uint64) {
	p.Check()
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	p.run.energy += millijoules
}

// Loop takes all the running time there is.
func (p *Process) Loop() {
	for {
		p.Work(time.Hour)
	}
}

// Grow takes memory, and ends the run past its bound.
func (p *Process) Grow(bytes uint64) {
	p.Check()
	if p.memory += bytes; p.memory > p.run.spec.Memory {
		p.run.end(runv1.EndReason_END_REASON_JOB_MEMORY, fmt.Sprintf("it asked for more than its %d bytes of memory", p.run.spec.Memory))
		p.Check()
	}
}

// WriteFile writes a file under /out, and ends the run past its bound on disk.
func (p *Process) WriteFile(name string, data []byte) error {
	p.Check()
	p.disk += uint64(len(data)) - p.sizes[name]
	p.sizes[name] = uint64(len(data))
	if p.disk > p.run.spec.Disk {
		p.run.end(runv1.EndReason_END_REASON_JOB_DISK, fmt.Sprintf("it wrote more than its %d bytes of disk", p.run.spec.Disk))
		p.Check()
	}
	return p.out.WriteFile(name, data, 0o600)
}

// Remove removes a file under /out.
func (p *Process) Remove(name string) error {
	p.Check()
	p.disk -= p.sizes[name]
	delete(p.sizes, name)
	return p.out.Remove(name)
}

// writer passes on what a guest prints; a writer that fails loses it.
type writer struct {
	process *Process
	to      io.Writer
}

func (w writer) Write(b []byte) (int, error) {
	w.process.Check()
	if w.to != nil {
		_, _ = w.to.Write(b)
	}
	return len(b), nil
}
