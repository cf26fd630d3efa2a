// Package enginetest starts a container engine for tests, and makes images for it.
//
// The engine is Podman, with storage and sockets of its own in a folder for the
// test: nothing of the machine's own containers is seen or touched, and all is
// removed with the test. A machine without Podman fails the test: see make test.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startWithin = 30 * time.Second
	askWithin   = 2 * time.Minute // of one command: an image may be large
	liveFor     = "900"           // seconds: an engine whose test was killed ends by itself
)

// Engine is an engine of a test.
type Engine struct {
	URL string // where it answers

	dir     string
	env     []string
	service *exec.Cmd
	said    bytes.Buffer
}

// Start starts an engine, which ends with the test.
func Start(t testing.TB) *Engine {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a container engine")
	}
	e, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// Open starts an engine for what is no test, which ends with Close.
func Open() (*Engine, error) {
	dir, err := os.MkdirTemp("", "souk-engine-") // a short path: sockets lie below
	if err != nil {
		return nil, err
	}
	e := &Engine{dir: dir, URL: "unix://" + filepath.Join(dir, "podman.sock")}
	if err = e.configure(); err == nil {
		err = e.up()
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// configure writes what makes the engine this test's own.
func (e *Engine) configure() error {
	runtime, named := runtimeHere()
	containers := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = %q
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = %q
volume_path = %q
[engine.runtimes]
%s
`, runtime, filepath.Join(e.dir, "tmp"), filepath.Join(e.dir, "volumes"), named)
	storage := fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n",
		filepath.Join(e.dir, "graph"), filepath.Join(e.dir, "run"))
	registries := "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n[[registry]]\nprefix = \"*.localhost\"\nlocation = \"localhost\"\ninsecure = true\n"
	for name, text := range map[string]string{"containers.conf": containers, "storage.conf": storage, "registries.conf": registries} {
		if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	e.env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(e.dir, "containers.conf"),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(e.dir, "storage.conf"),
		"CONTAINERS_REGISTRIES_CONF="+filepath.Join(e.dir, "registries.conf"), "TMPDIR="+e.dir)
	return nil
}

// runtimeHere is what makes containers on this machine: Debian's crun, or, where
// both versions of control groups are mounted, which that one does not take, the
// runc that make test builds.
func runtimeHere() (name, path string) {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "crun", ""
	}
	_, here, _, _ := goruntime.Caller(0)
	built := filepath.Join(filepath.Dir(here), "..", "..", "..", "..", "bin", "tools", "runc")
	return "runc", fmt.Sprintf("runc = [%q]", built)
}

// Up starts the engine's service, which must not run.
func (e *Engine) Up(t testing.TB) {
	t.Helper()
	if err := e.up(); err != nil {
		t.Fatal(err)
	}
}

func (e *Engine) up() error {
	e.service = exec.Command("timeout", "-k", "5", liveFor, "podman", "system", "service", "--time=0", e.URL)
	e.service.Env, e.service.Dir = e.env, e.dir // conmon leaves a file where it is started
	e.service.Stdout, e.service.Stderr = &e.said, &e.said
	if err := e.service.Start(); err != nil {
		e.service = nil
		return fmt.Errorf("start podman, which make test installs: %w", err)
	}
	for deadline := time.Now().Add(startWithin); ; <-time.After(10 * time.Millisecond) {
		if e.answers() {
			return nil
		}
		if time.Now().After(deadline) {
			e.down()
			return fmt.Errorf("podman does not answer; make test installs it:\n%s", &e.said)
		}
	}
}

// answers tells whether the service can be asked what it is, which takes a while
// the first time.
func (e *Engine) answers() bool {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(e.URL, "unix://"))
	}
	c := &http.Client{Timeout: startWithin, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	res, err := c.Get("http://podman/version")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// Down stops the engine's service; its containers run on.
func (e *Engine) Down(t testing.TB) {
	t.Helper()
	e.down()
}

func (e *Engine) down() {
	if e.service == nil {
		return
	}
	_ = e.service.Process.Signal(syscall.SIGTERM) // timeout hands it on, and kills what does not end for it
	_ = e.service.Wait()
	e.service = nil
	_ = os.Remove(strings.TrimPrefix(e.URL, "unix://"))
}

// Podman runs a command of the engine, and returns what it printed.
func (e *Engine) Podman(t testing.TB, args ...string) string {
	t.Helper()
	out, err := e.Do(args...)
	if err != nil {
		t.Fatalf("podman %q: %v", args, err)
	}
	return out
}

// Do is [Engine.Podman] for what is no test.
func (e *Engine) Do(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "podman", args...)
	cmd.Env = e.env
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// Close ends all containers and leaves nothing.
func (e *Engine) Close() error {
	_, err := e.Do("rm", "--all", "--force", "--time=0")
	e.down()
	// What conmon starts once a container has ended may still use the folder.
	unmade := e.unmake()
	for deadline := time.Now().Add(startWithin); unmade != nil && time.Now().Before(deadline); unmade = e.unmake() {
		time.Sleep(100 * time.Millisecond)
	}
	if err = errors.Join(err, unmade); err != nil {
		return fmt.Errorf("remove the engine of a test: %w", err)
	}
	return nil
}

func (e *Engine) unmake() error {
	_ = syscall.Unmount(filepath.Join(e.dir, "graph", "overlay"), syscall.MNT_DETACH)
	return os.RemoveAll(e.dir)
}
