package market

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Usage is what a job is expected to use, by unit: what it is expected to cost is
// the sum over the lines of a tariff of what their units cost. A unit that is not
// in it is not expected to be used.
type Usage []Quantity

// Quantity is so much of a unit.
type Quantity struct {
	Unit   string
	Amount uint64
}

// UsageOf is what a job with these resources uses if it runs for its longest:
// each of its devices for that long. What no time bounds is not expected.
func UsageOf(r *marketv1.Resources, durationMs uint64) Usage {
	return UsageOn([]payment.ClassCount{{Count: Devices(r)}}, durationMs)
}

// UsageOn is what a job uses of devices if it runs on them for so many milliseconds.
// Where they are of several classes, the time of each class is a unit of its own.
func UsageOn(classes []payment.ClassCount, durationMs uint64) Usage {
	u, all := make(Usage, 0, len(classes)+1), 0
	for _, c := range classes {
		unit := payment.UnitDeviceMs
		if len(classes) > 1 {
			unit += "/" + c.Class
		}
		u = append(u, Quantity{unit, saturated(bits.Mul64(durationMs, uint64(c.Count)))})
		all += c.Count
	}
	return append(u, Quantity{payment.UnitReservedMs, saturated(bits.Mul64(durationMs, uint64(all)))})
}

// Of is how much of a unit is used.
func (u Usage) Of(unit string) uint64 {
	for i := range u {
		if u[i].Unit == unit {
			return u[i].Amount
		}
	}
	return 0
}

// Cost is what u is expected to cost by a tariff, line by line, each as receipts
// bill it; past the range of atoms it is the most there can be.
func (u Usage) Cost(t payment.Tariff) souk.Atoms {
	var sum uint64
	for _, l := range t {
		sum = plus(sum, u.costOf(l))
	}
	return souk.Atoms(min(sum, math.MaxInt64))
}

// costOf is what u costs by one line.
func (u Usage) costOf(l payment.Line) uint64 {
	due, err := l.Due(u.Of(l.Unit))
	if err != nil {
		return math.MaxInt64
	}
	return uint64(due)
}

// Lines is what an offer asks for work: its tariff, or device time alone at its
// price for one hour. Units of a later version may be among them.
func (o *Offer) Lines() payment.Tariff { return linesOf(o.Tariff, o.PriceAtomsPerHour) }

// linesOf is the tariff of a message that has lines or a price by the hour.
func linesOf(lines []*marketv1.TariffLine, perHour uint64) payment.Tariff {
	if len(lines) == 0 {
		return payment.HourlyTariff(perHour)
	}
	t := make(payment.Tariff, len(lines))
	for i, l := range lines {
		t[i] = payment.Line{Unit: l.GetUnit(), Price: l.GetPriceAtoms(), Per: l.GetPer()}
	}
	return t
}

// metersMore tells whether an offer prices more than the time of its devices.
func (o *Offer) metersMore() bool {
	return slices.ContainsFunc(o.Tariff, func(l *marketv1.TariffLine) bool { return l.GetUnit() != payment.UnitDeviceMs })
}

// effective is what one device of an offer costs for one hour if work is as u
// expects: the price by the hour, and its share of what all other lines cost,
// rounded up. It is never below the price by the hour, so that a search by that
// price can stop where no offer can be better.
func (o *Offer) effective(u Usage) uint64 {
	var more uint64
	for _, l := range o.Tariff {
		if unit := l.GetUnit(); unit != payment.UnitDeviceMs {
			more = plus(more, u.costOf(payment.Line{Unit: unit, Price: l.GetPriceAtoms(), Per: l.GetPer()}))
		}
	}
	ms := u.Of(payment.UnitDeviceMs)
	if more == 0 || ms == 0 {
		return plus(o.PriceAtomsPerHour, more)
	}
	high, low := bits.Mul64(more, souk.MillisPerHour)
	low, carry := bits.Add64(low, ms-1, 0)
	if high += carry; high >= ms {
		return math.MaxUint64
	}
	share, _ := bits.Div64(high, low, ms)
	return plus(o.PriceAtomsPerHour, share)
}

// plus is a + b, or the most there can be.
func plus(a, b uint64) uint64 {
	if sum, carry := bits.Add64(a, b, 0); carry == 0 {
		return sum
	}
	return math.MaxUint64
}

func saturated(high, low uint64) uint64 {
	if high > 0 {
		return math.MaxUint64
	}
	return low
}

// tariff checks the lines of an offer. Its line for the time of devices and its
// price by the hour say the same.
func (c *checker) tariff(lines []*marketv1.TariffLine, perHour uint64) {
	if len(lines) > payment.MaxLines {
		c.newer("tariff")
		return
	}
	for i, l := range lines {
		c.that(isUnit(l.GetUnit()) && l.GetPer() > 0, "tariff")
		c.that(!slices.ContainsFunc(lines[:i], func(o *marketv1.TariffLine) bool { return o.GetUnit() == l.GetUnit() }), "tariff")
		if l.GetUnit() == payment.UnitDeviceMs {
			high, low := bits.Mul64(l.GetPriceAtoms(), souk.MillisPerHour)
			wantHigh, wantLow := bits.Mul64(perHour, l.GetPer())
			c.that(high == wantHigh && low == wantLow, "tariff")
		}
	}
}

// isUnit tells whether s can be the name of a unit, of this version or a later one.
func isUnit(s string) bool { return s != "" && isText(s, 80) && !strings.ContainsRune(s, ' ') }

// tariffOfBid reads the tariff of a bid. One with a unit that this build does not
// know is refused by name.
func tariffOfBid(m *marketv1.Bid) (payment.Tariff, error) {
	if m.Version < 2 {
		if len(m.Tariff) > 0 {
			return nil, reject(Malformed, "tariff")
		}
		return payment.HourlyTariff(m.PriceAtomsPerHour), nil
	}
	t, err := payment.TariffFromProto(m.Tariff)
	if r := UnderstandUnits(t); r != nil {
		return nil, r
	}
	if err != nil {
		return nil, reject(Malformed, "%v", err)
	}
	return t, nil
}

// UnderstandUnits refuses a tariff with units that this build does not know, and
// names them.
func UnderstandUnits(t payment.Tariff) *Refusal {
	var unknown []string
	for _, l := range t {
		if !l.Known() {
			unknown = append(unknown, l.Unit)
		}
	}
	return unsupported(unknown)
}
