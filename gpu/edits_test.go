package gpu_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/fake"
)

// other is a second maker, which knows all devices.
type other struct{ edits gpu.Edits }

func (other) Vendor() string                                       { return "other" }
func (other) Devices(context.Context) ([]gpu.Device, error)        { return nil, nil }
func (o other) Edits(context.Context, []string) (gpu.Edits, error) { return o.edits, nil }

// TestVendors has devices of two makers in one container.
func TestVendors(t *testing.T) {
	made := fake.Probe{Name: "a", Model: "Fake 1", Count: 3, MemoryBytes: 1}
	second := other{gpu.Edits{Nodes: []gpu.Node{{Host: "/dev/null", Path: "/dev/other0"}}, Env: []string{"OTHER=1"}}}
	all := gpu.VendorsOf([]gpu.Probe{made, second})
	e, err := all.Edits(t.Context(), map[string][]string{fake.Vendor: {"GPU-fake-a-0", "GPU-fake-a-2"}, "other": {"x"}})
	want := []gpu.Node{{Host: "/dev/null", Path: "/dev/fake-a-0"}, {Host: "/dev/null", Path: "/dev/fake-a-2"}, {Host: "/dev/null", Path: "/dev/other0"}}
	if err != nil || !slices.Equal(e.Nodes, want) || len(e.Files) != 1 || !slices.Equal(e.Env, []string{"OTHER=1"}) || e.Folder != gpu.DriverFolder {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := all.Edits(t.Context(), nil); err != nil || len(e.Nodes)+len(e.Files)+len(e.Env) != 0 {
		t.Errorf("a job of the processor gets %+v, %v", e, err)
	}
	if _, err := all.Edits(t.Context(), map[string][]string{fake.Vendor: {"GPU-fake-a-9"}}); err == nil {
		t.Error("a device that is not there is given")
	}
	if _, err := all.Edits(t.Context(), map[string][]string{"third": {"y"}}); !errors.Is(err, gpu.ErrNoVendor) {
		t.Errorf("a maker nobody knows: %v", err)
	}
}

func TestEditsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    gpu.Edits
		ok   bool
	}{
		{"nothing", gpu.Edits{}, true},
		{"a node", gpu.Edits{Nodes: []gpu.Node{{Host: "/dev/nvidia0", Path: "/dev/nvidia0"}}}, true},
		{"a node elsewhere", gpu.Edits{Nodes: []gpu.Node{{Host: "/dev/nvidia0", Path: "/nvidia0"}}}, false},
		{"a node by a way around", gpu.Edits{Nodes: []gpu.Node{{Host: "/dev/nvidia0", Path: "/dev/../etc/x"}}}, false},
		{"a node with a colon", gpu.Edits{Nodes: []gpu.Node{{Host: "/dev/nvidia0:/dev/sda", Path: "/dev/nvidia0"}}}, false},
		{"a file", gpu.Edits{Files: []gpu.File{{Host: "/usr/lib/libcuda.so.1", Path: gpu.DriverFolder + "/libcuda.so.1"}}}, true},
		{"a file over /proc", gpu.Edits{Files: []gpu.File{{Host: "/usr/lib/x", Path: "/proc/cpuinfo"}}}, false},
		{"a file in /out", gpu.Edits{Files: []gpu.File{{Host: "/usr/lib/x", Path: "/out/x"}}}, false},
		{"the whole host", gpu.Edits{Files: []gpu.File{{Host: "/", Path: "/host"}}}, false},
		{"a relative path", gpu.Edits{Files: []gpu.File{{Host: "lib", Path: "/lib/x"}}}, false},
		{"half a variable", gpu.Edits{Env: []string{"A"}}, false},
		{"two variables in one", gpu.Edits{Env: []string{"A=1\nB=2"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.e.Validate(); (err == nil) != tt.ok {
				t.Error(err)
			}
		})
	}
}
