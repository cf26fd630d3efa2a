package scheduler

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment"
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
	Lines             payment.Tariff // what is priced beside the time of devices; devices of one class have the same
}

// FloorConfig holds what a [Floor] needs.
type FloorConfig struct {
	Devices     []FloorDevice     // of devices with one id, the first counts
	Runners     []marketv1.Runner // in the order they are preferred
	Region      string            // empty: the owner did not say
	Evidence    marketv1.Evidence // the most that an order may want: who wants it finds it out by itself
	CPUMilli    uint32            // cores for all leases together, in thousandths
	RAMBytes    uint64            // host memory for all leases together
	DiskBytes   uint64            // scratch disk for all leases together
	MaxDuration time.Duration     // of one job; 0: no bound
	Unwanted    []string          // extensions that the owner does not want; see [market.Allow]
	HoldFor     time.Duration     // how long a bid is firm; default 3s
	OrderEvery  time.Duration     // pause in which a client earns one more order; default 100ms
	OrderBurst  int               // orders of one client at once; default 20
}

// maxClients bounds the clients whose rate of orders is remembered.
const maxClients = 4096

// FloorBid is what the floor would lease for an order.
type FloorBid struct {
	Class      string // of several, the first
	Devices    []string
	Groups     []FloorGroup   // the devices by class, where they are of several
	Price      uint64         // atoms for one device and hour; of several classes, the dearest
	Tariff     payment.Tariff // what the work costs; Price is its line for device time
	ValidUntil time.Time
	Held       bool // whether the devices are kept for the client until then
	Runner     marketv1.Runner
}

// Occupancy is what a lease takes of the floor.
type Occupancy struct {
	ID      souk.LeaseID
	Client  souk.NodeKey
	Devices []string
	Use     *marketv1.Resources // its share of the host; nil: none
	Until   time.Time           // when [Floor.Expire] reports it
}

// Floor is a provider's devices with the leases and holds on them. What is free
// is always derived from these and never counted, so it cannot become wrong.
type Floor struct {
	cfg      FloorConfig
	leases   map[souk.LeaseID]*occupation
	holds    map[souk.NodeKey]*occupation // one for each client
	kept     map[string]*occupation       // devices that are looked after, by what for; see [Floor.Keep]
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
	f := &Floor{
		cfg:    cfg,
		leases: map[souk.LeaseID]*occupation{},
		holds:  map[souk.NodeKey]*occupation{},
		kept:   map[string]*occupation{},
		orders: market.NewLimiter(cfg.OrderEvery, cfg.OrderBurst, maxClients),
	}
	f.Restock(cfg.Devices)
	return f
}

// Restock replaces the devices for sale; of those with one id the first counts.
// Leases and holds keep what they have: a device that comes back is in its lease.
func (f *Floor) Restock(devices []FloorDevice) {
	seen := map[string]bool{}
	f.cfg.Devices = slices.DeleteFunc(slices.Clone(devices), func(d FloorDevice) bool {
		twice := seen[d.ID]
		seen[d.ID] = true
		return twice
	})
}

// Equip replaces the runners, in the order they are preferred.
func (f *Floor) Equip(runners []marketv1.Runner) { f.cfg.Runners = slices.Clone(runners) }

// Commit gives a lease its devices, and uses up its client's hold. The same
// lease again changes nothing. A device in another lease, or held for another
// client, is refused as TAKEN.
func (f *Floor) Commit(now time.Time, l Occupancy) *market.Refusal { return f.commit(now, l, false) }

// Regain is [Floor.Commit] for a lease of an earlier life whose devices may not show
// yet, as a driver does not answer: they are the lease's when they do.
func (f *Floor) Regain(now time.Time, l Occupancy) *market.Refusal { return f.commit(now, l, true) }

func (f *Floor) commit(now time.Time, l Occupancy, unseen bool) *market.Refusal {
	if _, ok := f.leases[l.ID]; ok {
		return nil
	}
	if f.draining {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DRAINING}
	}
	if late := now.Sub(l.Until); late >= 0 {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EXPIRED, Shortfall: milliseconds(late)}
	}
	var unknown, taken uint64
	busy := f.taken(now, l.Client)
	for i, id := range l.Devices {
		seen := unseen || slices.ContainsFunc(f.cfg.Devices, func(d FloorDevice) bool { return d.ID == id })
		if !seen || slices.Contains(l.Devices[:i], id) {
			unknown++
		} else if busy[id] {
			taken++
		}
	}
	if unknown > 0 || len(l.Devices) == 0 {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DEVICE, Shortfall: max(unknown, 1)}
	}
	if taken > 0 {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_TAKEN, Shortfall: taken}
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

// Free counts, for each class, the devices that no lease, hold or keeping has.
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

// against yields the leases, what is kept, and the live holds of clients other than
// this one.
func (f *Floor) against(now time.Time, client souk.NodeKey) func(func(*occupation) bool) {
	return func(yield func(*occupation) bool) {
		for _, l := range f.leases {
			if !yield(l) {
				return
			}
		}
		for _, k := range f.kept {
			if now.Before(k.until) && !yield(k) {
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
