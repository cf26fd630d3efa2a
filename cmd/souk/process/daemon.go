// Package process runs souk daemons as processes of their own on this machine.
//
// A [Daemon] has a home that outlives its process: it can be stopped, killed and
// started again. A [Stage] is a temporary folder with daemons: after [Stage.Close]
// none of their processes, ports and files is left. A daemon is told nothing but
// what its arguments say: no SOUK_ variable of the environment reaches it.
package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sync/errgroup"
)

const (
	readyWithin = time.Minute      // for a daemon to answer on its socket
	stopWithin  = 10 * time.Second // for a daemon to end by itself
)

// Config is what a [Daemon] is made of. A field without a default is required.
type Config struct {
	Name    string       // what errors call it
	Home    string       // short: its socket lies in it
	Program string       // the path of the souk program
	Args    []string     // of souk up, beside those of every daemon: no mDNS, any free port for its API, no container engine
	Env     []string     // added to the environment
	Keep    bool         // it may outlive this process
	Logger  *slog.Logger // calls of its API; default: discarded
}

// Daemon is a home and the process on it. Its methods are called by one goroutine
// at a time; those of its Client may be called at once.
type Daemon struct {
	Config
	*daemon.Client
	Status *apiv1.StatusResponse // as of when it was last ready; nil before that

	starts int
	cmd    *exec.Cmd     // nil: it was never started
	done   chan struct{} // closed when cmd has ended
}

// New makes a daemon. It starts nothing and writes nothing.
func New(c Config) *Daemon {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Daemon{Config: c, Client: daemon.New(c.Home, c.Logger)}
}

// Command is a command of souk on the daemon's home.
func (d *Daemon) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.Program, append([]string{"--home", d.Home}, args...)...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SOUK_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, d.Env...)
	return cmd
}

// Init makes the home and its keys.
func (d *Daemon) Init(ctx context.Context) error {
	if out, err := d.Command(ctx, "init").CombinedOutput(); err != nil {
		return fmt.Errorf("make the home of %s: %w: %s", d.Name, err, out)
	}
	return nil
}

// UpArgs are the words of the command that runs the daemon, after its home.
func (d *Daemon) UpArgs() []string {
	return append([]string{"up", "--mdns=false", "--api", "127.0.0.1:0", "--engine", "none"}, d.Args...)
}

// Start starts the process, for the first time or again. [Ready] waits for it.
func (d *Daemon) Start() error {
	out, err := os.OpenFile(d.LogName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.Name, err)
	}
	defer out.Close()
	if d.starts++; d.starts > 1 {
		fmt.Fprintf(out, "%s%d of %s\n", StartLine, d.starts, d.Name)
	}
	cmd := d.Command(context.Background(), d.UpArgs()...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = separate(d.Keep)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.Name, err)
	}
	done := make(chan struct{})
	d.cmd, d.done = cmd, done
	go func() {
		cmd.Wait() // how it ended shows in its state and its log
		close(done)
	}()
	return nil
}

// PID is the id of the process that was started last.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Done is closed when the process that was started last has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// Ready waits until the daemons answer on their sockets, for a minute at most, and
// sets the Status of each. They may be processes that others have started.
func Ready(ctx context.Context, all ...*Daemon) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range all {
		g.Go(func() error { return d.ready(ctx) })
	}
	return g.Wait()
}

func (d *Daemon) ready(ctx context.Context) error {
	var last error
	err := Until(ctx, func() (bool, error) {
		select {
		case <-d.done:
			return false, fmt.Errorf("%s ended by itself: %s", d.Name, strings.ReplaceAll(d.LogEnd(5), "\n", "; "))
		default:
		}
		s, err := d.Node.Status(ctx, &apiv1.StatusRequest{})
		if err == nil {
			d.Status = s
		} else if ctx.Err() == nil {
			last = err
		}
		return err == nil, nil
	})
	if err != nil && last != nil && ctx.Err() != nil {
		err = fmt.Errorf("wait for %s to answer: %w: %w", d.Name, err, last)
	}
	return err
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
	return "", fmt.Errorf("%s listens nowhere", d.Name)
}

// Stop asks the process to end, waits until it has, and kills what is left of it and
// of its children. It is an error if the process does not end in time, or not well;
// one that has ended before is none.
func (d *Daemon) Stop() error {
	if d.cmd == nil {
		return nil
	}
	select {
	case <-d.done:
		d.Kill() // its children
		return nil
	default:
	}
	d.cmd.Process.Signal(syscall.SIGTERM) // one that has ended meanwhile needs none
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case <-d.done:
	case <-late.C:
		d.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", d.Name, stopWithin)
	}
	d.Kill()
	if state := d.cmd.ProcessState; !state.Success() {
		return fmt.Errorf("%s was asked to end, and ended with %s", d.Name, state)
	}
	return nil
}

// Kill ends the process and its children as a power cut would, and returns when it
// has ended.
func (d *Daemon) Kill() {
	if d.cmd == nil {
		return
	}
	killGroup(d.PID())
	<-d.done
}

// StartLine begins the line that a log has before each start but the first.
const StartLine = "--- start "

// LogName is the file that the processes write to, one after the other.
func (d *Daemon) LogName() string { return d.Home + ".log" }

// LogEnd is the last lines of the log.
func (d *Daemon) LogEnd(lines int) string {
	b, err := os.ReadFile(d.LogName())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
