package nvml_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/nvml"
)

// shared is what every container of the driver has.
const shared = "/dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidiactl"

// pathsOf are the nodes of edits as a container sees them, in order.
func pathsOf(e gpu.Edits) string {
	var all []string
	for _, n := range e.Nodes {
		all = append(all, n.Path)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestEdits gives one of several devices to a container, and no other.
func TestEdits(t *testing.T) {
	for _, tt := range []struct {
		scenario string
		ids      []string
		want     string
	}{
		{"rtx4090", []string{"GPU-4090aaaa-0000-4000-8000-000000000001"}, "/dev/nvidia0"},
		{"dgxh100", []string{"GPU-d6100000-0000-4000-8000-000000000002", "GPU-d6100000-0000-4000-8000-000000000005"}, "/dev/nvidia2 /dev/nvidia5"},
		{"mig", []string{"MIG-a1000000-0000-4000-8000-000000000201"}, "/dev/nvidia-caps/nvidia-cap18 /dev/nvidia-caps/nvidia-cap19 /dev/nvidia0"},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			at := installed(t, tt.scenario)
			machineWith(t, tt.scenario, "nodes 1")
			e, err := probe.Edits(t.Context(), tt.ids)
			if err != nil {
				t.Fatal(err)
			}
			want := append(strings.Fields(shared), strings.Fields(tt.want)...)
			slices.Sort(want)
			if got := pathsOf(e); got != strings.Join(want, " ") {
				t.Errorf("nodes %s, want %s", got, want)
			}
			var files []string
			for _, f := range e.Files {
				files = append(files, f.Path)
				if !strings.HasPrefix(f.Host, at.Root+"/") {
					t.Errorf("%s is not of the driver", f.Host)
				}
			}
			slices.Sort(files)
			if !slices.Equal(files, []string{"/.souk/driver/libcuda.so", "/.souk/driver/libcuda.so.1", "/.souk/driver/libnvidia-ml.so.1"}) || e.Folder != gpu.DriverFolder || len(e.Env) != 0 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestEditsAreNotMade has what keeps a device from a container: each is told.
func TestEditsAreNotMade(t *testing.T) {
	const id = "GPU-4090aaaa-0000-4000-8000-000000000001"
	for _, tt := range []struct {
		name, line, id, want string
		spoil                func(i string) string // what is removed
	}{
		{"another device", "", "GPU-4090aaaa-0000-4000-8000-000000000009", "does not know it", nil},
		{"all devices", "", "all", "does not know it", nil},
		{"a number", "", "0", "does not know it", nil},
		{"driver and library of two versions", "init 18", id, "reboot the machine", nil}, // toolkit#394
		{"a library that ends the process", "crash nvmlDeviceGetMinorNumber", id, "ended", nil},
		{"no node", "", id, "no device node", func(i string) string { return i + "/nodes/dev/nvidia0" }},
		{"no libcuda", "", id, "libcuda is not found", func(i string) string { return i + "/driver/usr/lib64/libcuda.so.550.54.15" }}, // gvisor#13060
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := installed(t, "rtx4090")
			if tt.line != "" {
				machineWith(t, "rtx4090", tt.line)
			}
			if tt.spoil != nil {
				if err := os.Remove(tt.spoil(filepath.Dir(i.Root))); err != nil {
					t.Fatal(err)
				}
			}
			if e, err := probe.Edits(t.Context(), []string{tt.id}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v; want %q", e, err, tt.want)
			}
		})
	}
}

// machineWith is a machine with lines put before its first card.
func machineWith(t *testing.T, scenario, line string) {
	t.Helper()
	path := machine(t, scenario)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	play(t, path, append([]byte(line+"\n"), text...))
}

// TestEditsOfAHangingDriver is over within the time that is given.
func TestEditsOfAHangingDriver(t *testing.T) {
	installed(t, "rtx4090")
	machineWith(t, "rtx4090", "hang nvmlDeviceGetHandleByUUID")
	hanging := probe
	hanging.Timeout = 300 * time.Millisecond
	began := time.Now()
	if e, err := hanging.Edits(t.Context(), []string{"GPU-4090aaaa-0000-4000-8000-000000000001"}); err == nil || !strings.Contains(err.Error(), "did not answer") || time.Since(began) > 5*time.Second {
		t.Errorf("%+v, %v after %v", e, err, time.Since(began))
	}
}

// TestEditsAreMadeAnew has a list that names a node that is gone (toolkit#885, #46):
// it is made once more, and then refused with the node's name.
func TestEditsAreMadeAnew(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "starts")
	answer := func(host string) string {
		return fmt.Sprintf(`{"edits":{"Nodes":[{"Host":"%s","Path":"/dev/nvidia0"}],"Files":null,"Env":null,"Folder":""}}`, host)
	}
	for _, tt := range []struct{ second, want string }{{"/dev/null", ""}, {"/dev/nvidia-gone", "the device node /dev/nvidia-gone is gone"}} {
		script := fmt.Sprintf(`read order; if test -e %s; then echo '%s'; else touch %s; echo '%s'; fi`, gone, answer(tt.second), gone, answer("/dev/nvidia-gone"))
		p := nvml.Probe{EditsCommand: []string{"/bin/sh", "-c", script}}
		e, err := p.Edits(t.Context(), []string{"GPU-1"})
		if tt.want == "" && (err != nil || len(e.Nodes) != 1 || e.Nodes[0].Host != "/dev/null") || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v, %v; want %q", e, err, tt.want)
		}
		if err := os.Remove(gone); err != nil {
			t.Error(err)
		}
	}
}

// TestEditsChildren has children that answer wrongly.
func TestEditsChildren(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"it shows the host", `read o; echo '{"edits":{"Nodes":null,"Files":[{"Host":"/","Path":"/host"}],"Env":null,"Folder":""}}'`, "no file for a container"},
		{"it says more", `read o; echo '{"edits":{},"hooks":[]}'`, "unknown field"},
		{"it says two things", `read o; echo '{"edits":{}} {}'`, "more than one"},
		{"it fails with a riddle", `read o; printf '{"edits":{},"error":"\\u001b[2J"}\n'`, "does not say why"},
		{"it ends", `exit 3`, "ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := nvml.Probe{EditsCommand: []string{"/bin/sh", "-c", tt.script}}
			if e, err := p.Edits(t.Context(), []string{"GPU-1"}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

// TestLibraryOfAnotherVersion has a driver that was updated under the library that is
// loaded (toolkit#394).
func TestLibraryOfAnotherVersion(t *testing.T) {
	path := machine(t, "rtx4090")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	play(t, path, []byte(strings.Replace(string(text), "library 12.550.54.15", "library 12.560.28.03", 1)))
	devices, err := probe.Devices(t.Context())
	if err != nil || len(devices) != 1 || !strings.Contains(devices[0].Health, "reboot") || devices[0].Failed {
		t.Errorf("%+v, %v", devices, err)
	}
}
