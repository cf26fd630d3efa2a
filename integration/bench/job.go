package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// trivialJob measures what a person waits for: from handing a job in to its
// result, verified, paid for and written where it was wanted.
func trivialJob() bench {
	return bench{
		row:     "trivial wasm job, submit to verified result, channel open",
		against: "bare wazero in a fresh process, same module",
		unit:    "ms",
		goal:    "≤ 250 ms",
		prepare: prepareJob,
	}
}

func prepareJob(dir string) (_ *subject, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	module, err := guestModule(dir)
	if err != nil {
		return nil, err
	}
	s, err := openStage(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	job, err := newWork(s.client.Client, module, []string{"hello"})
	if err != nil {
		return nil, err
	}
	if err := job.open(); err != nil {
		return nil, err
	}
	n := 0
	result := func() string { n++; return filepath.Join(s.Dir, fmt.Sprint("result-", n)) }
	var commands []float64
	bare := filepath.Join(s.Dir, "bare")
	return &subject{
		ours: func() (float64, error) {
			to := result()
			took, err := job.run(to)
			if err == nil {
				_, err = os.Stat(filepath.Join(to, "greeting"))
			}
			if err != nil {
				return 0, err
			}
			x, err := millis(func() error {
				return retryUnanswered(func() error { return soukRun(s, module, result()) })
			})
			commands = append(commands, x)
			return float64(took.Microseconds()) / 1000, err
		},
		limit: func() (float64, error) { return millis(exec.Command(self, wordBare, module, bare, "exit", "0").Run) },
		met:   func(ours, _ figure) bool { return ours.median <= 250 },
		note: func() string {
			return fmt.Sprintf("`souk run` as a command, with its plan: %s ms; published for machines with 2 cores, with neither market nor payment: Bacalhau 540 ms, Nomad 450 to 950 ms",
				number(middle(commands).median))
		},
		close: s.Close,
	}, nil
}

// exitNoMatch is the exit code of souk run for a job that no provider took.
const exitNoMatch = 3

// soukRun runs the job as a person does.
func soukRun(s *stage, module, to string) error {
	cmd := s.client.Command(context.Background(), "run", "-y", "--max-price", "1", "--memory", "256MB", "--disk", "64MB",
		"--max-duration", "60s", "--gpu", "0", "--out", to, module, "--", "hello")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitNoMatch {
		return errUnanswered
	}
	if err != nil {
		return fmt.Errorf("souk run: %w\n%s", err, out)
	}
	return nil
}
