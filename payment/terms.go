package payment

import (
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
)

// Terms are what a lease says about money, as both sides meter it. Durations
// count whole milliseconds.
type Terms struct {
	Lease       souk.LeaseID
	Job         souk.JobID
	Channel     souk.ChannelID
	Domain      EIP712Domain
	ProviderKey souk.NodeKey
	ClientKey   souk.NodeKey
	Version     int           // of its receipts: 1 for a lease from before tariffs, else 2
	Tariff      Tariff        // what the work costs
	Devices     []ClassCount  // what is leased, each class once; the name of a single class may be empty
	Interval    time.Duration // running time between receipts
	Grace       time.Duration // how long a receipt may wait for its countersignature
	HoldPaused  time.Duration // how long an unpaid run is kept paused before it ends
	MaxDuration time.Duration // the longest running time
	PayAhead    time.Duration // running time by which vouchers run ahead of receipts
	Reserve     souk.Atoms    // the most the lease may cost
	InputDigest souk.Digest   // zero where there are no inputs
}

// ClassCount is how many devices of a class are leased.
type ClassCount struct {
	Class string
	Count int // at least 1
}

// maxTerm bounds each duration of a lease, so that no sum of them overflows.
const maxTerm = 366 * 24 * time.Hour

// maxDevices bounds the devices of a lease.
const maxDevices = 1 << 16

// Validate tells whether a meter can work by these terms. The errors are
// [ErrMalformed] and, where the tariff has a unit that is not known, a
// [*UnitError].
func (t Terms) Validate() error {
	for i, d := range t.Devices {
		if d.Count < 1 || d.Count > maxDevices || slices.ContainsFunc(t.Devices[:i], func(o ClassCount) bool { return o.Class == d.Class }) {
			return fmt.Errorf("terms: %d devices of class %q: %w", d.Count, d.Class, ErrMalformed)
		}
	}
	switch n := t.DeviceCount(); {
	case n < 1 || n > maxDevices:
		return fmt.Errorf("terms: %d devices: %w", n, ErrMalformed)
	case t.Interval < 100*time.Millisecond:
		return fmt.Errorf("terms: interval %s, at least 100ms: %w", t.Interval, ErrMalformed)
	case t.Reserve < 0:
		return fmt.Errorf("terms: reserve of %d atoms: %w", t.Reserve, ErrMalformed)
	}
	for _, d := range []time.Duration{t.Interval, t.Grace, t.HoldPaused, t.MaxDuration, t.PayAhead} {
		if d < 0 || d > maxTerm {
			return fmt.Errorf("terms: duration %s, at most %s: %w", d, maxTerm, ErrMalformed)
		}
	}
	return t.validateTariff()
}

// validateTariff holds the tariff against the version of the receipts and
// against the classes that are leased.
func (t Terms) validateTariff() error {
	if err := t.Tariff.Validate(); err != nil {
		return fmt.Errorf("terms: %w", err)
	}
	switch {
	case t.Version != 1 && t.Version != 2:
		return fmt.Errorf("terms: receipts of version %d: %w", t.Version, ErrMalformed)
	case t.Version == 1 && (len(t.Tariff) != 1 || t.Tariff[0].Unit != UnitDeviceMs || t.Tariff[0].Per != souk.MillisPerHour):
		return fmt.Errorf("terms: receipts of version 1 count device time alone, by the hour: %w", ErrMalformed)
	}
	priced := make(map[string]bool)
	for _, l := range t.Tariff {
		class := classOf(l.Unit)
		switch kindOf(l.Unit) {
		case deviceTime:
			if len(t.Devices) > 1 {
				return fmt.Errorf("terms: %s prices devices of %d classes: %w", l.Unit, len(t.Devices), ErrMalformed)
			}
		case classTime:
			if len(t.Devices) < 2 || t.count(class) == 0 {
				return fmt.Errorf("terms: %s is not what is leased: %w", l.Unit, ErrMalformed)
			}
			priced[class] = true
		}
	}
	if len(priced) > 0 && len(priced) < len(t.Devices) {
		return fmt.Errorf("terms: %d of %d classes are priced: %w", len(priced), len(t.Devices), ErrMalformed)
	}
	return nil
}

// DeviceCount is how many devices are leased, of all classes.
func (t Terms) DeviceCount() (n int) {
	for _, d := range t.Devices {
		n += d.Count
	}
	return n
}

// count is how many devices of a class are leased.
func (t Terms) count(class string) int {
	for _, d := range t.Devices {
		if d.Class == class {
			return d.Count
		}
	}
	return 0
}

// First is what the first voucher must be worth: the time lines of the tariff
// over one interval and what is paid ahead, or the reserve where that is less.
func (t Terms) First() souk.Atoms {
	none := make([]uint64, len(t.Tariff))
	return t.due(ahead(t.measures(), none, t.Interval.Milliseconds()+t.PayAhead.Milliseconds()))
}

// TimeCost is what the time lines of the tariff come to over so much running time
// of all devices, each rounded up: what is set aside for a lease without
// counters. The error is [souk.ErrOverflow].
func (t Terms) TimeCost(d time.Duration) (sum souk.Atoms, err error) {
	for _, l := range t.measures() {
		most, err := l.Most(l.speed * uint64(d.Milliseconds()))
		if err != nil {
			return 0, err
		}
		if sum, err = sum.Add(most); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// due is the price of what was used of each line, at most the reserve.
func (t *Terms) due(quantities []uint64) souk.Atoms {
	due, err := t.Tariff.Due(quantities)
	if err != nil { // past the range of atoms is past the reserve too
		return t.Reserve
	}
	return min(due, t.Reserve)
}

// measure is a line of the tariff and how it is counted.
type measure struct {
	Line
	kind  unitKind
	speed uint64 // units in one millisecond; 0 for a counter
}

// measures are the lines of the tariff as they are counted.
func (t Terms) measures() []measure {
	out := make([]measure, len(t.Tariff))
	for i, l := range t.Tariff {
		out[i] = measure{Line: l, kind: kindOf(l.Unit)}
		switch out[i].kind {
		case deviceTime, reservedTime:
			out[i].speed = uint64(t.DeviceCount())
		case classTime:
			out[i].speed = uint64(t.count(classOf(l.Unit)))
		}
	}
	return out
}

// need is what vouchers must be worth for the lease once a receipt says that
// such quantities were used: what is paid ahead included, but never below the
// first voucher nor above the reserve. Lines are the tariff's.
func (t *Terms) need(lines []measure, first souk.Atoms, quantities []uint64) souk.Atoms {
	if t.PayAhead > 0 {
		quantities = ahead(lines, quantities, t.PayAhead.Milliseconds())
	}
	return max(first, t.due(quantities))
}

// ahead are the quantities after so many more milliseconds of running time.
func ahead(lines []measure, quantities []uint64, ms int64) []uint64 {
	out := slices.Clone(quantities)
	for i, l := range lines {
		out[i] += l.speed * uint64(ms)
	}
	return out
}
