package wasm_test

import (
	"os"
	"testing"

	"github.com/souk-market/souk/gpu/runner/wasm"
)

// TestMain makes the test binary its own child, as souk is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "wasm-exec" {
		os.Exit(wasm.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
