package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/gpu/runner/oci"
)

// Files of the engine in the folder of a run.
const (
	socketName = "podman.sock"
	pidName    = "podman.pid" // of the group of its service
)

// engineLives is how long the service runs, in seconds, however the run ends.
const engineLives = "900"

// engineURL is where the engine of a run answers.
func (s site) engineURL() string { return "unix://" + filepath.Join(s.Work, socketName) }

// engine starts the bundle's Podman, with storage and settings of its own: nothing of
// the machine's containers is seen or touched.
func engine(ctx context.Context, s site, n *notes) error {
	if _, err := os.Stat(s.program("podman")); err != nil {
		return cannot("the bundle has no Podman: %v", err)
	}
	var last error
	for _, driver := range []string{"overlay", "vfs"} {
		last = errors.Join(s.configure(driver), s.tryStorage(ctx))
		if last == nil {
			n.figure("storage", driver)
			break
		}
		n.figure("not "+driver, last.Error())
	}
	if last != nil {
		return cannot("Podman does not run here: %v", last)
	}
	if err := s.serve(ctx); err != nil {
		return err
	}
	e := oci.NewEngine(s.engineURL())
	e.Look(ctx)
	if err := e.Refusal(); err != nil {
		return cannot("souk does not use this engine here, so no limit of a container is proved: %v", err)
	}
	n.figure("engine", e.Facts().Name())
	n.figure("holds", e.Facts().Holds())
	return nil
}

// lookup is an engine that souk would use, or why there is none.
func (s site) lookup(ctx context.Context) (*oci.Engine, error) {
	e := oci.NewEngine(s.engineURL())
	e.Look(ctx)
	if err := e.Refusal(); err != nil {
		return nil, cannot("no container engine: %v", err)
	}
	return e, nil
}

// configure writes the engine's settings.
func (s site) configure(storage string) error {
	at := func(name string) string { return filepath.Join(s.Work, name) }
	files := map[string]string{
		"containers.conf": fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[network]
network_backend = "cni"
[engine]
runtime = %q
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
conmon_path = [%q]
tmp_dir = %q
volume_path = %q
[engine.runtimes]
%s = [%q]
`, s.maker(), s.program("conmon"), at("tmp"), at("volumes"), s.maker(), s.program(s.maker())),
		"storage.conf":                   fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = %q\nrunroot = %q\n", storage, at("graph-"+storage), at("run-"+storage)),
		"registries.conf":                "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n",
		".config/containers/policy.json": `{"default":[{"type":"insecureAcceptAnything"}]}`,
	}
	for name, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o755), os.WriteFile(at(name), []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return os.MkdirAll(at("xdg"), 0o700)
}

// maker is what makes the containers.
func (s site) maker() string {
	if _, err := os.Stat(s.program("crun")); err == nil {
		return "crun"
	}
	return "runc"
}

// podman is a command of the engine.
func (s site) podman(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.Work // conmon leaves a file where it is started
	at := func(name string) string { return filepath.Join(s.Work, name) }
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+at("containers.conf"), "CONTAINERS_STORAGE_CONF="+at("storage.conf"),
		"CONTAINERS_REGISTRIES_CONF="+at("registries.conf"), "TMPDIR="+s.Work, "HOME="+s.Work, "XDG_RUNTIME_DIR="+at("xdg"), "XDG_CONFIG_HOME="+at(".config"))
	return cmd
}

// tryStorage lets the engine look at itself once.
func (s site) tryStorage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 13*time.Second)
	defer cancel()
	if out, err := s.podman(ctx, s.program("podman"), "info").CombinedOutput(); err != nil {
		return fmt.Errorf("podman info: %w: %s", err, lastLine(out))
	}
	return nil
}

// serve starts the engine's service, which outlives this stage and ends with the run.
func (s site) serve(ctx context.Context) error {
	said, err := os.Create(filepath.Join(s.Out, "podman.log"))
	if err != nil {
		return err
	}
	defer said.Close()
	cmd := s.podman(context.WithoutCancel(ctx), "timeout", "-k", "5", engineLives, s.program("podman"), "system", "service", "--time=0", s.engineURL())
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Work, pidName), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return err
	}
	err = process.Until(ctx, func() (bool, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Work, socketName))
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
	return errors.Join(err, cmd.Process.Release())
}

// endEngine ends the containers and the service of a run, if there are any.
func endEngine(s site) error {
	text, err := os.ReadFile(filepath.Join(s.Work, pidName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || pid < 2 {
		return fmt.Errorf("no process of the engine: %q", text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := s.podman(ctx, s.program("podman"), "rm", "--all", "--force", "--time=0").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("remove the containers: %w: %s", err, lastLine(out))
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // one that has ended needs none
	_ = syscall.Unmount(filepath.Join(s.Work, "graph-overlay", "overlay"), syscall.MNT_DETACH)
	return err
}

// lastLine is the last line of what a program printed.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
