// Package child talks to processes of our own that load a driver's library: calling
// a function that a driver of another age lacks would end the process that calls,
// and a broken driver can hang it.
//
// A child says one answer a line. It ends when its input does, so that it does not
// outlive us however we end. What it says is bounded. One that is silent is killed,
// and one that even that does not end is left alone: nothing here waits for a driver.
package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// killWithin is how long a killed child may take to be gone. One that waits inside
// the kernel for a driver is not gone before that answers.
const killWithin = 2 * time.Second

// Failed is the exit code of a child that has said why on its error output.
const Failed = 1

// ErrStuck is a child that no signal ends.
var ErrStuck = errors.New("the driver does not answer, and the process that asks it cannot be ended: reboot the machine")

// Config says what is started. A field without a default is required.
type Config struct {
	Command []string // argv
	Env     []string // all of its environment, NAME=value: passwords of ours are not among it
	MaxLine int      // bytes of one line that it may say

	Kill func(*os.Process) error // ends it; default: SIGKILL. A test keeps one that waits inside the kernel.
}

// Child is one process. Send, Next and End are called by one goroutine.
type Child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   io.Closer
	most  int           // bytes of a line
	lines chan []byte   // closed at the end of its output
	quit  chan struct{} // closed when nobody reads lines any more
	gone  chan struct{} // closed when the process is gone
	err   error         // why it ended; to be read when gone is closed
	said  bounded       // the beginning of its errors; likewise
	kill  func() error
}

// Start starts a child and the goroutine that reads it, which ends with it. Whoever
// starts one calls [Child.End].
func Start(cfg Config) (*Child, error) {
	if len(cfg.Command) == 0 {
		return nil, errors.New("no command")
	}
	c := &Child{cmd: exec.Command(cfg.Command[0], cfg.Command[1:]...), most: cfg.MaxLine,
		lines: make(chan []byte), quit: make(chan struct{}), gone: make(chan struct{})}
	if c.cmd.Env = cfg.Env; c.cmd.Env == nil {
		c.cmd.Env = []string{} // nil would hand on ours
	}
	c.cmd.Stderr = &c.said
	c.cmd.WaitDelay = killWithin / 2
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.stdin, c.out, c.kill = stdin, stdout, c.cmd.Process.Kill
	if cfg.Kill != nil {
		c.kill = func() error { return cfg.Kill(c.cmd.Process) }
	}
	go c.read(stdout)
	return c, nil
}

// Send gives the child a line. One that does not read it is found by [Child.Next]:
// lines are shorter than what a pipe holds.
func (c *Child) Send(line []byte) error {
	if _, err := c.stdin.Write(append(line[:len(line):len(line)], '\n')); err != nil {
		return c.reason()
	}
	return nil
}

// read hands on lines until the output ends, then waits for the process.
func (c *Child) read(stdout io.Reader) {
	defer close(c.gone)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, c.most)
	for lines.Scan() {
		select {
		case c.lines <- append([]byte(nil), lines.Bytes()...):
		case <-c.quit:
		}
	}
	long := errors.Is(lines.Err(), bufio.ErrTooLong)
	if long {
		c.kill()
		c.out.Close()
	}
	close(c.lines)
	if c.err = c.cmd.Wait(); long {
		c.err = fmt.Errorf("it said more than %d bytes on a line", c.most)
	}
}

// Next is the next line of the child. The error says why there is none: what the
// child said on its error output, if it ended.
func (c *Child) Next(ctx context.Context, within time.Duration) ([]byte, error) {
	silent := time.NewTimer(within)
	defer silent.Stop()
	select {
	case line, ok := <-c.lines:
		if !ok {
			return nil, c.reason()
		}
		return line, nil
	case <-silent.C:
		return nil, fmt.Errorf("the driver did not answer for %s; if it goes on, reboot the machine", within)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reason is why the output ended.
func (c *Child) reason() error {
	select {
	case <-c.gone:
	case <-time.After(killWithin):
		return ErrStuck
	}
	said := oneLine(string(c.said.text))
	var exit *exec.ExitError
	switch {
	case c.err == nil:
		return errors.New("the process that asks the driver ended")
	case errors.As(c.err, &exit) && exit.ExitCode() == Failed && said != "":
		return errors.New(said)
	case said != "":
		return fmt.Errorf("the process that asks the driver ended: %w: %s", c.err, said)
	}
	return fmt.Errorf("the process that asks the driver ended: %w", c.err)
}

// End kills the child. It tells whether the child is there all the same.
func (c *Child) End() (stuck bool) {
	close(c.quit)
	c.stdin.Close()
	c.kill()
	select {
	case <-c.gone:
		return false
	case <-time.After(killWithin):
		c.out.Close()
		return true
	}
}

// Wait returns when the child is gone, or ctx ends.
func (c *Child) Wait(ctx context.Context) {
	select {
	case <-c.gone:
	case <-ctx.Done():
	}
}

// bounded keeps the beginning of what is written to it.
type bounded struct{ text []byte }

func (b *bounded) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), 4096-len(b.text))]...)
	return len(p), nil
}

func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.ToValidUTF8(s[:min(len(s), 200)], "?")
}
