// Package inventory keeps the devices of this machine as their probes last told,
// and what they measured.
//
// A device that cannot be asked is not gone: it stays in the list with the reason
// why nobody can lease it now. Each change that matters to the market is handed on
// in order, the newest last.
package inventory

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/souk-market/souk/gpu"
)

// KeepSamples is how many samples of one device are kept: a quarter of an hour of
// them, one each second.
const KeepSamples = 900

const (
	pollEvery  = time.Minute
	askWithin  = 20 * time.Second // for one probe that is polled; a driver may hang
	keepAbsent = 15 * time.Minute // samples of a device that is gone

	usedSamples = 60 // that tell whether a device is in use
)

// Watcher is a probe that tells of its devices by itself, whenever they were read.
// Probes that are none are polled.
type Watcher interface {
	// Watch hands see the devices, or why they cannot be read, until ctx ends.
	Watch(ctx context.Context, see func([]gpu.Device, error)) error
}

// Inventory is the devices of all probes. Its methods may be called by any goroutine.
type Inventory struct {
	probes []gpu.Probe
	use    bool // what runs on a device is news to the market
	log    *slog.Logger

	telling sync.Mutex // held while a change is handed on

	mu      sync.Mutex // guards what follows
	found   [][]gpu.Device
	failed  []error // why a probe cannot be asked; nil: it can
	samples map[string]*gpu.History

	incidents map[string][]Seen // by device, oldest first
}

// New returns an inventory that knows of no device yet. With use, what runs on a
// device is handed on as a change.
func New(probes []gpu.Probe, use bool, log *slog.Logger) *Inventory {
	return &Inventory{probes: probes, use: use, log: log, found: make([][]gpu.Device, len(probes)), failed: make([]error, len(probes)),
		samples: map[string]*gpu.History{}, incidents: map[string][]Seen{}}
}

// Read asks every probe once.
func (v *Inventory) Read(ctx context.Context) {
	for i := range v.probes {
		v.ask(ctx, i)
	}
}

// List returns the devices as they were last told.
func (v *Inventory) List() []gpu.Device {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := []gpu.Device{}
	for _, found := range v.found {
		list = append(list, found...)
	}
	return list
}

// Unknown is why there may be devices that the list does not have; nil: there are none.
func (v *Inventory) Unknown() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return errors.Join(v.failed...)
}

// Samples returns what a device measured later than after, oldest first. At most
// [KeepSamples] are kept.
func (v *Inventory) Samples(id string, after time.Time) []gpu.Sample {
	v.mu.Lock()
	defer v.mu.Unlock()
	if h := v.samples[id]; h != nil {
		return h.After(after)
	}
	return nil
}

// Watch keeps the list true until ctx ends, and calls changed when it is another to
// the market. changed is called by one goroutine at a time.
func (v *Inventory) Watch(ctx context.Context, changed func([]gpu.Device)) error {
	g, ctx := errgroup.WithContext(ctx)
	tell := func() {
		v.telling.Lock()
		defer v.telling.Unlock()
		if ctx.Err() == nil {
			changed(v.List())
		}
	}
	for i, p := range v.probes {
		if w, ok := p.(Watcher); ok {
			g.Go(func() error {
				return w.Watch(ctx, func(found []gpu.Device, err error) {
					if v.record(i, found, err) {
						tell()
					}
				})
			})
			continue
		}
		g.Go(func() error {
			poll := time.NewTicker(pollEvery)
			defer poll.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-poll.C:
				}
				if v.ask(ctx, i) {
					tell()
				}
			}
		})
	}
	return g.Wait()
}

// ask asks one probe, and tells whether anything is other than before.
func (v *Inventory) ask(ctx context.Context, i int) (changed bool) {
	within, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	found, err := v.probes[i].Devices(within)
	if err != nil && ctx.Err() != nil {
		return false // we are stopping, and know nothing new
	}
	return v.record(i, found, err)
}

// record notes what a probe told, and tells whether that is news to the market.
func (v *Inventory) record(i int, found []gpu.Device, err error) (changed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch was := v.failed[i]; {
	case err != nil && (was == nil || was.Error() != err.Error()):
		v.log.Warn("devices cannot be asked", "known", len(v.found[i]), "err", err)
	case err == nil && was != nil:
		v.log.Info("devices can be asked again", "count", len(found))
	}
	v.failed[i] = err
	if err != nil {
		found = unasked(v.found[i], err)
	}
	changed = v.notice(v.found[i], found)
	v.keep(found)
	changed = !v.alike(found, v.found[i]) || changed
	v.found[i] = found
	return changed
}

// unasked is devices as they were last known, which nobody can lease now.
func unasked(known []gpu.Device, err error) []gpu.Device {
	now := make([]gpu.Device, len(known))
	for i, d := range known {
		d.Health, d.Failed, d.Now = "it cannot be asked: "+err.Error(), false, gpu.Sample{}
		now[i] = d
	}
	return now
}

// keep adds what devices measured to their histories and tells by them what runs on
// each; it forgets the histories of devices that are gone for long.
func (v *Inventory) keep(found []gpu.Device) {
	for i, d := range found {
		if d.Now.At.IsZero() {
			continue
		}
		h := v.samples[d.ID]
		if h == nil {
			h = gpu.NewHistory(KeepSamples)
			v.samples[d.ID] = h
		}
		h.Add(d.Now)
		found[i].Used = gpu.Use(h.Newest(usedSamples))
		for id, other := range v.samples {
			if last, _ := other.Last(); d.Now.At.Sub(last.At) > keepAbsent {
				delete(v.samples, id)
				delete(v.incidents, id)
			}
		}
	}
}

// alike tells whether two lists are the same to the market.
func (v *Inventory) alike(a, b []gpu.Device) bool {
	if len(a) != len(b) {
		return false
	}
	for i, x := range a {
		y := b[i]
		if x.ID != y.ID || x.Class != y.Class || x.Model != y.Model || x.MemoryBytes != y.MemoryBytes || x.ComputeCap != y.ComputeCap ||
			x.MIG != y.MIG || x.Health != y.Health || x.Failed != y.Failed || x.CPUMilli != y.CPUMilli || v.use && x.Used != y.Used {
			return false
		}
	}
	return true
}
