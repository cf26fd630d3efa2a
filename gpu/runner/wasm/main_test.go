package wasm_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/souk-market/souk/gpu/runner/wasm"
)

// TestMain makes the test binary its own child, as souk is.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) < 2:
	case os.Args[1] == "wasm-exec":
		os.Exit(wasm.Main(os.Stdin, os.Stdout, os.Stderr))
	case os.Args[1] == "broken-out":
		brokenOut(os.Args[2:])
		return
	case os.Args[1] == "bare":
		if err := bare(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case os.Args[1] == "daemon":
		if err := daemon(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
