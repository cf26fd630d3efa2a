package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Bid answers an order from what is free now. For a funded client it keeps the
// devices until ValidUntil, one hold for each client: a new one replaces the
// last. For a stranger nothing is kept.
func (f *Floor) Bid(now time.Time, client souk.NodeKey, o *marketv1.Order, funded bool) (FloorBid, *market.Refusal) {
	if r := f.admit(now, client, o); r != nil {
		return FloorBid{}, r
	}
	use := shareOf(o.GetResources())
	if r := f.fits(use, share{}, ""); r != nil {
		return FloorBid{}, r
	}
	bid, refusal := f.choose(now, client, o)
	if refusal != nil {
		return FloorBid{}, refusal
	}
	if r := f.fits(use, f.used(now, client), "the rest is leased"); r != nil {
		return FloorBid{}, r
	}
	bid.Runner, _ = f.runner(o.GetResources())
	bid.ValidUntil = now.Add(f.cfg.HoldFor)
	if funded {
		bid.Held = true
		f.holds[client] = &occupation{client: client, devices: slices.Clone(bid.Devices), use: use, until: bid.ValidUntil}
	}
	return bid, nil
}

// admit refuses what no device could change.
func (f *Floor) admit(now time.Time, client souk.NodeKey, o *marketv1.Order) *market.Refusal {
	r := o.GetResources()
	if r := market.Understand(o.GetMustUnderstand(), market.OrderExtensions(o)); r != nil {
		return r
	}
	if r := market.Allow(f.cfg.Unwanted, o.GetMustUnderstand(), market.OrderExtensions(o)); r != nil {
		return r
	}
	if f.draining {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DRAINING}
	}
	if wait := f.orders.Allow(now, client); wait > 0 {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_RATE, Shortfall: milliseconds(wait)}
	}
	if late := now.Sub(time.UnixMilli(o.GetDeadlineMs())); late > market.Skew {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EXPIRED, Shortfall: milliseconds(late)}
	}
	if _, ok := f.runner(r); !ok {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_RUNNER}
	}
	if len(r.GetRegions()) > 0 && !slices.Contains(r.GetRegions(), f.cfg.Region) {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_REGION, Detail: f.cfg.Region}
	}
	if max := uint64(f.cfg.MaxDuration.Milliseconds()); max > 0 && o.GetMaxDurationMs() > max {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DURATION, Shortfall: o.GetMaxDurationMs() - max}
	}
	if f.cfg.Evidence < r.GetMinEvidence() {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EVIDENCE, Detail: market.EvidenceName(f.cfg.Evidence)}
	}
	return nil
}

// milliseconds rounds up, so that a shortfall is never shown as none.
func milliseconds(d time.Duration) uint64 {
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
}

// runner is the first of the floor's runners that r accepts.
func (f *Floor) runner(r *marketv1.Resources) (marketv1.Runner, bool) {
	for _, k := range f.cfg.Runners {
		if slices.Contains(r.GetRunners(), k) {
			return k, true
		}
	}
	return 0, false
}

// fits refuses a share of the host that is not there beside what is used.
func (f *Floor) fits(want, used share, detail string) *market.Refusal {
	for _, h := range []struct {
		want, used, all uint64
		reason          marketv1.DeclineReason
	}{
		{want.cpu, used.cpu, uint64(f.cfg.CPUMilli), marketv1.DeclineReason_DECLINE_REASON_CPU},
		{want.ram, used.ram, f.cfg.RAMBytes, marketv1.DeclineReason_DECLINE_REASON_MEMORY},
		{want.disk, used.disk, f.cfg.DiskBytes, marketv1.DeclineReason_DECLINE_REASON_DISK},
	} {
		if free := h.all - min(h.used, h.all); h.want > free {
			return &market.Refusal{Reason: h.reason, Shortfall: h.want - free, Detail: detail}
		}
	}
	return nil
}

// choose picks the class that serves the order for least, by what its longest run
// is expected to cost, and in it the first free devices; of a mixed order, devices of
// several classes. Otherwise it refuses for the class that came nearest.
func (f *Floor) choose(now time.Time, client souk.NodeKey, o *marketv1.Order) (FloorBid, *market.Refusal) {
	if o.GetResources().GetMixed() && o.GetVersion() >= 2 { // the first version has no tariff for several classes
		return f.chooseMixed(now, client, o)
	}
	need := market.Devices(o.GetResources())
	nearest, nearness := &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DEVICE, Shortfall: uint64(need)}, 0
	refuse := func(stage int, reason marketv1.DeclineReason, short uint64) {
		if stage > nearness || stage == nearness && short < nearest.Shortfall {
			nearest, nearness = &market.Refusal{Reason: reason, Shortfall: short}, stage
		}
	}
	busy := f.taken(now, client)
	for _, class := range f.matching(o) {
		price := class[0].PriceAtomsPerHour
		var free []string
		for _, d := range class {
			if !busy[d.ID] {
				free = append(free, d.ID)
			}
		}
		switch {
		case len(class) < need:
			refuse(0, marketv1.DeclineReason_DECLINE_REASON_DEVICE, uint64(need-len(class)))
		case price > o.GetMaxPriceAtomsPerHour():
			refuse(1, marketv1.DeclineReason_DECLINE_REASON_PRICE, price-o.GetMaxPriceAtomsPerHour())
		case o.GetVersion() < 2 && len(class[0].Lines) > 0:
			refuse(1, marketv1.DeclineReason_DECLINE_REASON_PRICE, 0) // who asks in the first version pays for device time alone
		case len(free) < need:
			refuse(2, marketv1.DeclineReason_DECLINE_REASON_BUSY, uint64(need-len(free)))
		default:
			return FloorBid{Class: class[0].Class, Devices: free[:need:need], Price: price, Tariff: market.Quote(partOf(class, need))}, nil
		}
	}
	return FloorBid{}, nearest
}

// matching groups the devices that an order accepts by class, cheapest class first.
func (f *Floor) matching(o *marketv1.Order) [][]FloorDevice {
	var classes [][]FloorDevice
	for _, d := range f.cfg.Devices {
		if !accepts(o.GetResources(), d) {
			continue
		}
		i := slices.IndexFunc(classes, func(c []FloorDevice) bool {
			return c[0].Class == d.Class && c[0].PriceAtomsPerHour == d.PriceAtomsPerHour && slices.Equal(c[0].Lines, d.Lines)
		})
		if i < 0 {
			classes = append(classes, []FloorDevice{d})
		} else {
			classes[i] = append(classes[i], d)
		}
	}
	usage := market.UsageOf(o.GetResources(), o.GetMaxDurationMs())
	slices.SortStableFunc(classes, func(a, b []FloorDevice) int {
		return cmp.Or(cmp.Compare(usage.Cost(market.Quote(partOf(a, 1))), usage.Cost(market.Quote(partOf(b, 1)))), cmp.Compare(a[0].PriceAtomsPerHour, b[0].PriceAtomsPerHour))
	})
	return classes
}

func accepts(r *marketv1.Resources, d FloorDevice) bool {
	return market.AcceptsClass(r, d.Class) &&
		d.MemoryBytes >= r.GetVramMinBytes() && (r.GetVramMaxBytes() == 0 || d.MemoryBytes <= r.GetVramMaxBytes()) &&
		d.ComputeCap >= r.GetComputeCapMin() && (r.GetComputeCapMax() == 0 || d.ComputeCap <= r.GetComputeCapMax())
}
