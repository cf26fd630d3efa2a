package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"google.golang.org/protobuf/proto"
)

// The provider's own spans, as the daemon has them.
const (
	announceEvery = 3 * time.Second
	renewEvery    = 30 * time.Minute
	strikeEvery   = 40 * time.Minute
	fundWithin    = 2 * time.Minute
	sendWithin    = 30 * time.Second
)

// provider sells the devices of a node.
type provider struct {
	n           *node
	devices     []scheduler.FloorDevice
	overcharges bool // its receipts bill more than ran

	// Durable.
	tenancies map[souk.LeaseID]*tenancy
	live      []*tenancy // not ended, in the order they came
	accounts  map[int]*account

	// Volatile.
	floor     *scheduler.Floor
	sequence  uint64
	bids      map[int]*openBid
	nextBid   int
	announces bool              // offers are about to go out
	said      map[string]uint32 // how many devices of each class were free in the last offer
}

// openBid is a bid whose lease may come.
type openBid struct {
	scheduler.FloorBid
	client int
	order  *marketv1.Order
}

func newProvider(n *node) *provider {
	w := n.w
	p := &provider{n: n, tenancies: map[souk.LeaseID]*tenancy{}, accounts: map[int]*account{}, overcharges: w.mishap(0.05)}
	class, memory := "RTX_4090", uint64(24<<30)
	if w.chance(0.3) {
		class, memory = "H100", 80<<30
	}
	p.stock(class, memory, 1+w.rng.IntN(4), 100_000+uint64(w.rng.IntN(4_000_000)))
	if w.chance(0.4) { // a second class, for orders that are mixed
		p.stock("L40S", 48<<30, 1+w.rng.IntN(3), 100_000+uint64(w.rng.IntN(4_000_000)))
	}
	return p
}

// stock adds so many devices of a class.
func (p *provider) stock(class string, memory uint64, count int, perHour uint64) {
	for i := range count {
		p.devices = append(p.devices, scheduler.FloorDevice{ID: fmt.Sprintf("%s-%d-%d", class, p.n.index, i), Class: class,
			Model: "simulated " + class, MemoryBytes: memory, ComputeCap: 89, PriceAtomsPerHour: perHour})
	}
}

func (p *provider) start() {
	p.floor = scheduler.NewFloor(scheduler.FloorConfig{Devices: p.devices, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM},
		Region: "SIM", Evidence: marketv1.Evidence_EVIDENCE_NONE, CPUMilli: 64_000, RAMBytes: 256 << 30, DiskBytes: 1 << 40})
	p.bids = map[int]*openBid{}
	p.sequence, p.announces, p.said = 0, false, map[string]uint32{}
	for _, i := range sortedKeys(p.accounts) {
		p.accounts[i].restore()
	}
	for _, h := range slices.Clone(p.live) {
		if h.restart(); !p.n.up {
			return
		}
	}
	p.announce()
	p.renew()
}

func (p *provider) crash() {
	for _, h := range p.live {
		h.crash()
	}
}

// stop ends what can be ended before the node goes down.
func (p *provider) stop() {
	p.floor.Drain()
	for _, h := range slices.Clone(p.live) {
		h.step(scheduler.ProviderStopping{})
	}
}

// strike is something of the owner's: a device taken back, or a full disk.
func (p *provider) strike() {
	if !p.n.up || len(p.live) == 0 {
		return
	}
	h := p.live[p.n.w.rng.IntN(len(p.live))]
	if p.n.w.chance(0.5) {
		h.step(scheduler.ReclaimAsked{Notice: p.n.w.upTo(time.Minute)})
	} else {
		h.step(scheduler.DiskLow{})
	}
}

// renew offers again before the last offers end.
func (p *provider) renew() {
	p.n.after(renewEvery, "renew", func() { clear(p.said); p.announce(); p.renew() })
}

// announce sends an offer for each class of which not as many devices are free as was
// said, soon: changes that come close together make one offer.
func (p *provider) announce() {
	if p.announces {
		return
	}
	p.announces = true
	p.n.after(announceEvery, "announce", func() {
		p.announces = false
		free := p.floor.Free(p.n.now())
		for i, d := range p.devices {
			said, ok := p.said[d.Class]
			if now := uint32(free[d.Class]); i == 0 || d.Class != p.devices[i-1].Class {
				if !ok || said != now {
					p.said[d.Class] = now
					p.offer(d, now)
				}
			}
		}
	})
}

// offer sends every node an offer of the class of d.
func (p *provider) offer(d scheduler.FloorDevice, free uint32) {
	w, now, count := p.n.w, p.n.now(), uint32(0)
	for _, o := range p.devices {
		if o.Class == d.Class {
			count++
		}
	}
	p.sequence++
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(&marketv1.Offer{Class: d.Class, Epoch: uint64(epoch.UnixMilli()) + uint64(p.n.life),
		Sequence: p.sequence, IssuedMs: now.UnixMilli(), ExpiresMs: now.Add(market.OfferLife).UnixMilli(), Model: d.Model,
		MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap, Count: count, Free: free,
		PriceAtomsPerHour: d.PriceAtomsPerHour, Region: "SIM", Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, Extensions: market.Extensions(),
		Evidence: marketv1.Evidence_EVIDENCE_NONE, CpuMilli: 64_000, RamBytes: 256 << 30, DiskBytes: 1 << 40})
	if err != nil {
		panic(err)
	}
	offer, err := market.OpenOffer(wire.Seal(p.n.key, souk.DomainOffer, payload), now)
	if err != nil {
		w.failf("a provider's own offer is refused: %v", err)
	}
	w.stats.Offers++
	for _, to := range w.nodes {
		p.n.send(to, "offer", func() {
			if _, err := to.book.Put(to.now(), offer); err == nil {
				w.stats.Heard++
			}
		})
	}
}

func (p *provider) account(client *node) *account {
	a := p.accounts[client.index]
	if a == nil {
		a = newAccount(client, p.n, false)
		p.accounts[client.index] = a
	}
	return a
}

// order answers a client's order with a bid or a refusal.
func (p *provider) order(from *node, o *marketv1.Order) (int, *openBid, *market.Refusal) {
	bid, refused := p.floor.Bid(p.n.now(), from.id, o, p.account(from).free() > 0)
	if refused != nil {
		return 0, nil, refused
	}
	p.nextBid++
	b := &openBid{bid, from.index, o}
	p.bids[p.nextBid] = b
	id := p.nextBid
	p.n.at(bid.ValidUntil.Add(market.Skew), "bid ends", func() { delete(p.bids, id) })
	p.sweep()
	return p.nextBid, b, nil
}

// sweep lets the floor end its holds when they are due.
func (p *provider) sweep() {
	if next, ok := p.floor.Next(); ok {
		p.n.at(next, "holds end", func() {
			if over := p.floor.Expire(p.n.now()); len(over) > 0 {
				p.n.w.failf("lease %s has its devices past its end", over[0].Short())
			}
		})
	}
}

// lease answers a lease request: nil is a countersigned lease.
func (p *provider) lease(from *node, req leaseRequest) *market.Refusal {
	if p.tenancies[req.terms.Lease] != nil {
		return nil // asked twice
	}
	now, b := p.n.now(), p.bids[req.bid]
	if b == nil || b.client != from.index || now.After(b.ValidUntil.Add(time.Second)) ||
		!slices.Equal(b.Tariff, req.terms.Tariff) || !slices.Equal(classesOf(b.FloorBid), req.terms.Devices) {
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EXPIRED}
	}
	cfg := scheduler.TenancyConfig{Terms: req.terms, StartBy: req.startBy, Deposit: req.deposit > 0, FundWithin: fundWithin, SendWithin: sendWithin}
	if p.n.w.cfg.fault == waitsForJob {
		cfg.SendWithin = time.Hour
	}
	l := scheduler.Occupancy{ID: req.terms.Lease, Client: from.id, Devices: b.Devices, Use: b.order.Resources, Until: cfg.HeldUntil()}
	refused := p.floor.Commit(now, l)
	if refused != nil && p.n.w.cfg.fault != leasesTwice {
		return refused
	}
	a := p.account(from)
	a.read()
	next := a.Clone()
	err := next.Open(l.ID, req.terms.Reserve, req.deposit)
	if err == nil {
		err = next.Show(l.ID, req.terms.First(), req.voucher)
	}
	if err != nil {
		p.floor.Release(now, l.ID)
		return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT, Detail: err.Error()}
	}
	a.Account = next
	a.check()
	delete(p.bids, req.bid)
	p.n.w.stats.Leases++
	if len(b.Groups) > 0 {
		p.n.w.stats.Mixed++
	}
	h := &tenancy{p: p, client: from, job: req.job, account: a, cfg: cfg, terms: req.terms, occupies: l, deposit: req.deposit, holding: true}
	p.tenancies[l.ID] = h
	p.live = append(p.live, h)
	p.sweep()
	p.announce()
	h.start()
	return nil
}

// free gives a lease's devices back.
func (p *provider) free(h *tenancy) {
	if h.holding {
		h.holding = false
		p.floor.Release(p.n.now(), h.terms.Lease)
		p.announce()
	}
}
