package main

import (
	"io"
	"os"

	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/gpu/runner/gate"
	"github.com/souk-market/souk/gpu/runner/wasm"
	"github.com/souk-market/souk/gpu/vendors"
)

// The daemon starts its own program for what may not take it down: a driver's
// library that crashes, a module that misbehaves. It names them by these words,
// which are no commands: nobody types them and no help lists them. Those of drivers are
// in gpu/vendors.
const (
	wasmExec      = "wasm-exec"
	challengeExec = "challenge-exec"
)

// child is the body of such a process. It comes before all else, since it has
// neither an environment nor a home.
func child(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int, is bool) {
	switch {
	case len(args) > 1 && (args[0] == gate.Pass || args[0] == gate.Check):
		return gate.Main(args, stdout, stderr, vendors.Inside()), true
	case len(args) != 1:
		return 0, false
	case args[0] == wasmExec:
		return wasm.Main(stdin, stdout, stderr), true
	case args[0] == challengeExec:
		return process.Main(stdin, stdout, stderr, os.Getenv), true
	}
	if main, ok := vendors.Children()[args[0]]; ok {
		return main(stdin, stdout, stderr), true
	}
	return 0, false
}
