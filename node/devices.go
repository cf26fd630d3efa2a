package node

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/network"
)

const (
	probeEvery  = time.Minute
	probeWithin = 15 * time.Second // of all probes together; a driver may hang
)

// devices are those of this machine, read again on a timer: a card that fell off
// its bus tells nobody. One whose probe fails is not there, for what cannot be
// asked must not be sold.
type devices struct {
	probes []gpu.Probe
	log    *slog.Logger

	mu    sync.Mutex // guards found
	found []gpu.Device
}

// List returns the devices as they were last read.
func (d *devices) List() []gpu.Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found
}

// read asks every probe, and tells whether anything is other than before.
func (d *devices) read(ctx context.Context) (changed bool) {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	var found []gpu.Device
	for _, p := range d.probes {
		here, err := p.Devices(ctx)
		if err != nil {
			d.log.Warn("probe devices", "err", err)
			continue
		}
		found = append(found, here...)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = !slices.EqualFunc(found, d.found, alike)
	d.found = found
	return changed
}

// alike tells whether a and b are the same to the market.
func alike(a, b gpu.Device) bool {
	return a.ID == b.ID && a.Class == b.Class && a.Model == b.Model && a.MemoryBytes == b.MemoryBytes && a.ComputeCap == b.ComputeCap &&
		a.MIG == b.MIG && a.Health == b.Health && a.CPUMilli == b.CPUMilli
}

// watch reads the devices until ctx ends, and hands on what changed.
func (d *devices) watch(ctx context.Context, changed func([]gpu.Device)) error {
	for network.Sleep(ctx, probeEvery) {
		if d.read(ctx) && ctx.Err() == nil {
			changed(d.List())
		}
	}
	return nil
}
