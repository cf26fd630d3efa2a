//go:build race

package bubble

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestMain runs the tests in a build without the race detector. That of Go 1.26
// broke off one of four large bubbles with "CHECK failed" in its own code, as
// golang/go#78156 reports of others, and here it would take minutes. The parts of
// a daemon are tested under it where they are.
func TestMain(*testing.M) {
	code, err := runWithoutRace()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// runWithoutRace builds the same tests without the detector and runs them with the same flags.
func runWithoutRace() (code int, err error) {
	dir, err := os.MkdirTemp("", "bubble-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "bubble.test")
	if out, err := exec.Command("go", "test", "-race=false", "-vet=off", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build without the race detector: %w\n%s", err, out)
	}
	run := exec.Command(program, os.Args[1:]...)
	run.Stdout, run.Stderr = os.Stdout, os.Stderr
	runtime.LockOSThread() // the signal comes when the thread that started it ends
	run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = run.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
