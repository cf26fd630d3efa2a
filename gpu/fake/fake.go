// Package fake makes up devices for tests. Every one of them says so.
package fake

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/souk-market/souk/gpu"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Probe finds Count devices of one model. The zero value finds none.
type Probe struct {
	Name        string // tells the devices of two probes apart
	Model       string // as a driver would name it
	Count       int
	MemoryBytes uint64
	ComputeCap  uint32 // times ten
}

// Vendor is the name that made-up devices have a vendor by.
const Vendor = "fake"

// Vendor implements [gpu.Vendor].
func (Probe) Vendor() string { return Vendor }

// Edits implements [gpu.Vendor]: each device is the node /dev/fake-NAME-NUMBER, which
// reads as nothing, and all share a library.
func (p Probe) Edits(ctx context.Context, ids []string) (gpu.Edits, error) {
	devices, err := p.Devices(ctx)
	if err != nil {
		return gpu.Edits{}, err
	}
	e := gpu.Edits{Files: []gpu.File{{Host: "/etc/hostname", Path: gpu.DriverFolder + "/libfake.so.1"}}, Folder: gpu.DriverFolder}
	for _, id := range ids {
		if !slices.ContainsFunc(devices, func(d gpu.Device) bool { return d.ID == id }) {
			return gpu.Edits{}, fmt.Errorf("no device %s", id)
		}
		e.Nodes = append(e.Nodes, gpu.Node{Host: "/dev/null", Path: "/dev/" + strings.ReplaceAll(id, "GPU-", "")})
	}
	return e, nil
}

// Devices implements [gpu.Probe].
func (p Probe) Devices(context.Context) ([]gpu.Device, error) {
	devices := make([]gpu.Device, p.Count)
	for i := range devices {
		devices[i] = gpu.Device{
			ID:    fmt.Sprintf("GPU-fake-%s-%d", p.Name, i),
			Class: gpu.Class(p.Model), Vendor: Vendor, Model: p.Model,
			MemoryBytes: p.MemoryBytes, ComputeCap: p.ComputeCap, Health: gpu.Healthy,
			Evidence: marketv1.Evidence_EVIDENCE_NONE, Simulated: true,
		}
	}
	return devices, nil
}

// Inside looks at a container's made-up devices from inside.
func Inside() (s gpu.Seen) {
	found, _ := filepath.Glob("/dev/fake-*")
	for _, path := range found {
		s.Nodes = append(s.Nodes, gpu.SeenNode{Path: path})
		s.IDs = append(s.IDs, "GPU-"+filepath.Base(path))
	}
	return s
}
