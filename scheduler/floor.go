package scheduler

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// FloorDevice is one device for sale.
type FloorDevice struct {
	ID                string // stable and unique on the floor
	Class             string // devices of one class share a price and are leased together
	Model             string
	MemoryBytes       uint64
	ComputeCap        uint32 // times ten; 0 for the processor
	CPU               bool
	PriceAtomsPerHour uint64
}

// FloorConfig holds what a [Floor] needs.
type FloorConfig struct {
	Devices     []FloorDevice     // of devices with one id, the first counts
	Runners     []marketv1.Runner // in the order they are preferred
	Region      string            // empty: the owner did not say
	Evidence    marketv1.Evidence // of every device
	CPUMilli    uint32            // cores for all leases together, in thousandths
	RAMBytes    uint64            // host memory for all leases together
	DiskBytes   uint64            // scratch disk for all leases together
	MaxDuration time.Duration     // of one job; 0: no bound
	HoldFor     time.Duration     // how long a bid is firm; default 3s
	OrderEvery  time.Duration     // pause in which a client earns one more order; default 100ms
	OrderBurst  int               // orders of one client at once; default 20
}

// maxClients bounds the clients whose rate of orders is remembered.
const maxClients = 4096

// Refusal is why the floor cannot take an order or a lease.
type Refusal struct {
	Reason    marketv1.DeclineReason
	Shortfall uint64 // in the reason's unit
	Detail    string // one line for people; may be empty
}

// FloorBid is what the floor would lease for an order.
type FloorBid struct {
	Class      string
	Devices    []string
	Price      uint64 // atoms for one device and hour
	ValidUntil time.Time
	Held       bool // whether the devices are kept for the client until then
	Runner     marketv1.Runner
}

// Lease is what [Floor.Commit] needs of a lease.
type Lease struct {
	ID      souk.LeaseID
	Client  souk.NodeKey
	Devices []string
	Use     *marketv1.Resources // its share of the host; nil: none
	Until   time.Time           // when [Floor.Expire] reports it
}

// Floor is a provider's devices with the leases and holds on them. What is free
// is always derived from these, so it cannot drift.
type Floor struct {
	cfg      FloorConfig
	leases   map[souk.LeaseID]*occupation
	holds    map[souk.NodeKey]*occupation // one for each client
	orders   *market.Limiter
	draining bool
}

// occupation is a lease or a hold: devices and a share of the host.
type occupation struct {
	client   souk.NodeKey
	devices  []string
	use      share
	until    time.Time
	reported bool // a lease that Expire has named
}

// share is a part of the host.
type share struct{ cpu, ram, disk uint64 }

func shareOf(r *marketv1.Resources) share {
	return share{uint64(r.GetCpuMilli()), r.GetMemoryBytes(), r.GetDiskBytes()}
}

func (s share) plus(t share) share { return share{s.cpu + t.cpu, s.ram + t.ram, s.disk + t.disk} }

// NewFloor returns a floor on which everything is free.
func NewFloor(cfg FloorConfig) *Floor {
	cfg.HoldFor = cmp.Or(cfg.HoldFor, 3*time.Second)
	cfg.OrderEvery = cmp.Or(cfg.OrderEvery, 100*time.Millisecond)
	cfg.OrderBurst = cmp.Or(cfg.OrderBurst, 20)
	seen := map[string]bool{}
	cfg.Devices = slices.DeleteFunc(slices.Clone(cfg.Devices), func(d FloorDevice) bool {
		twice := seen[d.ID]
		seen[d.ID] = true
		return twice
	})
	return &Floor{
		cfg:    cfg,
		leases: map[souk.LeaseID]*occupation{},
		holds:  map[souk.NodeKey]*occupation{},
		orders: market.NewLimiter(cfg.OrderEvery, cfg.OrderBurst, maxClients),
	}
}

// Bid answers an order from what is free now. For a funded client it keeps the
// devices until ValidUntil, one hold for each client: a new one replaces the
// last. For a stranger nothing is kept.
func (f *Floor) Bid(now time.Time, client souk.NodeKey, o *marketv1.Order, funded bool) (FloorBid, *Refusal) {
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
func (f *Floor) admit(now time.Time, client souk.NodeKey, o *marketv1.Order) *Refusal {
	r := o.GetResources()
	if f.draining {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DRAINING}
	}
	if wait := f.orders.Allow(now, client); wait > 0 {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_RATE, Shortfall: milliseconds(wait)}
	}
	if late := now.Sub(time.UnixMilli(o.GetDeadlineMs())); late > market.Skew {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EXPIRED, Shortfall: milliseconds(late)}
	}
	if _, ok := f.runner(r); !ok {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_RUNNER}
	}
	if len(r.GetRegions()) > 0 && !slices.Contains(r.GetRegions(), f.cfg.Region) {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_REGION, Detail: f.cfg.Region}
	}
	if max := uint64(f.cfg.MaxDuration.Milliseconds()); max > 0 && o.GetMaxDurationMs() > max {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DURATION, Shortfall: o.GetMaxDurationMs() - max}
	}
	if f.cfg.Evidence < r.GetMinEvidence() {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EVIDENCE, Detail: market.EvidenceName(f.cfg.Evidence)}
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
func (f *Floor) fits(want, used share, detail string) *Refusal {
	for _, h := range []struct {
		want, used, all uint64
		reason          marketv1.DeclineReason
	}{
		{want.cpu, used.cpu, uint64(f.cfg.CPUMilli), marketv1.DeclineReason_DECLINE_REASON_CPU},
		{want.ram, used.ram, f.cfg.RAMBytes, marketv1.DeclineReason_DECLINE_REASON_MEMORY},
		{want.disk, used.disk, f.cfg.DiskBytes, marketv1.DeclineReason_DECLINE_REASON_DISK},
	} {
		if free := h.all - min(h.used, h.all); h.want > free {
			return &Refusal{Reason: h.reason, Shortfall: h.want - free, Detail: detail}
		}
	}
	return nil
}

// choose picks the cheapest class that can serve the order, and in it the first
// free devices. Otherwise it refuses for the class that came nearest.
func (f *Floor) choose(now time.Time, client souk.NodeKey, o *marketv1.Order) (FloorBid, *Refusal) {
	need := market.Devices(o.GetResources())
	nearest, nearness := &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DEVICE, Shortfall: uint64(need)}, 0
	refuse := func(stage int, reason marketv1.DeclineReason, short uint64) {
		if stage > nearness || stage == nearness && short < nearest.Shortfall {
			nearest, nearness = &Refusal{Reason: reason, Shortfall: short}, stage
		}
	}
	busy := f.taken(now, client)
	for _, class := range f.matching(o.GetResources()) {
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
		case len(free) < need:
			refuse(2, marketv1.DeclineReason_DECLINE_REASON_BUSY, uint64(need-len(free)))
		default:
			return FloorBid{Class: class[0].Class, Devices: free[:need:need], Price: price}, nil
		}
	}
	return FloorBid{}, nearest
}

// matching groups the devices that r accepts by class, cheapest class first.
func (f *Floor) matching(r *marketv1.Resources) [][]FloorDevice {
	var classes [][]FloorDevice
	for _, d := range f.cfg.Devices {
		if !accepts(r, d) {
			continue
		}
		i := slices.IndexFunc(classes, func(c []FloorDevice) bool {
			return c[0].Class == d.Class && c[0].PriceAtomsPerHour == d.PriceAtomsPerHour
		})
		if i < 0 {
			classes = append(classes, []FloorDevice{d})
		} else {
			classes[i] = append(classes[i], d)
		}
	}
	slices.SortStableFunc(classes, func(a, b []FloorDevice) int {
		return cmp.Compare(a[0].PriceAtomsPerHour, b[0].PriceAtomsPerHour)
	})
	return classes
}

func accepts(r *marketv1.Resources, d FloorDevice) bool {
	return market.AcceptsClass(r, d.Class) &&
		d.MemoryBytes >= r.GetVramMinBytes() && (r.GetVramMaxBytes() == 0 || d.MemoryBytes <= r.GetVramMaxBytes()) &&
		d.ComputeCap >= r.GetComputeCapMin() && (r.GetComputeCapMax() == 0 || d.ComputeCap <= r.GetComputeCapMax())
}

// Commit gives a lease its devices, and uses up its client's hold. The same
// lease again changes nothing. A device in another lease, or held for another
// client, is refused as TAKEN.
func (f *Floor) Commit(now time.Time, l Lease) *Refusal {
	if _, ok := f.leases[l.ID]; ok {
		return nil
	}
	if f.draining {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DRAINING}
	}
	if late := now.Sub(l.Until); late >= 0 {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EXPIRED, Shortfall: milliseconds(late)}
	}
	var unknown, taken uint64
	busy := f.taken(now, l.Client)
	for i, id := range l.Devices {
		if !slices.ContainsFunc(f.cfg.Devices, func(d FloorDevice) bool { return d.ID == id }) || slices.Contains(l.Devices[:i], id) {
			unknown++
		} else if busy[id] {
			taken++
		}
	}
	if unknown > 0 || len(l.Devices) == 0 {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DEVICE, Shortfall: max(unknown, 1)}
	}
	if taken > 0 {
		return &Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_TAKEN, Shortfall: taken}
	}
	use := shareOf(l.Use)
	if r := f.fits(use, f.used(now, l.Client), "the rest is leased"); r != nil {
		return r
	}
	delete(f.holds, l.Client)
	f.leases[l.ID] = &occupation{client: l.Client, devices: slices.Clone(l.Devices), use: use, until: l.Until}
	return nil
}

// Release frees the devices of a lease. It tells whether there was one.
func (f *Floor) Release(now time.Time, id souk.LeaseID) bool {
	_, ok := f.leases[id]
	delete(f.leases, id)
	return ok
}

// Extend moves the end of a lease. It tells whether there is one.
func (f *Floor) Extend(id souk.LeaseID, until time.Time) bool {
	l, ok := f.leases[id]
	if ok {
		l.until, l.reported = until, false
	}
	return ok
}

// Expire ends the holds whose time is over and names, once, the leases whose
// time is. These keep their devices until [Floor.Release]: only the caller knows
// when nothing runs on them any more.
func (f *Floor) Expire(now time.Time) []souk.LeaseID {
	maps.DeleteFunc(f.holds, func(_ souk.NodeKey, h *occupation) bool { return !now.Before(h.until) })
	f.orders.Forget(now)
	var over []souk.LeaseID
	for id, l := range f.leases {
		if !l.reported && !now.Before(l.until) {
			l.reported = true
			over = append(over, id)
		}
	}
	slices.SortFunc(over, func(a, b souk.LeaseID) int {
		return cmp.Or(f.leases[a].until.Compare(f.leases[b].until), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	return over
}

// Next is when [Floor.Expire] has something to do; false when nothing waits.
func (f *Floor) Next() (at time.Time, ok bool) {
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	for _, h := range f.holds {
		sooner(h.until)
	}
	for _, l := range f.leases {
		if !l.reported {
			sooner(l.until)
		}
	}
	return at, ok
}

// Free counts, for each class, the devices that no lease or hold has.
func (f *Floor) Free(now time.Time) map[string]int {
	busy, free := f.taken(now, souk.NodeKey{}), map[string]int{}
	for _, d := range f.cfg.Devices {
		if busy[d.ID] {
			free[d.Class] += 0
		} else {
			free[d.Class]++
		}
	}
	return free
}

// Holder is the lease that has a device.
func (f *Floor) Holder(device string) (souk.LeaseID, bool) {
	for id, l := range f.leases {
		if slices.Contains(l.devices, device) {
			return id, true
		}
	}
	return souk.LeaseID{}, false
}

// Drain refuses all orders and new leases from now on; those there are stay.
func (f *Floor) Drain() { f.draining = true }

// taken is the devices that client cannot have: those in leases and in the live
// holds of others.
func (f *Floor) taken(now time.Time, client souk.NodeKey) map[string]bool {
	taken := map[string]bool{}
	for o := range f.against(now, client) {
		for _, d := range o.devices {
			taken[d] = true
		}
	}
	return taken
}

// used is the share of the host that client cannot have.
func (f *Floor) used(now time.Time, client souk.NodeKey) (sum share) {
	for o := range f.against(now, client) {
		sum = sum.plus(o.use)
	}
	return sum
}

// against yields the leases, and the live holds of clients other than this one.
func (f *Floor) against(now time.Time, client souk.NodeKey) func(func(*occupation) bool) {
	return func(yield func(*occupation) bool) {
		for _, l := range f.leases {
			if !yield(l) {
				return
			}
		}
		for owner, h := range f.holds {
			if owner != client && now.Before(h.until) && !yield(h) {
				return
			}
		}
	}
}
