package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/wasm"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// The bench starts itself again for these words, as the holder of a module.
const (
	wordHold = "wasm-exec"
	wordBare = "bare-wazero"
)

// jobStart measures a job that does nothing, from start to its end.
func jobStart() bench {
	return bench{
		row:     "job start, wasm",
		against: "bare wazero in a fresh process, same module, same kind of cache",
		unit:    "ms",
		goal:    "≤ 1.2×",
		prepare: prepareStart,
	}
}

func prepareStart(dir string) (*subject, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	module, err := guestModule(dir)
	if err != nil {
		return nil, err
	}
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := errors.Join(os.Mkdir(in, 0o755), os.Mkdir(out, 0o755)); err != nil {
		return nil, err
	}
	r, err := wasm.New(wasm.Config{Command: []string{self, wordHold}, CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		return nil, err
	}
	spec := runner.Spec{Program: runner.Program{Module: module}, Args: []string{"exit", "0"}, In: in, Out: out,
		Memory: 1 << 30, Disk: 1 << 20, Duration: time.Minute}
	bare := filepath.Join(dir, "bare")
	return &subject{
		ours:  func() (float64, error) { return millis(func() error { return runGuest(r, spec) }) },
		limit: func() (float64, error) { return millis(exec.Command(self, wordBare, module, bare, "exit", "0").Run) },
		met:   func(ours, limit figure) bool { return ours.median <= 1.2*limit.median },
	}, nil
}

func runGuest(r *wasm.Runner, spec runner.Spec) error {
	run, err := r.Start(context.Background(), spec)
	if err != nil {
		return err
	}
	if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 {
		return fmt.Errorf("the guest ended with %s, exit code %d: %s", got.Reason, got.ExitCode, got.Detail)
	}
	return nil
}

// millis is how many milliseconds fn takes.
func millis(fn func() error) (float64, error) {
	start := time.Now()
	err := fn()
	return float64(time.Since(start).Microseconds()) / 1000, err
}

// child is the body of a process that the bench started for a word.
func child(args []string, stdin io.Reader, stdout, stderr io.Writer) (status int, ok bool) {
	switch {
	case len(args) == 1 && args[0] == wordHold:
		return wasm.Main(stdin, stdout, stderr), true
	case len(args) >= 3 && args[0] == wordBare:
		if err := bareWazero(args[1], args[2], args[3:]); err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// bareWazero runs a module with nothing of ours around it.
func bareWazero(module, cacheDir string, args []string) error {
	ctx := context.Background()
	code, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
	if err != nil {
		return err
	}
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache).WithDebugInfoEnabled(false))
	defer runtime.Close(ctx)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, runtime); err != nil {
		return err
	}
	_, err = runtime.InstantiateWithConfig(ctx, code, wazero.NewModuleConfig().WithArgs(append([]string{"guest"}, args...)...))
	if exit, ok := errors.AsType[*sys.ExitError](err); ok && exit.ExitCode() == 0 {
		return nil
	}
	return err
}
