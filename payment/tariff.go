package payment

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// The units that work is priced in. The meter counts the first two from time;
// all others are counters that the run reports.
const (
	UnitDeviceMs    = "device-ms"     // one device running for a millisecond; "device-ms/<class>" where a lease holds several classes
	UnitReservedMs  = "reserved-ms"   // one device held for a millisecond, from the start of the run
	UnitRequest     = "request"       // one request served
	UnitTokenIn     = "token-in"      // one token read
	UnitTokenCached = "token-cached"  // one token read that was still in the cache
	UnitTokenOut    = "token-out"     // one token written
	UnitEgressByte  = "egress-byte"   // one byte that passed between a job and the hosts that it reaches, either way
	UnitDiskGiBHour = "disk-gib-hour" // one GiB kept for an hour
)

const (
	// MaxLines bounds a tariff, and with it a receipt.
	MaxLines = 16
	// maxUnitBytes bounds the name of a unit.
	maxUnitBytes = 80
)

// Line prices one unit of work.
type Line struct {
	Unit  string
	Price uint64 // atoms that Per units cost
	Per   uint64 // at least 1
}

// Tariff is what work costs, line by line. A unit is in at most one line, and
// what is not in any line is free.
type Tariff []Line

// UnitError names a unit that this program does not know, and so cannot agree
// to be paid or to pay by.
type UnitError struct{ Unit string }

func (e *UnitError) Error() string { return fmt.Sprintf("tariff: unit %q is not known", e.Unit) }

// HourlyTariff prices device time alone, at so many atoms for one device for
// one hour.
func HourlyTariff(atoms uint64) Tariff { return Tariff{{UnitDeviceMs, atoms, souk.MillisPerHour}} }

// Hourly is what one device costs for one hour, rounded down; for a tariff with
// several classes of device, the dearest of them. It is 0 where device time is
// free, and at most the largest uint64.
func (t Tariff) Hourly() (atoms uint64) {
	for _, l := range t {
		if l.Unit != UnitDeviceMs && !strings.HasPrefix(l.Unit, UnitDeviceMs+"/") || l.Per == 0 {
			continue
		}
		atoms = max(atoms, mulDiv(l.Price, souk.MillisPerHour, l.Per))
	}
	return atoms
}

// Counts tells whether a line has a price for what the run reports, so that no
// time bounds what a lease costs.
func (t Tariff) Counts() bool {
	return slices.ContainsFunc(t, func(l Line) bool { return l.Price > 0 && kindOf(l.Unit) == counter })
}

// Validate checks that a tariff can be metered. The errors are [ErrMalformed]
// and a [*UnitError].
func (t Tariff) Validate() error {
	if len(t) == 0 || len(t) > MaxLines {
		return fmt.Errorf("tariff: %d lines, not 1 to %d: %w", len(t), MaxLines, ErrMalformed)
	}
	for i, l := range t {
		switch {
		case len(l.Unit) > maxUnitBytes:
			return fmt.Errorf("tariff: a unit of %d bytes, at most %d: %w", len(l.Unit), maxUnitBytes, ErrMalformed)
		case l.Per == 0:
			return fmt.Errorf("tariff: %q is priced per 0: %w", l.Unit, ErrMalformed)
		case slices.ContainsFunc(t[:i], func(o Line) bool { return o.Unit == l.Unit }):
			return fmt.Errorf("tariff: two lines for %q: %w", l.Unit, ErrMalformed)
		case kindOf(l.Unit) == unknownUnit:
			return &UnitError{l.Unit}
		}
	}
	return nil
}

// Known tells whether this program knows the unit of a line.
func (l Line) Known() bool { return kindOf(l.Unit) != unknownUnit }

// Due is the price of a quantity, the floor of quantity × price / per, computed
// with 128 bits. The error is [souk.ErrOverflow].
func (l Line) Due(quantity uint64) (souk.Atoms, error) {
	hi, lo := bits.Mul64(quantity, l.Price)
	if hi >= l.Per {
		return 0, souk.ErrOverflow
	}
	q, _ := bits.Div64(hi, lo, l.Per)
	return atoms(q)
}

// Most is the price of a quantity rounded up: what must be set aside for it. The
// error is [souk.ErrOverflow].
func (l Line) Most(quantity uint64) (souk.Atoms, error) {
	hi, lo := bits.Mul64(quantity, l.Price)
	if hi >= l.Per {
		return 0, souk.ErrOverflow
	}
	q, rest := bits.Div64(hi, lo, l.Per)
	due, err := atoms(q)
	if err != nil || rest == 0 {
		return due, err
	}
	return due.Add(1)
}

// Due is the price of quantities, one for each line: the sum of the lines' own.
// The error is [souk.ErrOverflow].
func (t Tariff) Due(quantities []uint64) (sum souk.Atoms, err error) {
	for i, l := range t {
		due, err := l.Due(quantities[i])
		if err != nil {
			return 0, err
		}
		if sum, err = sum.Add(due); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// affords is the largest quantity whose price is at most so many atoms.
func (l Line) affords(n souk.Atoms) uint64 { return mulDiv(uint64(max(0, n)), l.Per, l.Price) }

// mulDiv is the floor of a × b / c, or the largest uint64 where that is less.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// TariffFromProto reads a tariff and validates it.
func TariffFromProto(lines []*marketv1.TariffLine) (Tariff, error) {
	if len(lines) > MaxLines {
		return nil, fmt.Errorf("tariff: %d lines, at most %d: %w", len(lines), MaxLines, ErrMalformed)
	}
	t := make(Tariff, len(lines))
	for i, m := range lines {
		t[i] = Line{m.GetUnit(), m.GetPriceAtoms(), m.GetPer()}
	}
	return t, t.Validate()
}

// Proto are the lines that [TariffFromProto] reads.
func (t Tariff) Proto() []*marketv1.TariffLine {
	lines := make([]*marketv1.TariffLine, len(t))
	for i, l := range t {
		lines[i] = &marketv1.TariffLine{Unit: l.Unit, PriceAtoms: l.Price, Per: l.Per}
	}
	return lines
}

// unitKind says how a unit is counted.
type unitKind uint8

const (
	unknownUnit  unitKind = iota
	deviceTime            // running time of all devices
	classTime             // running time of the devices of one class
	reservedTime          // held time of all devices
	counter               // what the run reports
)

// kindOf tells how a unit is counted.
func kindOf(unit string) unitKind {
	switch unit {
	case UnitDeviceMs:
		return deviceTime
	case UnitReservedMs:
		return reservedTime
	case UnitRequest, UnitTokenIn, UnitTokenCached, UnitTokenOut, UnitEgressByte, UnitDiskGiBHour:
		return counter
	}
	if class := classOf(unit); class != "" {
		return classTime
	}
	return unknownUnit
}

// classOf is the class of a unit of device time, or empty.
func classOf(unit string) string {
	class, ok := strings.CutPrefix(unit, UnitDeviceMs+"/")
	if !ok || strings.ContainsFunc(class, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return class
}
