package nvml

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

// failed is the exit code of a child that says why.
const failed = 1

// errStuck is a child that no signal ends.
var errStuck = errors.New("the driver does not answer, and the process that asks it cannot be ended: reboot the machine")

// child is one process that reads the devices. It ends when its input does, so it
// does not outlive us however we end.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   io.Closer
	lines chan []byte   // closed at the end of its output
	quit  chan struct{} // closed when nobody reads lines any more
	gone  chan struct{} // closed when the process is gone
	err   error         // why it ended; to be read when gone is closed
	said  bounded       // the beginning of its errors; likewise
	kill  func() error
}

// start starts a child and the goroutine that reads it, which ends with it.
func (p Probe) start() (*child, error) {
	c := &child{cmd: exec.Command(p.Command[0], p.Command[1:]...), lines: make(chan []byte), quit: make(chan struct{}), gone: make(chan struct{})}
	c.cmd.Env = environment(os.Environ())
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
	if p.unkillable {
		c.kill = func() error { return nil }
	}
	go c.read(stdout)
	return c, nil
}

// read hands on lines until the output ends, then waits for the process.
func (c *child) read(stdout io.Reader) {
	defer close(c.gone)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), maxListing)
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
		c.err = fmt.Errorf("more than %d bytes of devices", maxListing)
	}
}

// next is the child's next listing.
func (c *child) next(ctx context.Context, within time.Duration) (listing, error) {
	silent := time.NewTimer(within)
	defer silent.Stop()
	select {
	case line, ok := <-c.lines:
		if !ok {
			return listing{}, c.reason()
		}
		l, err := decode(line)
		if err != nil {
			return listing{}, fmt.Errorf("listing: %w", err)
		}
		return l, nil
	case <-silent.C:
		return listing{}, fmt.Errorf("the driver did not answer for %s; if it goes on, reboot the machine", within)
	case <-ctx.Done():
		return listing{}, ctx.Err()
	}
}

// reason is why the output ended.
func (c *child) reason() error {
	select {
	case <-c.gone:
	case <-time.After(killWithin):
		return errStuck
	}
	said := oneLine(string(c.said.text))
	var exit *exec.ExitError
	switch {
	case c.err == nil:
		return errors.New("the process that asks the driver ended")
	case errors.As(c.err, &exit) && exit.ExitCode() == failed && said != "":
		return errors.New(said)
	case said != "":
		return fmt.Errorf("the process that asks the driver ended: %w: %s", c.err, said)
	}
	return fmt.Errorf("the process that asks the driver ended: %w", c.err)
}

// end kills the child. It tells whether the child is there all the same.
func (c *child) end() (stuck bool) {
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

// wait returns when the child is gone, or ctx ends.
func (c *child) wait(ctx context.Context) {
	select {
	case <-c.gone:
	case <-ctx.Done():
	}
}

// environment is what the child needs of ours; passwords are not among it.
func environment(ours []string) []string {
	env := []string{}
	for _, entry := range ours {
		if strings.HasPrefix(entry, "SOUK_NVML_") || strings.HasPrefix(entry, "LD_LIBRARY_PATH=") {
			env = append(env, entry)
		}
	}
	return env
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
