package inventory

import (
	"slices"
	"time"

	"github.com/souk-market/souk/gpu"
)

// keepIncidents bounds what is remembered of one device that has many.
const keepIncidents = 64

// Seen is an incident of one device.
type Seen struct {
	gpu.Incident
	Device string
	At     time.Time // when it was noticed
	Well   time.Time // when the device was read last before that; zero: it was not
}

// Incidents returns what went wrong on a device and was noticed later than after,
// oldest first. The newest 64 are kept, as long as the device's samples.
func (v *Inventory) Incidents(id string, after time.Time) []Seen {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.incidents[id], func(s Seen) bool { return s.At.After(after) })
	if i < 0 {
		return nil
	}
	return slices.Clone(v.incidents[id][i:])
}

// Sampled tells whether a device was read later than after, or is none that is read
// for what it measures.
func (v *Inventory) Sampled(id string, after time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	h := v.samples[id]
	if h == nil {
		return true
	}
	last, _ := h.Last()
	return last.At.After(after)
}

// notice remembers what went wrong from one listing of a probe to the next, and
// tells whether anything did. It wants mu, and the samples as they were before.
func (v *Inventory) notice(before, after []gpu.Device) (any bool) {
	now := time.Now()
	for _, d := range after {
		if d.Now.At.IsZero() {
			continue
		}
		now = d.Now.At
		i := slices.IndexFunc(before, func(b gpu.Device) bool { return b.ID == d.ID })
		was := gpu.Device{}
		if i >= 0 {
			was = before[i]
		}
		for _, n := range gpu.IncidentsBetween(was, d) {
			v.remember(d.ID, n, d.Now.At)
			any = true
		}
	}
	for _, d := range before {
		if v.samples[d.ID] == nil || slices.ContainsFunc(after, func(a gpu.Device) bool { return a.ID == d.ID }) {
			continue
		}
		n := gpu.IncidentOf(gpu.KindLost)
		n.What, n.OffSale = "it is not there any more", false // nothing is left to sell
		v.remember(d.ID, n, now)
		any = true
	}
	return any
}

func (v *Inventory) remember(id string, n gpu.Incident, at time.Time) {
	s := Seen{Incident: n, Device: id, At: at}
	if h := v.samples[id]; h != nil {
		last, _ := h.Last()
		s.Well = last.At
	}
	kept := append(v.incidents[id], s)
	v.incidents[id] = slices.Clone(kept[max(0, len(kept)-keepIncidents):])
	v.log.Warn("a device has a fault", "gpu", id, "kind", n.Kind, "blame", n.Blame, "what", n.What)
}
