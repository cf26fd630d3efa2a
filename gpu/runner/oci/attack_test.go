package oci_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"golang.org/x/sys/unix"
)

const (
	secret       = "SOUK-CANARY"
	killWithin   = 2 * time.Second
	slow         = 3 * time.Second // what a loaded machine and a first look take beside that
	attackDisk   = 4 << 20
	attackMemory = 96 << 20
)

// attack is an image with the attacker, and its surroundings.
type attack struct {
	engine *enginetest.Engine
	runner *oci.Runner
	image  enginetest.Image // with the attacker in it
	name   string
	canary string // a file of the host
}

func newAttack(t *testing.T) *attack {
	t.Helper()
	e := enginetest.Start(t)
	program := filepath.Join(t.TempDir(), "attacker")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./testdata/attacker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the attacker: %v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, []byte(secret), 0o666); err != nil {
		t.Fatal(err)
	}
	a := &attack{engine: e, runner: newRunner(t, e.URL), image: enginetest.Image{Files: map[string]string{"/attacker": string(text)}}, canary: canary}
	a.name = e.Load(t, "attacker", a.image)
	return a
}

// TestAttacks has an attacker try to get out of its container, and to take more than
// was leased.
func TestAttacks(t *testing.T) {
	a := newAttack(t)
	for name, f := range map[string]func(*testing.T){"escapes": a.escapes, "bombs": a.bombs, "disk": a.passesItsDisk, "deaf": a.isDeaf,
		"links": a.leavesLinks, "tricks": a.tricks, "neighbours": a.hasNeighbours, "shm": a.hasShm} {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t) })
	}
}

// leases numbers the attacks, so that several can be under way.
var leases struct {
	sync.Mutex
	last byte
}

// spec is a run of the attacker; its output is in the buffer once it has ended.
func (a *attack) spec(t *testing.T, args ...string) (runner.Spec, *bytes.Buffer) {
	t.Helper()
	leases.Lock()
	defer leases.Unlock()
	leases.last++
	dir, out := t.TempDir(), new(bytes.Buffer)
	for _, d := range []string{"in", "out"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "in", "greeting"), []byte("good day"), 0o644); err != nil {
		t.Fatal(err)
	}
	return runner.Spec{Lease: souk.LeaseID{Digest: souk.Digest{leases.last, 0xa7}}, Program: runner.Program{Image: a.name}, Args: append([]string{"/attacker"}, args...),
		In: filepath.Join(dir, "in"), Out: filepath.Join(dir, "out"), Memory: attackMemory, Disk: attackDisk, CPUMilli: 1000, Duration: time.Minute,
		Stdout: out, Stderr: out}, out
}

func (a *attack) start(t *testing.T, s runner.Spec) runner.Run {
	t.Helper()
	run, err := a.runner.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Stop(); <-run.Done() })
	return run
}

// unharmed looks at what the host would have lost.
func (a *attack) unharmed(t *testing.T) {
	t.Helper()
	if text, err := os.ReadFile(a.canary); string(text) != secret || err != nil {
		t.Errorf("the canary is %q, %v", text, err)
	}
}

// escapes has one container try all that leaves it running.
func (a *attack) escapes(t *testing.T) {
	port := listen(t)
	if _, err := unix.AddKey("user", "souk-attack", []byte(secret), unix.KEY_SPEC_USER_KEYRING); err != nil {
		t.Logf("the host has no ring of keys: %v", err)
	}
	s, out := a.spec(t, "all", a.canary, fmt.Sprint(os.Getpid()), port, strings.TrimPrefix(a.engine.URL, "unix://"))
	for name, to := range map[string]string{"link": a.canary, "proc-link": "/proc/1/root" + a.canary} {
		if err := os.Symlink(to, filepath.Join(s.In, name)); err != nil {
			t.Fatal(err)
		}
	}
	got := a.start(t, s).Wait()
	if got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 || strings.Contains(out.String(), secret) {
		t.Errorf("it ended with %+v:\n%s", got, out)
	}
	var tried int
	if _, err := fmt.Sscanf(out.String()[strings.LastIndex(out.String(), "tried"):], "tried %d", &tried); err != nil || tried < 180 {
		t.Errorf("it tried %d things, %v", tried, err)
	}
	a.unharmed(t)
	if text, err := os.ReadFile(filepath.Join(s.In, "greeting")); string(text) != "good day" || err != nil {
		t.Errorf("its input is %q, %v", text, err)
	}
}

// listen has something answer on loopback, and by an abstract name.
func listen(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	abstract, err := net.Listen("unix", "@souk-attack-"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { abstract.Close() })
	return port
}

// bombs takes more than was leased, in every way: it ends for that, at once, and
// what it leaves is within its disk.
func (a *attack) bombs(t *testing.T) {
	const (
		done   = runv1.EndReason_END_REASON_COMPLETED
		memory = runv1.EndReason_END_REASON_JOB_MEMORY
		disk   = runv1.EndReason_END_REASON_JOB_DISK
		late   = runv1.EndReason_END_REASON_JOB_TIME
		bad    = runv1.EndReason_END_REASON_JOB_INVALID
	)
	for _, tt := range []struct {
		name string
		args []string
		want []runv1.EndReason // one of these
		time time.Duration     // its running time; 0: a minute
	}{
		{"memory", []string{"memory"}, []runv1.EndReason{memory}, 0},
		{"memory of children", []string{"memory-of-children"}, []runv1.EndReason{memory}, 0},
		{"memory in /tmp", []string{"memory-in-tmp"}, []runv1.EndReason{done, memory}, 0},
		{"memory in /dev/shm", []string{"memory-in-shm"}, []runv1.EndReason{done, memory}, 0},
		{"processes", []string{"fork"}, []runv1.EndReason{late, memory}, 2 * time.Second},
		{"many files", []string{"disk"}, []runv1.EndReason{disk}, 0},
		{"one file", []string{"one-file"}, []runv1.EndReason{done, disk}, 0},
		{"names", []string{"names"}, []runv1.EndReason{disk}, 0},
		{"folders in folders", []string{"deep"}, []runv1.EndReason{disk}, 0},
		{"files without a name", []string{"unlinked"}, []runv1.EndReason{done, disk}, 0},
		{"a flood of output", []string{"flood"}, []runv1.EndReason{done}, 0},
		{"deaf to its time", []string{"deaf"}, []runv1.EndReason{late}, 300 * time.Millisecond},
		{"silent", []string{"silent"}, []runv1.EndReason{late}, time.Second},
		{"what it leaves behind", []string{"leave-behind"}, []runv1.EndReason{done}, 0},
		{"an exit like a kill", []string{"fake-the-kill"}, []runv1.EndReason{done, memory}, 0},
		{"an exit like no program", []string{"fake-the-exec"}, []runv1.EndReason{done, bad}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, out := a.spec(t, tt.args...)
			if tt.time > 0 {
				s.Duration = tt.time
			}
			run := a.start(t, s)
			select {
			case <-run.Done():
			case <-time.After(3 * time.Minute): // what has to end at once is measured below
				t.Fatal("it does not end")
			}
			got := run.Wait()
			ok := false
			for _, w := range tt.want {
				ok = ok || got.Reason == w
			}
			if !ok {
				t.Errorf("it ended with %+v, want %v: %.300s", got, tt.want, out)
			}
			if over := got.Usage.RunningFor - s.Duration; tt.time > 0 && over > killWithin+slow {
				t.Errorf("dead %v after its time", over)
			}
			if left := leftIn(t, s.Out); left > attackDisk {
				t.Errorf("it left %d bytes on a disk of %d", left, attackDisk)
			}
			if tt.name == "a flood of output" && out.Len() != 64<<20 {
				t.Errorf("%d bytes of output of %d", out.Len(), 64<<20)
			}
			a.unharmed(t)
		})
	}
}

// leftIn adds up the files below a folder.
func leftIn(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		bytes += info.Size()
		return err
	}); err != nil {
		t.Error(err)
	}
	return bytes
}

// passesItsDisk is dead within two seconds of passing it.
func (a *attack) passesItsDisk(t *testing.T) {
	s, _ := a.spec(t, "disk")
	run := a.start(t, s)
	for deadline := time.Now().Add(time.Minute); leftIn(t, s.Out) < attackDisk; {
		if time.Now().After(deadline) {
			t.Fatal("it writes nothing")
		}
	}
	passed := time.Now()
	<-run.Done()
	if took := time.Since(passed); took > killWithin+slow {
		t.Errorf("dead %v after it was past its disk", took)
	}
}

// isDeaf stops what takes no notice, and what bombs meanwhile.
func (a *attack) isDeaf(t *testing.T) {
	for _, what := range []string{"deaf", "silent", "fork", "names"} {
		t.Run(what, func(t *testing.T) {
			s, _ := a.spec(t, what)
			s.Disk, s.Stdout, s.Stderr = 1<<30, nil, nil
			run := a.start(t, s)
			<-time.After(300 * time.Millisecond)
			start := time.Now()
			run.Stop()
			<-run.Done()
			if took := time.Since(start); took > killWithin+slow {
				t.Errorf("stopped after %v", took)
			}
			if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_CLIENT_RELEASED {
				t.Errorf("it ended with %+v", got)
			}
		})
	}
}

// leavesLinks leaves links and special files in /out: they are gone, and
// what they led to is not.
func (a *attack) leavesLinks(t *testing.T) {
	s, out := a.spec(t, "links")
	got := a.start(t, s).Wait()
	if got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 || !strings.Contains(got.Detail, "6 links or special files") {
		t.Errorf("it ended with %+v: %s", got, out)
	}
	var left []string
	if err := filepath.WalkDir(s.Out, func(path string, d fs.DirEntry, err error) error {
		if path != s.Out {
			left = append(left, strings.TrimPrefix(path, s.Out))
		}
		if d.Type()&^fs.ModeDir != 0 {
			t.Errorf("%s is %v", path, d.Type())
		}
		return err
	}); err != nil || strings.Join(left, " ") != "/folder /folder/kept" {
		t.Errorf("%q are left, %v", left, err)
	}
	if text, err := os.ReadFile(filepath.Join(s.Out, "folder", "kept")); string(text) != "kept" || err != nil {
		t.Errorf("what it kept is %q, %v", text, err)
	}
}

// tricks has images say what their containers should be.
func (a *attack) tricks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*enginetest.Image)
		args   []string
		env    []string
		want   string // in its output
		never  []string
		time   time.Duration
	}{
		{"its user is root", func(i *enginetest.Image) { i.Config.User = "0:0" }, []string{"user"}, nil, "true uid", nil, 500 * time.Millisecond},
		{"its user has a name", func(i *enginetest.Image) {
			i.Config.User, i.Files["/etc/passwd"] = "admin", "admin:x:0:0::/:/attacker\n"
		}, []string{"user"}, nil, "true uid", nil, 500 * time.Millisecond},
		{"its entry point comes before", func(i *enginetest.Image) { i.Config.Entrypoint = []string{"/attacker", "fake-the-kill"} }, []string{"where"}, nil, "/", nil, time.Minute},
		{"its health is looked at", func(i *enginetest.Image) {
			i.Config.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "/attacker", "fork"}, Interval: time.Second}
		}, []string{"user"}, nil, "true uid", []string{"forking"}, 3 * time.Second},
		{"its stop signal is none", func(i *enginetest.Image) { i.Config.StopSignal = "SIGCONT" }, []string{"user"}, nil, "true uid", nil, 500 * time.Millisecond},
		{"it declares a volume", func(i *enginetest.Image) { i.Config.Volumes = map[string]struct{}{"/data": {}} }, []string{"write-volume", "/data"}, nil, "tmpfs true", nil, time.Minute},
		{"it is for all devices", func(i *enginetest.Image) {
			i.Config.Env = []string{"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all", "LD_PRELOAD=/evil.so", "KEPT=1"}
		}, []string{"environment"}, nil, "NVIDIA_VISIBLE_DEVICES=void", []string{"=all", "evil"}, time.Minute},
		{"the job preloads", func(*enginetest.Image) {}, []string{"environment"}, []string{"LD_PRELOAD=/out/evil.so", "NVIDIA_VISIBLE_DEVICES=0", "A=line\nLD_AUDIT=/out/evil.so"}, "A=line", []string{"PRELOAD=/out", "DEVICES=0"}, time.Minute},
		{"it works elsewhere", func(i *enginetest.Image) { i.Config.WorkingDir = "/proc/self/fd/8" }, []string{"where"}, nil, "", nil, time.Minute},
		{"its labels are ours", func(i *enginetest.Image) {
			i.Config.Labels = map[string]string{"souk.home": "0", "souk.lease": "0", "io.podman.annotations.userns": "host", "run.oci.handler": "krun"}
		}, []string{"where"}, nil, "/", nil, time.Minute},
		{"it builds on", func(i *enginetest.Image) { i.Config.OnBuild = []string{"RUN /attacker fork"} }, []string{"where"}, nil, "/", []string{"forking"}, time.Minute},
		{"its ports are open", func(i *enginetest.Image) { i.Config.ExposedPorts = map[string]struct{}{"22/tcp": {}} }, []string{"where"}, nil, "/", nil, time.Minute},
		{"its folders are links", func(i *enginetest.Image) {
			i.Links = map[string]string{"/out": "/etc", "/in": "/proc", "/tmp": a.canary}
		}, []string{"where"}, nil, "", nil, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := enginetest.Image{Files: map[string]string{"/attacker": a.image.Files["/attacker"]}}
			tt.change(&i)
			s, out := a.spec(t, tt.args...)
			s.Program.Image, s.Env, s.Duration = a.engine.Load(t, "trick", i), tt.env, tt.time
			run, err := a.runner.Start(t.Context(), s)
			if err != nil {
				if tt.want == "" {
					return // refused is as good
				}
				t.Fatal(err)
			}
			got := run.Wait()
			if !strings.Contains(out.String(), tt.want) || tt.want != "" && got.Reason == runv1.EndReason_END_REASON_PROVIDER_FAILED {
				t.Errorf("%+v: %s", got, out)
			}
			for _, n := range tt.never {
				if strings.Contains(out.String(), n) {
					t.Errorf("%q is in %s", n, out)
				}
			}
			a.unharmed(t)
		})
	}
}

// hasNeighbours runs two at once: neither sees or hurts the other.
func (a *attack) hasNeighbours(t *testing.T) {
	quiet, _ := a.spec(t, "deaf")
	neighbour := a.start(t, quiet)
	for _, what := range []string{"memory", "fork"} {
		s, out := a.spec(t, what)
		s.Duration = 2 * time.Second
		if got := a.start(t, s).Wait(); got.Reason == runv1.EndReason_END_REASON_COMPLETED {
			t.Errorf("%s ended with %+v: %s", what, got, out)
		}
	}
	select {
	case <-neighbour.Done():
		t.Errorf("the neighbour ended with %+v", neighbour.Wait())
	default:
	}
	if ownerOf(t, quiet.Out) == ownerOf(t, a.canary) {
		t.Error("the job has the user of the host's own files")
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}
