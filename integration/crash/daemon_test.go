package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

// stopWithin is how long a daemon has to end when it is asked to.
const stopWithin = 10 * time.Second

// process is one daemon: a home that outlives it, and the process of the moment.
type process struct {
	*daemon.Client
	name, home string
	souk       string   // the program
	args       []string // of souk up; the same in each life
	wire       *wire    // to the chain; nil: it serves the chain itself
	peer       string   // its id, known once it has answered
	address    string   // where peers reach it
	lives      int

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// initHome makes a home with `souk init`.
func initHome(t *testing.T, souk, dir, name string) *process {
	t.Helper()
	p := &process{name: name, home: filepath.Join(dir, name), souk: souk}
	p.Client = daemon.New(p.home, slog.New(slog.DiscardHandler))
	cmd := exec.CommandContext(t.Context(), souk, "--home", p.home, "init")
	cmd.Env = plainEnviron()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("souk init for %s: %v\n%s", name, err, out)
	}
	return p
}

// plainEnviron is the environment without what would configure a daemon.
func plainEnviron() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SOUK_") {
			env = append(env, e)
		}
	}
	return env
}

// up starts the daemon, in its first life or after a kill.
func (p *process) up(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(p.home+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.lives++
	fmt.Fprintf(out, "--- life %d of %s\n", p.lives, p.name)
	p.cmd = exec.Command(p.souk, append([]string{"--home", p.home, "up", "--mdns=false", "--api", "127.0.0.1:0"}, p.args...)...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(plainEnviron(), "SOUK_CRASH="+p.trigger()), out, out
	// A test that is killed itself leaves nothing behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		cmd.Wait() // how it ended shows in its log
		close(done)
	}()
}

// ready waits until the daemon answers on its socket.
func (p *process) ready(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, p.name+" to answer", func(ctx context.Context) error {
		select {
		case <-p.done:
			t.Fatalf("%s ended by itself:\n%s", p.name, p.lastWords(5))
		default:
		}
		s, err := p.Node.Status(ctx, &apiv1.StatusRequest{})
		if err == nil && p.peer == "" { // it stays so in later lives, which others look at meanwhile
			p.peer = s.Peer
			p.address, err = (&demo.Daemon{Name: p.name, Status: s}).Address()
		}
		return err
	})
}

// trigger is the file that arms a moment of the daemon; see node/crash.go.
func (p *process) trigger() string { return p.home + ".crash" }

// arm has victim killed at a moment of this daemon.
func (p *process) arm(m moment, victim *process) error {
	if strings.HasPrefix(m.point, "tx-") {
		life, done := victim.cmd.Process, victim.done // of now: the next one begins as soon as this has ended
		p.wire.arm(m, func() bool {
			life.Signal(syscall.SIGKILL)
			<-done
			return victim == p
		})
		return nil
	}
	// What is written in full takes its name at once: the daemon never reads half of it.
	line := fmt.Appendf(nil, "%s %s %d %d", m.side, m.point, m.count, victim.cmd.Process.Pid)
	if err := os.WriteFile(p.trigger()+".new", line, 0o600); err != nil {
		return err
	}
	return os.Rename(p.trigger()+".new", p.trigger())
}

// disarm takes a moment back that did not come.
func (p *process) disarm() error {
	if p.wire != nil {
		p.wire.arm(moment{}, nil)
	}
	if err := os.Remove(p.trigger()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stop asks the daemon to end, and kills what does not, with its children.
func (p *process) stop() error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGTERM) // one that has ended needs none
	var err error
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		err = fmt.Errorf("%s did not end within %s of SIGTERM", p.name, stopWithin)
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // a group that is gone needs none
	<-p.done
	return err
}

// lastWords is the end of the daemon's log.
func (p *process) lastWords(lines int) string {
	b, err := os.ReadFile(p.home + ".log")
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// eventually asks until the answer is nil; the last answer is the test's error.
func eventually(t *testing.T, limit time.Duration, what string, ask func(context.Context) error) {
	t.Helper()
	if err := until(t, limit, ask); err != nil {
		t.Fatalf("waited %s for %s: %v", limit, what, err)
	}
}

func until(t *testing.T, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	last := errors.New("never asked")
	if demo.Until(ctx, func() (bool, error) {
		if err := ask(ctx); ctx.Err() == nil {
			last = err
		}
		return last == nil, nil
	}) == nil {
		return nil
	}
	return last
}

// pause lets d of real time pass: these are other processes, whose clock is the wall's.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.Context().Done():
		t.Fatal(context.Cause(t.Context()))
	case <-timer.C:
	}
}

// running lists the processes that run program, as the kernel knows them.
func running(program string) (pids map[string]string, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	pids = map[string]string{}
	for _, dir := range dirs {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ESRCH) {
			continue // gone meanwhile, a kernel thread, or another user's
		}
		if err != nil {
			return nil, err
		}
		if strings.TrimSuffix(exe, " (deleted)") == program {
			line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			pids[filepath.Base(dir)] = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return pids, nil
}
