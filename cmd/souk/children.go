package main

import (
	"io"
	"os"

	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/runner/gate"
	"github.com/souk-market/souk/gpu/runner/wasm"
)

// The daemon starts its own program for what may not take it down: a driver's
// library that crashes, a module that misbehaves. It names them by these words,
// which are no commands: nobody types them and no help lists them.
const (
	probeNVML     = "probe-nvml"
	editsNVML     = "edits-nvml"
	wasmExec      = "wasm-exec"
	challengeExec = "challenge-exec"
)

// child is the body of such a process. It comes before all else, since it has
// neither an environment nor a home.
func child(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int, is bool) {
	switch {
	case len(args) > 1 && (args[0] == gate.Pass || args[0] == gate.Check):
		return gate.Main(args, stdout, stderr, gate.Inside{nvml.Vendor: nvml.Inside}), true
	case len(args) != 1:
		return 0, false
	case args[0] == probeNVML:
		return nvml.Main(stdin, stdout, stderr), true
	case args[0] == editsNVML:
		return nvml.EditsMain(stdin, stdout, stderr), true
	case args[0] == wasmExec:
		return wasm.Main(stdin, stdout, stderr), true
	case args[0] == challengeExec:
		return process.Main(stdin, stdout, stderr, os.Getenv), true
	}
	return 0, false
}
