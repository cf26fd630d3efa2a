package scheduler

import (
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Keep takes devices off sale for a while, to look after them: a challenge is
// answered, or memory is wiped. Orders meanwhile are declined as BUSY. It never
// disturbs anybody: where a lease, a live hold or another keeping has one of them, all
// are refused as BUSY, with how many. What was kept for the same before is replaced.
// The keeping ends with [Floor.Unkeep], or by itself at a time.
func (f *Floor) Keep(now time.Time, purpose string, devices []string, until time.Time) *market.Refusal {
	busy := f.taken(now, souk.NodeKey{})
	if k := f.kept[purpose]; k != nil {
		for _, id := range k.devices {
			delete(busy, id)
		}
	}
	var taken uint64
	for _, id := range devices {
		if busy[id] {
			taken++
		}
	}
	if taken > 0 {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY, Shortfall: taken}
	}
	f.kept[purpose] = &occupation{devices: slices.Clone(devices), until: until}
	return nil
}

// Unkeep puts devices back on sale. It tells whether they were kept.
func (f *Floor) Unkeep(purpose string) bool {
	_, ok := f.kept[purpose]
	delete(f.kept, purpose)
	return ok
}

// Keeps tells whether devices are kept for something.
func (f *Floor) Keeps(now time.Time, purpose string) bool {
	k := f.kept[purpose]
	return k != nil && now.Before(k.until)
}

// Idle lists the devices of a class that no lease, hold or keeping has.
func (f *Floor) Idle(now time.Time, class string) (ids []string) {
	busy := f.taken(now, souk.NodeKey{})
	for _, d := range f.cfg.Devices {
		if d.Class == class && !busy[d.ID] {
			ids = append(ids, d.ID)
		}
	}
	return ids
}
