package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/demo"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// process is one daemon: a home that outlives it, and the process of the moment.
type process struct {
	*daemon.Client
	home   string
	souk   string   // the program
	log    string   // the file of its stderr: not in its home, whose disk fills
	args   []string // of souk up
	status *apiv1.StatusResponse

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// newProcess makes a home with `souk init`.
func newProcess(t *testing.T, souk, home string, args ...string) *process {
	t.Helper()
	_, port, _ := strings.Cut(freePort(t), ":")
	p := &process{home: home, souk: souk, log: filepath.Join(t.TempDir(), filepath.Base(home)+".log"), Client: daemon.New(home, slog.New(slog.DiscardHandler)),
		args: append([]string{"--mdns=false", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/" + port}, args...)}
	if out, code := p.run(t, "init"); code != 0 {
		t.Fatalf("souk init: exit %d\n%s", code, out)
	}
	t.Cleanup(func() {
		if p.cmd != nil {
			syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // a group that is gone needs none
			<-p.done
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", p.home, p.lastWords(40))
		}
	})
	return p
}

// run runs a command of souk on the home, and returns all it printed.
func (p *process) run(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.souk, append([]string{"--home", p.home}, args...)...)
	cmd.Env = plainEnviron()
	b, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("souk %v: %v", args, err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// plainEnviron is the environment without what would configure a daemon.
func plainEnviron() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SOUK_") {
			env = append(env, e)
		}
	}
	return env
}

// freePort is the address of a port that nobody has now, below those that the
// kernel gives to connections.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.IntN(20_000)))
		if err != nil {
			continue // taken
		}
		l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port of loopback is free")
	return ""
}

// up starts the daemon.
func (p *process) up(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(p.souk, append([]string{"--home", p.home, "up"}, p.args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = plainEnviron(), out, out
	// A test that is killed itself leaves nothing behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		cmd.Wait() // how it ended shows in its state and its log
		close(done)
	}()
}

// ready waits until the daemon answers on its socket.
func (p *process) ready(t *testing.T) {
	t.Helper()
	eventually(t, "the daemon of "+p.home, func(ctx context.Context) error {
		select {
		case <-p.done:
			t.Fatalf("the daemon ended by itself:\n%s", p.lastWords(5))
		default:
		}
		var err error
		p.status, err = p.Node.Status(ctx, &apiv1.StatusRequest{})
		return err
	})
}

// stop asks the daemon to end; it must do so by itself, and well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Errorf("the daemon of %s does not end", p.home)
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the daemon of %s ended with %s:\n%s", p.home, p.cmd.ProcessState, p.lastWords(20))
	}
	p.cmd = nil
}

// kill ends the daemon as a power cut would.
func (p *process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
	p.cmd = nil
}

// lastWords is the end of the daemon's log.
func (p *process) lastWords(lines int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// eventually asks until the answer is nil.
func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last := errors.New("never asked")
	if demo.Until(ctx, func() (bool, error) {
		if err := ask(ctx); ctx.Err() == nil {
			last = err
		}
		return last == nil, nil
	}) != nil {
		t.Fatalf("waited a minute for %s: %v", what, last)
	}
}
