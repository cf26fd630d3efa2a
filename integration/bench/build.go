package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// program builds a command of this module into dir and returns its path.
func program(dir, source string, env ...string) (string, error) {
	out := filepath.Join(dir, filepath.Base(source))
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", out, "github.com/souk-market/souk/"+source)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", source, err, text)
	}
	return out, nil
}

// guestModule builds the job that these rows run: a WebAssembly module that does
// what its arguments say.
func guestModule(dir string) (string, error) {
	return program(dir, "gpu/runner/runnertest/testdata/guest", "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
}
