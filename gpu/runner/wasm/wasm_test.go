package wasm_test

import (
	"os"
	"testing"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/runnertest"
	"github.com/souk-market/souk/gpu/runner/wasm"
)

// child is the process that holds a module: the test binary, see [TestMain].
var child = []string{os.Args[0], "wasm-exec"}

func newRunner(t testing.TB) *wasm.Runner {
	t.Helper()
	r, err := wasm.New(wasm.Config{Command: child, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestContract(t *testing.T) {
	r, p := newRunner(t), runnertest.Build(t)
	runnertest.Run(t, r, p)
	runnertest.RunModules(t, r, p)
}

var _ runner.Runner = (*wasm.Runner)(nil)
