package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/process"
)

// member is a daemon of a market. Its peer id and its addresses are those of its first
// life in all its lives.
type member struct {
	*process.Daemon
	proxy   *chainProxy // to the chain; nil: it serves the chain itself
	peer    string
	address string // where peers reach it
}

// newMember makes a daemon with a home.
func newMember(t *testing.T, program, dir, name string, args ...string) *member {
	t.Helper()
	home := filepath.Join(dir, name)
	m := &member{Daemon: process.New(process.Config{Name: name, Home: home, Program: program, Args: args, Env: []string{"SOUK_CRASH=" + home + ".crash"}})}
	if err := m.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// up starts the daemon, in its first life or after a kill.
func (p *member) up(t *testing.T) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}

// ready waits until the daemon answers.
func (p *member) ready(t *testing.T) {
	t.Helper()
	err := process.Ready(t.Context(), p.Daemon)
	if err == nil && p.peer == "" { // they stay so in later lives, when others read them
		p.peer = p.Status.Peer
		p.address, err = p.Address()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// trigger is the file that arms a moment of the daemon; see node/crash.go.
func (p *member) trigger() string { return p.Home + ".crash" }

// arm has victim killed at a moment of this daemon.
func (p *member) arm(m moment, victim *member) error {
	if strings.HasPrefix(m.point, "tx-") {
		pid, ended := victim.PID(), victim.Done() // of this life: the next begins as soon as it has ended
		p.proxy.arm(m, func() bool {
			syscall.Kill(pid, syscall.SIGKILL) // one that has ended needs none
			<-ended
			return victim == p
		})
		return nil
	}
	// What is written in full takes its name at once: the daemon never reads half of it.
	line := fmt.Appendf(nil, "%s %s %d %d", m.side, m.point, m.count, victim.PID())
	if err := os.WriteFile(p.trigger()+".new", line, 0o600); err != nil {
		return err
	}
	return os.Rename(p.trigger()+".new", p.trigger())
}

// disarm takes a moment back that did not come.
func (p *member) disarm() error {
	if p.proxy != nil {
		p.proxy.arm(moment{}, nil)
	}
	if err := os.Remove(p.trigger()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
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
