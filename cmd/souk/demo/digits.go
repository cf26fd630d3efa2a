package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Digits is the demo's job: where its file and its module lie.
type Digits struct {
	Job    string // the job file; its data lies beside it
	Module string
}

// FindDigits looks for examples/digits around the souk program at self and around
// the working folder. A module that was not built beside the program is built
// into dir, which takes Go.
func FindDigits(ctx context.Context, self, dir string) (Digits, error) {
	source, err := findSource(self)
	if err != nil {
		return Digits{}, err
	}
	d := Digits{Job: filepath.Join(source, "job.yaml"), Module: filepath.Join(filepath.Dir(self), "digits.wasm")}
	if _, err := os.Stat(d.Module); err == nil {
		return d, nil
	}
	d.Module = filepath.Join(dir, "digits.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", d.Module, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return Digits{}, fmt.Errorf("build %s for WebAssembly: %w %s", source, err, strings.TrimSpace(said.String()))
	}
	return d, nil
}

func findSource(self string) (string, error) {
	starts := []string{filepath.Dir(self)}
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	for _, dir := range starts {
		for {
			source := filepath.Join(dir, "examples", "digits")
			if _, err := os.Stat(filepath.Join(source, "job.yaml")); err == nil {
				return source, nil
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return "", errors.New("examples/digits is not here: run the demo in a checkout of souk, or by make demo")
}
