package market

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// MaxClasses bounds the classes of one lease, so that its tariff has room for a
// line of device time for each beside all other units.
const MaxClasses = 8

// Part is so many devices of one class, and what each of them costs.
type Part struct {
	Class string
	Count int            // devices
	Price uint64         // atoms for one device and hour
	Lines payment.Tariff // what is priced beside device time
}

// Quote is what devices cost together, line by line: their time, and what else
// their classes price. Each part is of another class. Where there are several, the
// time of each class is a unit of its own; of any other unit that several price,
// the dearest line counts.
func Quote(parts ...Part) (t payment.Tariff) {
	for _, p := range parts {
		time := payment.HourlyTariff(p.Price)
		if len(parts) > 1 {
			time[0].Unit += "/" + p.Class
		}
		t = append(t, time...)
	}
	for _, p := range parts {
		for _, l := range p.Lines {
			i := slices.IndexFunc(t, func(o payment.Line) bool { return o.Unit == l.Unit })
			switch {
			case i < 0:
				t = append(t, l)
			case dearer(l, t[i]):
				t[i] = l
			}
		}
	}
	return t
}

// dearer tells whether a unit costs more by a than by b.
func dearer(a, b payment.Line) bool {
	high, low := bits.Mul64(a.Price, b.Per)
	otherHigh, otherLow := bits.Mul64(b.Price, a.Per)
	return high > otherHigh || high == otherHigh && low > otherLow
}

// classesOf counts the devices of parts as a lease's terms do: a single class has
// no name there.
func classesOf(parts []Part) []payment.ClassCount {
	classes := make([]payment.ClassCount, len(parts))
	for i, p := range parts {
		classes[i].Count = p.Count
		if len(parts) > 1 {
			classes[i].Class = p.Class
		}
	}
	return classes
}

// Cheapest takes need devices of parts, each of another class, so that they cost
// least together if they run for so many milliseconds. What it takes comes cheapest
// by the hour first; of choices that cost the same it makes the one with the fewest
// classes, and then the first. It is false where parts have fewer devices. Of more
// than [MaxClasses] parts only those with the most devices count.
//
// Device time adds up over the classes, and the cheapest devices cost least. The
// dearest line of another unit counts for all devices, so a class with a dear one may
// cost more than it saves: each limit on that is tried.
func Cheapest(parts []Part, need int, durationMs uint64) (best []Part, ok bool) {
	if len(parts) > MaxClasses {
		parts = slices.Clone(parts)
		slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(b.Count, a.Count) })
		parts = parts[:MaxClasses]
	}
	all := UsageOn([]payment.ClassCount{{Count: need}}, durationMs)
	byPrice := slices.Clone(parts)
	slices.SortStableFunc(byPrice, func(a, b Part) int { return cmp.Compare(a.Price, b.Price) })
	var least souk.Atoms
	for _, limit := range byPrice {
		taken, enough := take(byPrice, need, func(p Part) bool { return all.Cost(p.Lines) <= all.Cost(limit.Lines) })
		if !enough {
			continue
		}
		cost := UsageOn(classesOf(taken), durationMs).Cost(Quote(taken...))
		if best == nil || cost < least || cost == least && len(taken) < len(best) {
			best, least = taken, cost
		}
	}
	return best, best != nil
}

// take takes need devices from the parts that are allowed, in their order.
func take(parts []Part, need int, allowed func(Part) bool) (taken []Part, enough bool) {
	for _, p := range parts {
		if p.Count = min(p.Count, need); p.Count > 0 && allowed(p) {
			taken = append(taken, p)
			need -= p.Count
		}
	}
	return taken, need == 0
}
