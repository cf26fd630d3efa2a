package nvml_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/gputest"
	"github.com/souk-market/souk/gpu/nvml"
)

// TestMain makes the test binary its own child, as souk is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe-nvml" {
		os.Exit(nvml.Main(os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

var probe = nvml.Probe{Command: []string{os.Args[0], "probe-nvml"}}

// library builds the stand-in and makes the child use it.
func library(t *testing.T, defines ...string) {
	t.Helper()
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Fatal("no C compiler: apt-get install gcc libc6-dev, or run make test, which does")
	}
	path := filepath.Join(t.TempDir(), "libnvidia-ml.so.1")
	args := []string{"-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", path, "testdata/stub.c"}
	for _, d := range defines {
		args = append(args, "-D"+d)
	}
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	t.Setenv(nvml.LibraryVariable, path)
}

func TestOneDevice(t *testing.T) {
	library(t)
	devices := gputest.Run(t, probe)
	if len(devices) != 1 {
		t.Fatalf("%d devices", len(devices))
	}
	d := devices[0]
	if d.ID != "GPU-11111111-2222-3333-4444-555555555555" || d.Model != "NVIDIA H100 80GB HBM3" || d.Class != "H100" ||
		d.MemoryBytes != 80<<30 || d.ComputeCap != 90 || d.MIG != "" || d.Health != gpu.Healthy || d.CPU || d.Simulated {
		t.Errorf("%+v", d)
	}
}

func TestSlices(t *testing.T) {
	library(t, "MIG")
	devices := gputest.Run(t, probe)
	if len(devices) != 2 {
		t.Fatalf("%d devices: %+v", len(devices), devices)
	}
	for _, d := range devices {
		if d.MIG != "3g.40gb" || d.Class != "H100_MIG_3G_40GB" || d.MemoryBytes != 40<<30 || d.ComputeCap != 90 || !strings.HasPrefix(d.ID, "MIG-") {
			t.Errorf("%+v", d)
		}
	}
}

func TestSickDevice(t *testing.T) {
	library(t, "PENDING")
	if devices := gputest.Run(t, probe); len(devices) != 1 || devices[0].Health == gpu.Healthy {
		t.Errorf("%+v", devices)
	}
}

func TestBrokenLibraries(t *testing.T) {
	for _, tt := range []struct{ define, want string }{
		{"LACKS_NAME", "nvmlDeviceGetName"},
		{"LACKS_INIT", "nvmlInit_v2"},
		{"IS_LOST", "GPU is lost"},
	} {
		t.Run(tt.define, func(t *testing.T) {
			library(t, tt.define)
			devices, err := probe.Devices(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want an error that names %s", devices, err, tt.want)
			}
		})
	}
}

func TestHangingLibrary(t *testing.T) {
	library(t, "HANGS")
	hanging := probe
	hanging.Timeout = 300 * time.Millisecond
	if devices, err := hanging.Devices(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", devices, err)
	}
}

func TestNamedLibraryIsAbsent(t *testing.T) {
	t.Setenv(nvml.LibraryVariable, filepath.Join(t.TempDir(), "none.so"))
	if devices, err := probe.Devices(t.Context()); err == nil {
		t.Errorf("found %v in no library", devices)
	}
}

func TestNoLibrary(t *testing.T) {
	t.Setenv(nvml.LibraryVariable, "")
	if matches, _ := filepath.Glob("/usr/lib*/**/libnvidia-ml.so.1"); len(matches) > 0 {
		t.Skip("this machine has a driver")
	}
	if devices, err := probe.Devices(t.Context()); err != nil || len(devices) != 0 {
		t.Errorf("%v, %v", devices, err)
	}
}

func TestChildren(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"crashes", "kill -SEGV $$", "segmentation fault"},
		{"fails", "echo out of order >&2; exit 3", "out of order"},
		{"babbles", "head -c 2000000 /dev/zero", "more than"},
		{"says nothing", "true", "listing"},
		{"says another thing", `echo '{"devices":[],"more":1}'`, "more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := nvml.Probe{Command: []string{"/bin/sh", "-c", tt.script}}
			devices, err := p.Devices(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want %q", devices, err, tt.want)
			}
		})
	}
}

func TestChildSeesNoPasswords(t *testing.T) {
	t.Setenv("SOUK_PASSWORD", "secret")
	p := nvml.Probe{Command: []string{"/bin/sh", "-c", "env >&2; exit 1"}}
	if _, err := p.Devices(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}
