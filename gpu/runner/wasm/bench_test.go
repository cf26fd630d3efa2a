package wasm_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/runnertest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// bare runs a module with wazero and nothing more: what [BenchmarkBare] measures.
func bare(program, cacheDir string) error {
	ctx := context.Background()
	code, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
	if err != nil {
		return err
	}
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache))
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err = r.InstantiateWithConfig(ctx, code, wazero.NewModuleConfig().WithArgs("job", "exit", "0").WithStdout(os.Stdout))
	if exit, ok := err.(*sys.ExitError); ok && exit.ExitCode() == 0 {
		return nil
	}
	return err
}

// BenchmarkBare is the limit: the same module by wazero in a fresh process, its
// compiled code cached.
func BenchmarkBare(b *testing.B) {
	guest, dir := runnertest.Build(b).Guest.Module, b.TempDir()
	once := func() {
		if out, err := exec.Command(os.Args[0], "bare", guest, dir).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	once() // compiles
	for b.Loop() {
		once()
	}
}

// BenchmarkRun is a whole run of a module that does nothing.
func BenchmarkRun(b *testing.B) {
	guest, out := runnertest.Build(b).Guest.Module, b.TempDir()
	r := newRunner(b)
	once := func() {
		run, err := r.Start(b.Context(), runner.Spec{
			Program: runner.Program{Module: guest}, Args: []string{"exit", "0"}, Out: out, Memory: 64 << 20, Disk: 1 << 20, Duration: time.Minute,
		})
		if err != nil {
			b.Fatal(err)
		}
		if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_COMPLETED {
			b.Fatalf("%+v", got)
		}
	}
	once() // compiles
	for b.Loop() {
		once()
	}
}
