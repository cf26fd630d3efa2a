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
	"os"
	"path/filepath"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// MaxMemory is the most memory that a module can address, in bytes.
const MaxMemory = 4 << 30

// Config holds what a [Runner] needs. A field without a default is required.
type Config struct {
	Command     []string      // argv of the process that holds a module: it calls [Main]
	CacheDir    string        // compiled modules; written by those processes, never seen by a module
	StartWithin time.Duration // for reading and compiling a module; default 60s
	Log         *slog.Logger  // runs that ended oddly; default: discarded
}

// Runner starts modules.
type Runner struct {
	config Config
}

// New checks c and makes the cache folder.
func New(c Config) (*Runner, error) {
	if len(c.Command) == 0 {
		return nil, errors.New("wasm runner: no command")
	}
	if c.CacheDir == "" {
		return nil, errors.New("wasm runner: no cache folder")
	}
	if c.StartWithin == 0 {
		c.StartWithin = time.Minute
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
	c.CacheDir = dir
	return &Runner{config: c}, nil
}

// Kind is RUNNER_WASM.
func (r *Runner) Kind() marketv1.Runner { return marketv1.Runner_RUNNER_WASM }

// Start implements [runner.Runner].
func (r *Runner) Start(ctx context.Context, s runner.Spec) (runner.Run, error) {
	o, err := r.order(s)
	if err != nil {
		return nil, fmt.Errorf("start lease %s: %w", s.Lease.Short(), err)
	}
	p, err := spawn(r.config, o)
	if err != nil {
		return nil, fmt.Errorf("start lease %s: %w", s.Lease.Short(), err)
	}
	u := newRun(p, s, r.config.Log)
	u.follow(s.Stdout, s.Stderr)
	timer := time.NewTimer(r.config.StartWithin)
	defer timer.Stop()
	select {
	case <-u.began:
	case <-u.done:
	case <-timer.C:
		u.end(runv1.EndReason_END_REASON_JOB_INVALID, fmt.Sprintf("the module was not compiled within %v", r.config.StartWithin))
	case <-ctx.Done():
		u.Stop()
		<-u.done
		return nil, fmt.Errorf("start lease %s: %w", s.Lease.Short(), context.Cause(ctx))
	}
	return u, nil
}

// order is what the process is told: the run in its own words.
func (r *Runner) order(s runner.Spec) (order, error) {
	o := order{
		Args: s.Args, Env: s.Env, Seed: s.Seed[:],
		Memory: s.Memory, Disk: s.Disk, Cache: r.config.CacheDir,
	}
	switch {
	case s.Memory == 0 || s.Memory > MaxMemory:
		return o, fmt.Errorf("memory of %d bytes is not between 1 and %d", s.Memory, uint64(MaxMemory))
	case s.Disk == 0:
		return o, errors.New("no disk")
	case s.Duration <= 0:
		return o, errors.New("no duration")
	case s.Program == "" || s.Out == "":
		return o, errors.New("no program or no folder for its outputs")
	}
	for _, path := range []struct {
		to   *string
		from string
	}{{&o.Program, s.Program}, {&o.In, s.In}, {&o.Out, s.Out}} {
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
