package gpu

// Energy adds up what devices use, from the counters of their drivers. A counter
// that falls was begun anew, and what was used around that is unknown: then, and
// where a device has no counter, so is the sum.
type Energy struct {
	devices map[string]*energyCounter
}

type energyCounter struct {
	first, last uint64
	read, lost  bool
}

// NewEnergy adds up what such devices use from their next samples on.
func NewEnergy(devices []string) *Energy {
	e := &Energy{devices: map[string]*energyCounter{}}
	for _, id := range devices {
		e.devices[id] = &energyCounter{}
	}
	return e
}

// Add takes the next sample of a device.
func (e *Energy) Add(id string, s Sample) {
	c, now := e.devices[id], uint64(0)
	ok := c != nil
	if ok {
		now, ok = s.EnergyMillijoules.Value()
	}
	switch {
	case !ok: // one reading that failed hides nothing: the counter goes on
	case !c.read:
		c.first, c.last, c.read = now, now, true
	case now < c.last:
		c.lost = true
	default:
		c.last = now
	}
}

// Used is what all devices used between their first samples and their last, in
// millijoules; false where it is unknown.
func (e *Energy) Used() (millijoules uint64, known bool) {
	for _, c := range e.devices {
		if !c.read || c.lost {
			return 0, false
		}
		millijoules += c.last - c.first
	}
	return millijoules, len(e.devices) > 0
}
