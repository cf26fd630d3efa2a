package disk

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/integration/daemontest"
)

// waitWithin bounds each wait for a daemon.
const waitWithin = time.Minute

// trader is a daemon of a test, in each of its lives.
type trader struct{ *process.Daemon }

// newTrader makes a daemon with a home and a port that it keeps. It ends with the test.
func newTrader(t *testing.T, souk, home string, args ...string) trader {
	t.Helper()
	_, port, _ := strings.Cut(daemontest.FreePort(t), ":")
	p := trader{process.New(process.Config{Name: filepath.Base(home), Home: home, Program: souk,
		Args: append([]string{"--listen", "/ip4/127.0.0.1/tcp/" + port}, args...)})}
	if err := p.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", p.Home, p.LogEnd(40))
		}
	})
	return p
}

// run runs a command of souk on the home, and returns all it printed.
func (p trader) run(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitWithin)
	defer cancel()
	return output(t, p.Command(ctx, args...))
}

// output runs a command and returns all it printed.
func output(t *testing.T, cmd *exec.Cmd) (out string, code int) {
	t.Helper()
	b, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd, err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// up starts the daemon and waits until it answers.
func (p trader) up(t *testing.T) {
	t.Helper()
	err := p.Start()
	if err == nil {
		err = process.Ready(t.Context(), p.Daemon)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stop asks the daemon to end; it must do so by itself, and well.
func (p trader) stop(t *testing.T) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Errorf("%v:\n%s", err, p.LogEnd(20))
	}
}

// eventually asks until the answer is nil.
func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	daemontest.Eventually(t, waitWithin, what, ask)
}
