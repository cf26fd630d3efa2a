// Package fake makes up devices for tests. Every one of them says so.
package fake

import (
	"context"
	"fmt"

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

// Devices implements [gpu.Probe].
func (p Probe) Devices(context.Context) ([]gpu.Device, error) {
	devices := make([]gpu.Device, p.Count)
	for i := range devices {
		devices[i] = gpu.Device{
			ID:    fmt.Sprintf("GPU-fake-%s-%d", p.Name, i),
			Class: gpu.Class(p.Model), Model: p.Model,
			MemoryBytes: p.MemoryBytes, ComputeCap: p.ComputeCap, Health: gpu.Healthy,
			Evidence: marketv1.Evidence_EVIDENCE_NONE, Simulated: true,
		}
	}
	return devices, nil
}
