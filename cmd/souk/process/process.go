// Package demo starts souk daemons as processes of their own on this machine, and
// takes them down again.
//
// A daemon is told nothing but a peer to join through and a chain's address, as a
// stranger's would be. After [Stage.Close] none of their processes, ports and
// files is left, however far the demo came.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/keys"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sync/errgroup"
)

// maxSocketPath is what the kernel takes for a socket's name.
const maxSocketPath = 100

// stopWithin is how long daemons have to end by themselves.
const stopWithin = 5 * time.Second

// Stage is a folder with the daemons started in it. It is used by one goroutine.
type Stage struct {
	Dir  string
	self string
	keep bool
	log  *slog.Logger
	all  []*Daemon
}

// NewStage makes a temporary folder in dir, by default that of the system, for
// daemons that self, the path of the souk program, will be. With keep they
// outlive this process.
func NewStage(self, dir string, keep bool, log *slog.Logger) (*Stage, error) {
	dir, err := os.MkdirTemp(dir, "souk-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if len(filepath.Join(dir, "provider-3", daemon.Socket)) > maxSocketPath {
		return nil, errors.Join(fmt.Errorf("demo: %s is too long a path for sockets: set TMPDIR to a shorter one", dir), os.RemoveAll(dir))
	}
	return &Stage{Dir: dir, self: self, keep: keep, log: log}, nil
}

// Daemon is one daemon's process.
type Daemon struct {
	Name string
	Home string
	*daemon.Client
	Status *apiv1.StatusResponse // as of when it was ready

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Start makes a home with keys and starts a daemon in it. [Stage.Ready] waits for it.
func (s *Stage) Start(name string, args ...string) (*Daemon, error) {
	d := &Daemon{Name: name, Home: filepath.Join(s.Dir, name), done: make(chan struct{})}
	if _, err := keys.Create(d.Home, keys.NewPassword()); err != nil {
		return nil, fmt.Errorf("demo: %s: %w", name, err)
	}
	d.Client = daemon.New(d.Home, s.log)
	out, err := os.Create(d.logName())
	if err != nil {
		return nil, fmt.Errorf("demo: %s: %w", name, err)
	}
	defer out.Close()
	d.cmd = exec.Command(s.self, append([]string{"--home", d.Home, "up", "--mdns=false", "--api", "127.0.0.1:0",
		"--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"}, args...)...)
	d.cmd.Env = plainEnviron()
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.SysProcAttr = apart(s.keep)
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("demo: start %s: %w", name, err)
	}
	s.all = append(s.all, d)
	go func() {
		d.cmd.Wait() // how it ended shows in its log; that it ended is what counts
		close(d.done)
	}()
	return d, nil
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

func (d *Daemon) logName() string { return d.Home + ".log" }

// PID is the process's id.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Ready waits until the daemons answer on their sockets.
func Ready(ctx context.Context, ds ...*Daemon) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range ds {
		g.Go(func() error {
			return Until(ctx, func() (bool, error) {
				select {
				case <-d.done:
					return false, fmt.Errorf("demo: %s ended at once: %s", d.Name, d.lastWords())
				default:
				}
				var err error
				d.Status, err = d.Node.Status(ctx, &apiv1.StatusRequest{})
				return err == nil, nil
			})
		})
	}
	return g.Wait()
}

// lastWords is the end of the daemon's log.
func (d *Daemon) lastWords() string {
	b, err := os.ReadFile(d.logName())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}

// Until asks again until the answer is yes, an error, or ctx ends.
func Until(ctx context.Context, yes func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := yes(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Address is one at which others reach the daemon, with its peer id.
func (d *Daemon) Address() (string, error) {
	for _, a := range d.Status.GetAddresses() {
		if !strings.Contains(a, "/tcp/") {
			continue
		}
		if !strings.Contains(a, "/p2p/") {
			a += "/p2p/" + d.Status.Peer
		}
		return a, nil
	}
	return "", fmt.Errorf("demo: %s listens nowhere", d.Name)
}

// FreePort is the address of a port of loopback that nobody has now.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("demo: find a port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// Close ends the daemons, the last started first, and removes their files.
func (s *Stage) Close() error {
	deadline := time.After(stopWithin)
	for _, d := range s.all {
		d.cmd.Process.Signal(syscall.SIGTERM) // one that has ended needs none
	}
	for _, d := range s.all {
		select {
		case <-d.done:
		case <-deadline:
			deadline = time.After(0)
			s.log.Warn("a daemon did not end in time", "daemon", d.Name)
		}
		killGroup(d.PID())
		<-d.done
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("demo: clean up: %w", err)
	}
	return nil
}

// PIDs are the ids of the daemons' processes.
func (s *Stage) PIDs() string {
	var pids []string
	for _, d := range s.all {
		pids = append(pids, fmt.Sprint(d.PID()))
	}
	return strings.Join(pids, " ")
}
