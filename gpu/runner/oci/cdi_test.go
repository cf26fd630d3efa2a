package oci

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/gpu/runner/gate"
)

// hooked is a maker whose hooks an engine runs.
type hooked struct {
	fake.Probe
	err error
}

func (h hooked) HooksRefusal(context.Context) error { return h.err }

func TestDevicesByTheEngine(t *testing.T) {
	e := gpu.Edits{CDI: []string{"nvidia.com/gpu=GPU-1"}}
	for _, tt := range []struct {
		name  string
		facts Facts
		hole  error
		want  string // why not
	}{
		{"Docker", Facts{Version: "28.2.0", Devices: []string{"nvidia.com/gpu=GPU-1"}}, nil, ""},
		{"Docker that does not list its devices", Facts{Version: "29.0.1"}, nil, ""},
		{"Podman", Facts{Podman: true, Version: "5.5.0"}, nil, ""},
		{"an older Docker", Facts{Version: "28.1.1"}, nil, "takes version 28.2"},
		{"an older Podman", Facts{Podman: true, Version: "4.3.1"}, nil, "takes version 5.5"},
		{"one without a version", Facts{Version: "dev"}, nil, "version"},
		{"a list of all alone (toolkit#1895, #1239)", Facts{Version: "28.3.0", Devices: []string{"nvidia.com/gpu=all"}}, nil, "has no nvidia.com/gpu=GPU-1, it has nvidia.com/gpu=all"},
		{"no list", Facts{Version: "28.3.0", Devices: []string{}}, nil, "it has nothing"},
		{"a toolkit with holes", Facts{Version: "28.3.0"}, errors.New("update it"), "update it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.facts.byEngine(t.Context(), gpu.Vendors{hooked{err: tt.hole}}, e)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	if err := (Facts{Version: "28.3.0"}).byEngine(t.Context(), nil, gpu.Edits{}); err == nil {
		t.Error("devices without names are asked for")
	}
}

// TestRequest is the container of a lease whose engine gives the devices: no node and no
// path of a loader is set by us, and the gate is there all the same.
func TestRequest(t *testing.T) {
	f := factsOf(client.ServerVersionResult{Version: "28.3.0"}, system.Info{DiscoveredDevices: []system.DeviceInfo{{Source: "cdi", ID: "nvidia.com/gpu=GPU-1"}, {Source: "other", ID: "x"}}})
	if !slices.Equal(f.Devices, []string{"nvidia.com/gpu=GPU-1"}) {
		t.Errorf("%q", f.Devices)
	}
	c := made(t, typical(), Facts{Default: "runc"}, image{}, identity{user: "7:7"})
	h := &held{edits: gpu.Edits{Nodes: []gpu.Node{{Host: "/dev/nvidia0", Path: "/dev/nvidia0"}}, CDI: []string{"nvidia.com/gpu=GPU-1"}, Folder: gpu.DriverFolder},
		ids: []string{"GPU-1"}, byEngine: true, vendors: "nvidia", kit: &gate.Kit{}, door: &gate.Door{Folder: "/x"}}
	if err := h.apply(&c, image{}, nil); err != nil {
		t.Fatal(err)
	}
	asked := c.HostConfig.DeviceRequests
	if len(c.HostConfig.Devices) != 0 || len(asked) != 1 || asked[0].Driver != "cdi" || asked[0].Count != 0 || !slices.Equal(asked[0].DeviceIDs, h.edits.CDI) ||
		slices.ContainsFunc(c.Config.Env, func(v string) bool { return strings.HasPrefix(v, "LD_LIBRARY_PATH=/") }) || !slices.Contains(c.Config.Cmd, gate.Pass) {
		t.Errorf("%+v\n%+v", c.HostConfig, c.Config)
	}
}
