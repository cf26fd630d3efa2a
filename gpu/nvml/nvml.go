// Package nvml finds NVIDIA GPUs by asking the driver's own library, and watches
// them.
//
// The library is asked in a child process: calling a function that a driver of
// another age lacks would end the process that calls, and a broken driver can
// hang it. What the child says is bounded and checked. A child that is silent is
// killed, and one that even that does not end is left alone: nothing here waits
// for a driver. A machine without the library has no such devices, which is no
// error; a driver that cannot be asked is one, and says nothing of how many
// devices there are.
package nvml

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/child"
)

// LibraryVariable names the environment variable that may hold the library's
// path; without it the system's own is taken, and may be absent. The child also
// gets all variables whose names begin with SOUK_NVML_, for a library that stands
// in for the driver's.
const LibraryVariable = "SOUK_NVML_LIBRARY"

// Every is the time from one reading of the devices to the next.
const Every = time.Second

// Vendor is the name of the maker of the devices.
const Vendor = "nvidia"

// Defaults of [Probe], and how often a child that ended is started again.
const (
	probeWithin  = 15 * time.Second // a cold driver takes seconds
	silentAfter  = 5 * time.Second
	firstPause   = time.Second
	longestPause = time.Minute // also until a machine without a driver is looked at again
)

// Probe asks a child process for the devices.
type Probe struct {
	Command      []string // argv of the child: it calls [Main]
	EditsCommand []string // argv of the child for edits: it calls [EditsMain]; none: containers get no devices

	Timeout time.Duration // until the first reading, and for edits; default 15s, 20s
	Silence time.Duration // without a reading, after which the child is killed; default 5s

	kill func(*os.Process) error // for tests: how the child is ended; nil: as children are
}

func (p Probe) withDefaults() (Probe, error) {
	if len(p.Command) == 0 {
		return p, errors.New("probe nvml: no command")
	}
	if p.Timeout == 0 {
		p.Timeout = probeWithin
	}
	if p.Silence == 0 {
		p.Silence = silentAfter
	}
	return p, nil
}

// start starts the child.
func (p Probe) start() (*child.Child, error) {
	return child.Start(child.Config{Command: p.Command, Env: environment(os.Environ()), MaxLine: maxListing, Kill: p.kill})
}

// environment is what the child needs of ours; passwords are not among it.
func environment(ours []string) []string {
	env := []string{}
	for _, entry := range ours {
		if strings.HasPrefix(entry, "SOUK_NVML_") || strings.HasPrefix(entry, "LD_LIBRARY_PATH=") {
			env = append(env, entry)
		}
	}
	return env
}

// read is the child's next listing.
func read(ctx context.Context, c *child.Child, within time.Duration) (listing, error) {
	line, err := c.Next(ctx, within)
	if err != nil {
		return listing{}, err
	}
	l, err := decode(line)
	if err != nil {
		return listing{}, fmt.Errorf("listing: %w", err)
	}
	return l, nil
}

// Devices implements [gpu.Probe]. It reads the devices once.
func (p Probe) Devices(ctx context.Context) ([]gpu.Device, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := p.start()
	if err != nil {
		return nil, fmt.Errorf("probe nvml: %w", err)
	}
	defer c.End()
	l, err := read(ctx, c, p.Timeout)
	if err != nil {
		return nil, fmt.Errorf("probe nvml: %w", err)
	}
	return l.devices(time.Now()), nil
}

// Watch reads the devices each second and hands them to see, until ctx ends. Where
// they cannot be read, see gets the reason: they may be there all the same. see is
// called by one goroutine, and must not block.
func (p Probe) Watch(ctx context.Context, see func([]gpu.Device, error)) error {
	p, err := p.withDefaults()
	if err != nil {
		return err
	}
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		absent, err := p.follow(ctx, see)
		switch {
		case ctx.Err() != nil:
			return nil
		case absent:
			pause = longestPause
		case time.Since(began) > longestPause:
			pause = firstPause
		}
		if err != nil {
			see(nil, fmt.Errorf("probe nvml: %w", err))
		}
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, longestPause)
	}
	return nil
}

// follow runs one child until it ends, is silent, or ctx ends. It tells whether
// there is no driver.
func (p Probe) follow(ctx context.Context, see func([]gpu.Device, error)) (absent bool, err error) {
	c, err := p.start()
	if err != nil {
		return false, err
	}
	within := p.Timeout
	for {
		l, err := read(ctx, c, within)
		if err != nil || l.Absent {
			if stuck := c.End(); stuck && ctx.Err() == nil {
				see(nil, fmt.Errorf("probe nvml: %w", child.ErrStuck))
				c.Wait(ctx) // a second child would be stuck beside it
			}
			if err == nil {
				see(nil, nil)
			}
			return l.Absent, err
		}
		within = p.Silence
		see(l.devices(time.Now()), nil)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
