// Package demo finds the job of souk's demo, and builds its module where that is
// needed.
package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/souk-market/souk/cmd/souk/process"
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
	if err := process.BuildModule(ctx, d.Module, source); err != nil {
		return Digits{}, err
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
