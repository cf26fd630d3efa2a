package main

import (
	"context"
	"path/filepath"

	"github.com/souk-market/souk/cmd/souk/process"
)

// guestModule builds the job that these rows run: a WebAssembly module that does
// what its arguments say.
func guestModule(dir string) (string, error) {
	module := filepath.Join(dir, "guest")
	return module, process.BuildModule(context.Background(), module, "gpu/runner/runnertest/testdata/guest")
}
