package oci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/gate"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TestMain makes the test binary the programs that souk is: the driver's children, and
// the gate in containers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "edits-nvml":
			os.Exit(nvml.EditsMain(os.Stdin, os.Stdout, os.Stderr))
		case gate.Pass, gate.Check:
			os.Exit(gate.Main(os.Args[1:], os.Stdout, os.Stderr, gate.Inside{nvml.Vendor: nvml.Inside, fake.Vendor: fake.Inside}))
		}
	}
	dir, err := os.MkdirTemp("", "oci-*")
	if err != nil {
		panic(err)
	}
	standIn = sync.OnceValues(func() (*nvmltest.Library, error) { return nvmltest.Build(dir) })
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// standIn builds NVIDIA's library once.
var standIn func() (*nvmltest.Library, error)

// vendor makes edits, which a test may change.
type vendor struct {
	nvml.Probe
	change func(*gpu.Edits)
}

func (v vendor) Edits(ctx context.Context, ids []string) (gpu.Edits, error) {
	e, err := v.Probe.Edits(ctx, ids)
	if v.change != nil && err == nil {
		v.change(&e)
	}
	return e, err
}

// bench is an engine with a job that looks at its devices, over the driver of a machine.
type bench struct {
	engine *enginetest.Engine
	image  string
	trick  string // the same, and its image wants all devices
	at     nvmltest.Installed
	hosts  []string // that jobs declare
}

func newBench(t *testing.T, scenario string) *bench {
	t.Helper()
	e := enginetest.Start(t)
	program := filepath.Join(t.TempDir(), "looker")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./testdata/looker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the looker: %v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	library, err := standIn()
	if err != nil {
		t.Fatal(err)
	}
	machine, err := nvmltest.Scenario(scenario)
	if err != nil {
		t.Fatal(err)
	}
	machine = append([]byte("nodes 1\n"), machine...)
	path := filepath.Join(t.TempDir(), "scenario")
	if err := os.WriteFile(path, machine, 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{engine: e}
	if b.at, err = library.Install(t.TempDir(), machine); err != nil {
		t.Fatal(err)
	}
	t.Setenv(nvml.LibraryVariable, library.Path)
	t.Setenv(nvmltest.ScenarioVariable, path)
	for name, value := range b.at.Environment() {
		t.Setenv(name, value)
	}
	i := enginetest.Image{Files: map[string]string{"/bin/looker": string(text)}}
	i.Config = v1.Config{Entrypoint: []string{"looker"}, Cmd: []string{"of", "the", "image"}, Env: []string{"PATH=/bin"}}
	b.image = e.Load(t, "looker", i)
	i.Config.Env = []string{"PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all", "LD_LIBRARY_PATH=/evil"}
	i.Files["/etc/ld.so.preload"] = "/evil.so\n" // the gate's loader would say that it is not there
	b.trick = e.Load(t, "tricky", i)
	return b
}

// run starts a job on devices, with what its vendor says changed.
func (b *bench) run(t *testing.T, image string, change func(*gpu.Edits), ids []string, args ...string) (runner.Run, *bytes.Buffer, error) {
	t.Helper()
	e := oci.NewEngine(b.engine.URL)
	e.Look(t.Context())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := oci.New(oci.Config{Engine: e, Owner: owner, Private: true, Egress: true, Dir: t.TempDir(), Gate: self,
		Vendors: gpu.Vendors{vendor{nvml.Probe{EditsCommand: []string{self, "edits-nvml"}}, change}, fake.Probe{Name: "a", Model: "Fake", Count: 2, MemoryBytes: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	s := runner.Spec{Lease: souk.LeaseID{Digest: souk.Digest{9, 9}}, Program: runner.Program{Image: image}, Args: args, Out: t.TempDir(), Memory: 64 << 20, Disk: 1 << 20,
		Duration: time.Minute, Stdout: out, Stderr: out, Devices: []runner.Device{{ID: "cpu-1", Class: gpu.ClassCPU}}}
	s.Hosts = b.hosts
	for _, id := range ids {
		d := runner.Device{ID: id, Class: "SOME", Vendor: nvml.Vendor}
		if strings.HasPrefix(id, "GPU-fake") {
			d.Vendor = fake.Vendor
		}
		s.Devices = append(s.Devices, d)
	}
	if err := os.Chmod(s.Out, 0o777); err != nil {
		t.Fatal(err)
	}
	run, err := r.Start(t.Context(), s)
	return run, out, err
}

const card = "GPU-d6100000-0000-4000-8000-00000000000"

// TestDevices has one machine of eight cards: each container has exactly what it leased,
// and one of the processor has none, whatever its image asks for (gpu-operator#421, #700).
func TestDevices(t *testing.T) {
	b := newBench(t, "dgxh100")
	const shared = "/dev/nvidia-uvm /dev/nvidia-uvm-tools"
	for _, tt := range []struct {
		name string
		ids  []string
		want string
	}{
		{"one of eight", []string{card + "3"}, "nodes " + shared + " /dev/nvidia3 /dev/nvidiactl\n"},
		{"two of eight", []string{card + "0", card + "7"}, "nodes " + shared + " /dev/nvidia0 /dev/nvidia7 /dev/nvidiactl\n"},
		{"none", nil, "nodes \n"},
		{"of two makers", []string{card + "1", "GPU-fake-a-1"}, "nodes " + shared + " /dev/nvidia1 /dev/nvidiactl\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run, out, err := b.run(t, b.trick, nil, tt.ids)
			if err != nil {
				t.Fatal(err)
			}
			got := run.Wait()
			library := gpu.DriverFolder
			if tt.ids == nil {
				library = ""
			}
			if got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 || !strings.Contains(out.String(), tt.want) ||
				!strings.Contains(out.String(), "library "+library+" visible void\n") || strings.Contains(out.String(), " can be ") || strings.Contains(out.String(), ".souk/gate") || strings.Contains(out.String(), "evil.so") ||
				!strings.Contains(out.String(), "process 1 /bin/looker with 3 arguments\n") {
				t.Errorf("%+v:\n%s", got, out)
			}
		})
	}
	t.Run("hosts", b.reaches)
	if left := b.engine.Podman(t, "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

// TestTry tries a card as a job would have it, with nothing pulled and nothing left.
func TestTry(t *testing.T) {
	b := newBench(t, "dgxh100")
	e := oci.NewEngine(b.engine.URL)
	e.Look(t.Context())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	lacking := func(e *gpu.Edits) { e.Nodes = e.Nodes[:0] }
	for _, tt := range []struct {
		name   string
		change func(*gpu.Edits)
		bad    bool
	}{{"well", nil, false}, {"no nodes", lacking, true}, {"well again", nil, false}} {
		r, err := oci.New(oci.Config{Engine: e, Owner: owner, Dir: t.TempDir(), Gate: self, Vendors: gpu.Vendors{vendor{nvml.Probe{EditsCommand: []string{self, "edits-nvml"}}, tt.change}}})
		if err != nil {
			t.Fatal(err)
		}
		err = r.Try(t.Context(), []runner.Device{{ID: card + "3", Class: "H100", Vendor: nvml.Vendor}})
		if _, bad := errors.AsType[*runner.UnprovedError](err); bad != tt.bad || !bad && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if left := b.engine.Podman(t, "ps", "--all", "--quiet") + b.engine.Podman(t, "images", "--quiet", "localhost/souk/trial"); left != "" {
		t.Errorf("left: %s", left)
	}
}

// reaches has jobs with a card and without one that declare a host: they reach it through
// their proxy, and nothing else, and what passes is counted.
func (b *bench) reaches(t *testing.T) {
	text := strings.Repeat("good day ", 1<<14)
	serve := func() (at string) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	declared, other := serve(), serve()
	b.hosts = []string{declared}
	defer func() { b.hosts = nil }()
	for _, ids := range [][]string{nil, {card + "2"}} {
		run, out, err := b.run(t, b.image, nil, ids, "looker", "get", declared, other)
		if err != nil {
			t.Fatal(err)
		}
		got := run.Wait()
		if got.Reason != runv1.EndReason_END_REASON_COMPLETED || !strings.Contains(out.String(), fmt.Sprintf("through %s 200 good day good day go of %d <nil>\n", declared, len(text))) ||
			!strings.Contains(out.String(), "through "+other+" 403 souk: ") || strings.Contains(out.String(), "past it") || !strings.Contains(out.String(), "process 1 /bin/looker with ") {
			t.Errorf("on %v it ended with %+v:\n%s", ids, got, out)
		}
		if n := got.Usage.Counters[runner.EgressByte]; n < uint64(len(text)) || n > uint64(len(text))+4096 {
			t.Errorf("%d bytes passed for a text of %d", n, len(text))
		}
	}
}

// TestSlice leases one of three slices of a card.
func TestSlice(t *testing.T) {
	b := newBench(t, "mig")
	run, out, err := b.run(t, b.image, nil, []string{"MIG-a1000000-0000-4000-8000-000000000201"}, "looker")
	if err != nil {
		t.Fatal(err)
	}
	if got := run.Wait(); got.ExitCode != 0 || !strings.Contains(out.String(), "/dev/nvidia-caps/nvidia-cap18 /dev/nvidia-caps/nvidia-cap19\n") {
		t.Errorf("%+v:\n%s", got, out)
	}
}

// TestNotStarted has containers that would have something else than was leased: no
// job is started in them, and the host is to blame.
func TestNotStarted(t *testing.T) {
	b := newBench(t, "dgxh100")
	null := func(path string) gpu.Node { return gpu.Node{Host: "/dev/null", Path: path} }
	for _, tt := range []struct {
		name, want string
		change     func(*gpu.Edits)
	}{
		{"another's card too", "shows", func(e *gpu.Edits) { e.Nodes = append(e.Nodes, null("/dev/nvidia5")) }},
		{"another's card instead", "does not show the leased device", func(e *gpu.Edits) {
			for i := range e.Nodes {
				if e.Nodes[i].Path == "/dev/nvidia3" {
					e.Nodes[i].Path = "/dev/nvidia4"
				}
			}
		}},
		{"no card (moby#47633)", "CUDA does not start", func(e *gpu.Edits) { e.Nodes = e.Nodes[:0] }},
		{"no libcuda (gvisor#13060)", "libcuda", func(e *gpu.Edits) {
			var kept []gpu.File
			for _, f := range e.Files {
				if !strings.Contains(f.Path, "libcuda") {
					kept = append(kept, f)
				}
			}
			e.Files = kept
		}},
		{"no libraries at all", "libnvidia-ml.so.1", func(e *gpu.Edits) { e.Files = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run, out, err := b.run(t, b.image, tt.change, []string{card + "3"})
			if err == nil {
				t.Fatalf("it ran: %+v\n%s", run.Wait(), out)
			}
			if !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
				t.Errorf("%v; want %q; %s", err, tt.want, out)
			}
		})
	}
	if run, out, err := b.run(t, b.image, nil, []string{card + "3"}, "missing"); err != nil || run.Wait().Reason != runv1.EndReason_END_REASON_JOB_INVALID {
		t.Errorf("a command that is missing: %v %s", err, out)
	}
	if left := b.engine.Podman(t, "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

// TestDeviceIsTaken takes a device from a running container, as a reload of systemd does
// (toolkit#48): it is noticed within the time of a look, and what came after the last
// good one is known.
func TestDeviceIsTaken(t *testing.T) {
	b := newBench(t, "rtx4090")
	run, out, err := b.run(t, b.image, nil, []string{"GPU-4090aaaa-0000-4000-8000-000000000001"}, "looker", "stay")
	if err != nil {
		t.Fatal(err)
	}
	defer run.Stop()
	began := time.Now()
	for deadline := time.After(90 * time.Second); !oci.LookedAfter(run, began); { // on a busy machine the first looks may be too slow to count
		select {
		case <-run.Done():
			t.Fatalf("it ended with %+v: %s", run.Wait(), out)
		case <-deadline:
			t.Fatal("no look was good")
		case <-time.After(100 * time.Millisecond):
		}
	}
	pid := b.engine.Podman(t, "inspect", "--format", "{{.State.Pid}}", b.engine.Podman(t, "ps", "--quiet"))
	taken := time.Now()
	if err := os.Remove(fmt.Sprintf("/proc/%s/root/dev/nvidia0", pid)); err != nil {
		t.Fatalf("the container's nodes cannot be reached: %v", err)
	}
	select {
	case <-run.Done():
	case <-time.After(90 * time.Second): // several looks: on a busy machine one may be too slow to count
		t.Fatal("it is not noticed")
	}
	got := run.Wait()
	if got.Reason != runv1.EndReason_END_REASON_PROVIDER_FAILED || !strings.Contains(got.Detail, "/dev/nvidia0 is missing inside") {
		t.Errorf("it ended with %+v", got)
	}
	t.Logf("noticed, and the run ended, after %v", time.Since(taken))
	if !got.UsableUntil.After(began) || !got.UsableUntil.Before(taken) {
		t.Errorf("good until %v after the start, taken %v after it", got.UsableUntil.Sub(began), taken.Sub(began))
	}
}
