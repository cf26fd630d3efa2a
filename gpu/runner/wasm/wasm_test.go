package wasm_test

import (
	"os"
	"testing"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/runnertest"
	"github.com/souk-market/souk/gpu/runner/wasm"
)

func newRunner(t *testing.T) *wasm.Runner {
	t.Helper()
	r, err := wasm.New(wasm.Config{Command: []string{os.Args[0], "wasm-exec"}, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestContract(t *testing.T) {
	runnertest.Run(t, newRunner(t), runnertest.Build(t))
}

var _ runner.Runner = (*wasm.Runner)(nil)
