package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// FloorGroup is the devices of one class in a bid for several.
type FloorGroup struct {
	Class   string
	Devices []string
}

// chooseMixed picks devices of any classes that the order accepts: those that are
// free and by which its longest run is expected to cost least together. Each is
// within the order's price cap.
func (f *Floor) chooseMixed(now time.Time, client souk.NodeKey, o *marketv1.Order) (FloorBid, *market.Refusal) {
	classes := f.mixable(o)
	need, limit := market.Devices(o.GetResources()), o.GetMaxPriceAtomsPerHour()
	busy, free := f.taken(now, client), map[string][]string{}
	var parts []market.Part
	count, price := 0, uint64(0) // the devices of the classes so far, and what the dearest of those needed costs
	for _, class := range classes {
		if count < need {
			price = class[0].PriceAtomsPerHour
		}
		count += len(class)
		if class[0].PriceAtomsPerHour > limit {
			continue
		}
		name := class[0].Class
		for _, d := range class {
			if !busy[d.ID] {
				free[name] = append(free[name], d.ID)
			}
		}
		parts = append(parts, partOf(class, len(free[name])))
	}
	taken, enough := market.Cheapest(parts, need, o.GetMaxDurationMs())
	switch {
	case enough:
		return mixedBid(taken, free), nil
	case count < need:
		return FloorBid{}, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DEVICE, Shortfall: uint64(need - count)}
	case price > limit:
		return FloorBid{}, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PRICE, Shortfall: price - limit}
	}
	for _, ids := range free {
		need -= len(ids)
	}
	return FloorBid{}, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY, Shortfall: uint64(max(need, 1))}
}

// mixable is the devices that an order accepts, by class and cheapest by the hour
// first. A class has one price: of devices that have others, the first count.
func (f *Floor) mixable(o *marketv1.Order) [][]FloorDevice {
	var classes [][]FloorDevice
	for _, class := range f.matching(o) {
		if !slices.ContainsFunc(classes, func(c []FloorDevice) bool { return c[0].Class == class[0].Class }) {
			classes = append(classes, class)
		}
	}
	slices.SortStableFunc(classes, func(a, b []FloorDevice) int { return cmp.Compare(a[0].PriceAtomsPerHour, b[0].PriceAtomsPerHour) })
	return classes
}

// mixedBid bids the first free devices of each part.
func mixedBid(taken []market.Part, free map[string][]string) FloorBid {
	bid := FloorBid{Class: taken[0].Class, Tariff: market.Quote(taken...)}
	for _, p := range taken {
		ids := free[p.Class][:p.Count:p.Count]
		bid.Devices = append(bid.Devices, ids...)
		bid.Price = max(bid.Price, p.Price)
		if len(taken) > 1 {
			bid.Groups = append(bid.Groups, FloorGroup{p.Class, ids})
		}
	}
	return bid
}

// partOf is so many of the devices of one class.
func partOf(class []FloorDevice, count int) market.Part {
	return market.Part{Class: class[0].Class, Count: count, Price: class[0].PriceAtomsPerHour, Lines: class[0].Lines}
}
