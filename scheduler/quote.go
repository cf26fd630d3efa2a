package scheduler

import (
	"math/bits"
	"slices"

	"github.com/souk-market/souk/payment"
)

// Quote is what devices cost together, line by line: their time, and what else
// their class prices. Where they are of several classes, the time of each class is
// a unit of its own; of any other unit that several price, the dearest line counts.
func Quote(devices []FloorDevice) (t payment.Tariff) {
	several := slices.ContainsFunc(devices, func(d FloorDevice) bool { return d.Class != devices[0].Class })
	for i, d := range devices {
		if slices.ContainsFunc(devices[:i], func(o FloorDevice) bool { return o.Class == d.Class }) {
			continue
		}
		time := payment.HourlyTariff(d.PriceAtomsPerHour)
		if several {
			time[0].Unit += "/" + d.Class
		}
		t = append(t, time...)
	}
	for _, d := range devices {
		for _, l := range d.Lines {
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
