package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is the child that holds one module, in a process group of its own.
// Signals may be sent until reap is answered, as its id stays taken until then.
type process struct {
	pid                    int
	stdout, stderr, report *os.File
	exited                 chan exit     // twice: when it is dead, and once it is reaped
	reap                   chan struct{} // asks for the second
}

// ticksPerSecond is in what Linux tells processor time, on every machine that Go
// runs on.
const ticksPerSecond = 100

// exit is how a process ended.
type exit struct {
	state string        // "exit status 2"
	code  int           // -1: a signal
	cpu   time.Duration // over all cores
	rss   uint64        // bytes, at most at one time
}

// spawn starts the process and hands it its order.
func spawn(command []string, o order) (*process, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var pipes [3]struct{ r, w *os.File }
	closeAll := func() {
		for _, p := range pipes {
			if p.r != nil {
				p.r.Close()
				p.w.Close()
			}
		}
	}
	for i := range pipes {
		if pipes[i].r, pipes[i].w, err = os.Pipe(); err != nil {
			closeAll()
			return nil, fmt.Errorf("pipe: %w", err)
		}
	}
	// Go closes its own descriptors in a child, but not what we inherited. Older
	// kernels cannot do this; there, whoever started us must not leave any open.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{} // nil would hand on ours
	cmd.Stdin = bytes.NewReader(text)
	cmd.Stdout, cmd.Stderr = pipes[0].w, pipes[1].w
	cmd.ExtraFiles = []*os.File{pipes[2].w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{
		stdout: pipes[0].r, stderr: pipes[1].r, report: pipes[2].r,
		exited: make(chan exit), reap: make(chan struct{}),
	}
	started := make(chan error)
	go p.own(cmd, o, started)
	if err := <-started; err != nil {
		closeAll()
		return nil, err
	}
	p.pid = cmd.Process.Pid
	for _, pipe := range pipes {
		pipe.w.Close() // the child's ends: with them open here, no reader would see the end
	}
	return p, nil
}

// own starts the child and waits for it, all from one thread: the kernel sends
// the death signal when the thread that started the child ends.
func (p *process) own(cmd *exec.Cmd, o order, started chan<- error) {
	runtime.LockOSThread()
	// Restricted and never unlocked, the thread ends with this goroutine.
	if err := restrict(cmd.Path, o); err != nil {
		started <- fmt.Errorf("restrict a module's process: %w", err)
		return
	}
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	pid := cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.exited <- exit{}
	<-p.reap
	_ = syscall.Kill(-pid, syscall.SIGKILL) // what it may have left in its group
	_ = cmd.Wait()                          // the state says more than the error
	e := exit{state: cmd.ProcessState.String(), code: cmd.ProcessState.ExitCode(), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		e.rss = uint64(usage.Maxrss) << 10
	}
	p.exited <- e
}

// kill, stop and resume signal the whole group.
func (p *process) kill()         { _ = syscall.Kill(-p.pid, syscall.SIGKILL) }
func (p *process) stop() error   { return syscall.Kill(-p.pid, syscall.SIGSTOP) }
func (p *process) resume() error { return syscall.Kill(-p.pid, syscall.SIGCONT) }

// usage is the processor time that the process has used so far and the memory that
// it has now, as the kernel shows them; 0 where it does not.
func (p *process) usage() (cpu time.Duration, memory uint64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on: the name may hold spaces
	if len(fields) < 22 {
		return 0, 0
	}
	user, _ := strconv.ParseUint(fields[11], 10, 64)
	system, _ := strconv.ParseUint(fields[12], 10, 64)
	pages, _ := strconv.ParseUint(fields[21], 10, 64)
	return time.Duration(user+system) * (time.Second / ticksPerSecond), pages * uint64(os.Getpagesize())
}

// closeAfter bounds how long output is still read.
func (p *process) closeAfter(d time.Duration) {
	deadline := time.Now().Add(d)
	for _, f := range []*os.File{p.stdout, p.stderr, p.report} {
		_ = f.SetReadDeadline(deadline) // a pipe that is closed already needs none
	}
}
