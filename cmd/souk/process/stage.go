package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/souk-market/souk/cmd/souk/daemon"
)

// maxSocketPath is what the kernel takes for a socket's name.
const maxSocketPath = 100

// longestName is that of the daemon with the longest socket path on a stage.
const longestName = "provider-3"

// Stage is a temporary folder with the daemons started in it. It is used by one
// goroutine.
type Stage struct {
	Dir     string
	program string
	keep    bool
	log     *slog.Logger
	all     []*Daemon
}

// NewStage makes a temporary folder in dir, by default that of the system, for
// daemons of program, the path of the souk program. With keep they outlive this
// process.
func NewStage(program, dir string, keep bool, log *slog.Logger) (*Stage, error) {
	dir, err := os.MkdirTemp(dir, "souk-demo-")
	if err != nil {
		return nil, err
	}
	if len(filepath.Join(dir, longestName, daemon.Socket)) > maxSocketPath {
		return nil, errors.Join(fmt.Errorf("%s is too long a path for sockets: set TMPDIR to a shorter one", dir), os.RemoveAll(dir))
	}
	return &Stage{Dir: dir, program: program, keep: keep, log: log}, nil
}

// Start makes a home and starts a daemon on it, which listens where it can. [Ready]
// waits for it.
func (s *Stage) Start(ctx context.Context, name string, args ...string) (*Daemon, error) {
	d := New(Config{Name: name, Home: filepath.Join(s.Dir, name), Program: s.program, Keep: s.keep, Logger: s.log,
		Args: append([]string{"--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"}, args...)})
	if err := d.Init(ctx); err != nil {
		return nil, err
	}
	if err := d.Start(); err != nil {
		return nil, err
	}
	s.all = append(s.all, d)
	return d, nil
}

// Close ends the daemons, all at once, and removes the folder.
func (s *Stage) Close() error {
	var stopped sync.WaitGroup
	for _, d := range s.all {
		stopped.Go(func() {
			if err := d.Stop(); err != nil {
				s.log.Warn("a daemon did not end well", "err", err)
			}
		})
	}
	stopped.Wait()
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("clean up: %w", err)
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
