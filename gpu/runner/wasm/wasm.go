// Package wasm runs WASI preview 1 modules with wazero, each in a process of
// its own.
//
// The module gets its arguments, its environment, /in read-only, /out writable,
// and a clock and a random source that depend on nothing but its seed: the same
// job writes the same bytes on every host. It has no network and no other file.
// The process that holds it has an empty environment and no descriptor but its
// pipes; when the daemon dies, or a bound is passed, the kernel kills it.
package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// MaxMemory is the most memory that a module can address, in bytes.
const MaxMemory = 4 << 30

// compileMemory is what compiling may use, in bytes, beside what any process of
// ours may.
const compileMemory = 1 << 30

// Config holds what a [Runner] needs. A field without a default is required.
type Config struct {
	Command     []string      // argv of the process that holds a module: it calls [Main]
	CacheDir    string        // compiled modules; this runner's own
	CacheBytes  uint64        // what is kept there, about; default 1 GiB
	StartWithin time.Duration // for reading and compiling a module; default 3m: a loaded machine is slow
	Log         *slog.Logger  // runs that ended oddly; default: discarded
}

// Runner starts modules.
type Runner struct {
	config Config
	cache  *cache
}

// New checks c and makes the cache folder.
func New(c Config) (*Runner, error) {
	if len(c.Command) == 0 {
		return nil, errors.New("wasm runner: no command")
	}
	if c.CacheDir == "" {
		return nil, errors.New("wasm runner: no cache folder")
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 1 << 30
	}
	if c.StartWithin == 0 {
		c.StartWithin = 3 * time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(c.CacheDir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("wasm runner: cache: %w", err)
	}
	return &Runner{config: c, cache: newCache(dir, c.CacheBytes)}, nil
}

// Kind is RUNNER_WASM.
func (r *Runner) Kind() marketv1.Runner { return marketv1.Runner_RUNNER_WASM }

// Plan implements [runner.Runner].
func (r *Runner) Plan(job *jobv1.Job, dir string) (runner.Plan, error) {
	return runner.ModulePlan(job, dir)
}

// Confinement names, for people, what holds a module on this machine beside
// wazero itself: not every kernel has all of it.
func (r *Runner) Confinement() string { return confinement() }

// Start implements [runner.Runner].
func (r *Runner) Start(ctx context.Context, s runner.Spec) (runner.Run, error) {
	u, err := r.start(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("start lease %s: %w", s.Lease.Short(), err)
	}
	return u, nil
}

func (r *Runner) start(ctx context.Context, s runner.Spec) (*run, error) {
	o, err := newOrder(s)
	if err != nil {
		return nil, err
	}
	folder, compiled, err := r.cache.find(o.Program)
	if err != nil {
		return nil, err
	}
	if !compiled {
		if bad, err := r.compile(ctx, s, o, folder); bad != nil || err != nil {
			return bad, err
		}
	}
	o.Cache = folder
	return r.launch(ctx, s, o, runv1.EndReason_END_REASON_PROVIDER_FAILED)
}

// compile makes the folder of a program, in a process that can write nothing
// else. It returns a run only if that failed, which then has ended.
func (r *Runner) compile(ctx context.Context, s runner.Spec, o order, folder string) (*run, error) {
	into, err := r.cache.begin()
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	defer os.RemoveAll(into) // it is not there any more if all went well
	bounds := runner.Spec{Lease: s.Lease, Memory: math.MaxUint64, Duration: r.config.StartWithin}
	o = order{Compile: true, Program: o.Program, Seed: o.Seed, Memory: compileMemory, Cache: into}
	// Compiling takes nothing but the module, so a crash is its doing.
	u, err := r.launch(ctx, bounds, o, runv1.EndReason_END_REASON_JOB_INVALID)
	if err != nil {
		return nil, err
	}
	if u.Wait().Reason != runv1.EndReason_END_REASON_COMPLETED {
		return u, nil
	}
	if err := r.cache.add(into, folder); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	if err := r.cache.prune(time.Now()); err != nil {
		r.config.Log.Warn("the cache of compiled modules was not pruned", "err", err)
	}
	return nil, nil
}

// launch starts a process and returns once its module runs, or it has ended.
func (r *Runner) launch(ctx context.Context, s runner.Spec, o order, lost runv1.EndReason) (*run, error) {
	p, err := spawn(r.config.Command, o)
	if err != nil {
		return nil, err
	}
	u := newRun(p, s, lost, r.config.Log)
	u.follow(s.Stdout, s.Stderr)
	timer := time.NewTimer(r.config.StartWithin)
	defer timer.Stop()
	select {
	case <-u.began:
	case <-u.done:
	case <-timer.C:
		u.end(runv1.EndReason_END_REASON_JOB_INVALID, fmt.Sprintf("the module was not compiled within %v", r.config.StartWithin))
		<-u.done
	case <-ctx.Done():
		u.Stop()
		<-u.done
		return nil, context.Cause(ctx)
	}
	return u, nil
}

// newOrder is what the process is told: the run in its own words.
func newOrder(s runner.Spec) (order, error) {
	o := order{Args: s.Args, Env: s.Env, Seed: s.Seed[:], Memory: s.Memory, Disk: s.Disk}
	switch {
	case s.Memory == 0 || s.Memory > MaxMemory:
		return o, fmt.Errorf("memory of %d bytes is not between 1 and %d", s.Memory, uint64(MaxMemory))
	case s.Disk == 0:
		return o, errors.New("no disk")
	case s.Duration <= 0:
		return o, errors.New("no duration")
	case s.Program.Module == "" || s.Out == "":
		return o, errors.New("no program or no folder for its outputs")
	}
	for _, path := range []struct {
		to   *string
		from string
	}{{&o.Program, s.Program.Module}, {&o.In, s.In}, {&o.Out, s.Out}} {
		if path.from == "" {
			continue
		}
		absolute, err := filepath.Abs(path.from)
		if err != nil {
			return o, err
		}
		*path.to = absolute
	}
	if text, err := json.Marshal(o); err != nil {
		return o, err
	} else if len(text) > maxOrder {
		return o, fmt.Errorf("arguments and environment of %d bytes are past %d", len(text), maxOrder)
	}
	return o, nil
}
