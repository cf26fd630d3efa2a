// Package provider is the role that sells: it offers devices, answers orders and
// leases, and runs what was leased.
//
// What it signs is durable before it leaves. A lease is moved by [scheduler.Tenancy]
// alone, which this package carries out; what a lease needs of money is in package
// money. Nothing of a job runs before its lease is countersigned and backed, and
// every device that is held has an end.
package provider

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"golang.org/x/sync/errgroup"
)

const (
	offerTTL     = 45 * time.Minute
	offerRefresh = 30 * time.Minute
	bidFirm      = 3 * time.Second
	maxBids      = 4096 // out at once, whoever asked: keys cost nothing
)

// Config holds what the provider role needs.
type Config struct {
	Key        ed25519.PrivateKey
	Host       host.Host
	Devices    []gpu.Device                            // as found at the start
	Faults     Faults                                  // what went wrong on devices; nil: nobody tells
	Boot       string                                  // a name of this start of the machine; empty: not known
	Check      func(context.Context, gpu.Device) error // that a device must pass after a fault before it is sold again; nil: what its driver says is enough
	Unseen     bool                                    // there may be devices that were not found then: a driver did not answer
	Prices     map[string]souk.Atoms                   // per device class, for one hour
	Lines      map[string]payment.Tariff               // per device class, what is priced beside device time
	Egress     bool                                    // jobs may reach the hosts that they declare
	WhenIdle   bool                                    // sell a GPU only while nobody beside souk uses it
	Region     string
	Runners    []runner.Runner
	Home       string // lease folders go below jobs/
	RAMBytes   uint64
	DiskBytes  uint64
	Settlement *marketv1.Settlement
	Keys       *money.KeyBinding
	Publish    func(ctx context.Context, class string, envelope []byte) error
	Revoke     func(ctx context.Context, envelope []byte) error

	Ledger    Records
	Channels  *money.Channels
	Receipts  *money.Receipts
	Inputs    Inputs
	Outputs   Outputs
	Domain    payment.EIP712Domain // where vouchers count
	Contracts chain.Contracts
	Keeper    ChainWork
	Waits     *network.Waits
	Provers   Provers          // nil: no challenge is answered
	Rates     ChallengeRates   // of challenges
	Wiper     Wiper            // nil: nothing is wiped between leases
	Times     proof.Times      // of a challenge's steps; default: [proof.DefaultTimes]
	Now       func() time.Time // by which offers are signed
	Space     *disk.Space
	Samples   func(device string, after time.Time) []gpu.Sample // what a device measured later than that, oldest first; nil: nothing
	Log       *slog.Logger
}

// Provider answers orders and leases and runs what was leased. Its floor says
// what is free; nothing here counts.
type Provider struct {
	cfg   Config
	means *means
	key   souk.NodeKey
	epoch uint64
	queue chan *tenancy // leases whose goroutine Run starts

	restored []*tenancy // leases that had not ended before a restart, for Run to start

	accepting sync.Mutex    // one lease is taken at a time: a repeated request finds the first
	dirty     chan struct{} // capacity may have changed: publish offers
	wipe      chan struct{} // a device is free and not clean

	restocked network.Changes // of devices

	mu        sync.Mutex // guards what follows
	devices   []gpu.Device
	floor     *scheduler.Floor
	off       *offSale
	reclaimed map[string]bool          // devices that their owner took back
	bids      map[souk.Digest]*openBid // by the bid's digest, until they lapse
	tenancies map[souk.LeaseID]*tenancy
	sequence  uint64
	draining  bool
	unclean   map[string]string // why a device is not clean, by its id; see markDirty

	challengers, challenges *market.Limiter // of each challenger, and of all
}

// New returns a provider with the leases that had not ended before a restart. Run
// goes on with them.
func New(cfg Config, now time.Time) (*Provider, error) {
	p := &Provider{
		cfg: cfg, devices: cfg.Devices, key: souk.NodeKey(cfg.Key.Public().(ed25519.PublicKey)), epoch: uint64(now.UnixMilli()),
		queue: make(chan *tenancy, 64), dirty: make(chan struct{}, 1), wipe: make(chan struct{}, 1), unclean: map[string]string{},
		bids: map[souk.Digest]*openBid{}, tenancies: map[souk.LeaseID]*tenancy{}, off: newOffSale(), reclaimed: map[string]bool{},
	}
	if p.cfg.Times == (proof.Times{}) {
		p.cfg.Times = proof.DefaultTimes()
	}
	r := cfg.Rates
	p.challengers = market.NewLimiter(cmp.Or(r.Every, 5*time.Minute), cmp.Or(r.Burst, 3), maxChallengers)
	p.challenges = market.NewLimiter(cmp.Or(r.AllEvery, time.Minute), cmp.Or(r.AllBurst, 10), 1)
	p.means = p.meansOf()
	if err := p.off.load(cfg.Ledger); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	p.floor = scheduler.NewFloor(p.floorConfig())
	if err := p.recover(now); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	if err := p.recoverDirty(); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	p.keepDirty(now)
	return p, nil
}

// meansOf is what the provider's tenancies work with.
func (p *Provider) meansOf() *means {
	m := &means{Key: p.cfg.Key, Home: p.cfg.Home, Ledger: p.cfg.Ledger, Channels: p.cfg.Channels, Receipts: p.cfg.Receipts,
		Keeper: p.cfg.Keeper, Inputs: p.cfg.Inputs, Outputs: p.cfg.Outputs, Space: p.cfg.Space, Waits: p.cfg.Waits, Log: p.cfg.Log,
		Runner: p.runner, Devices: p.devicesOf, Broken: p.broken, Ended: p.ended, Free: p.free, Unwanted: unwanted(p.cfg.Egress),
		Telemetry: disk.NewSampleFiles(p.cfg.Home, p.cfg.Space.LedgerRoom), Samples: p.cfg.Samples}
	if m.Samples == nil {
		m.Samples = func(string, time.Time) []gpu.Sample { return nil }
	}
	if p.cfg.Host != nil {
		m.Guard = p.cfg.Host.ConnManager()
	}
	return m
}

// floorConfig lists the devices that have a price, are well and are not their
// owner's: the others are not for sale.
func (p *Provider) floorConfig() scheduler.FloorConfig {
	cfg := scheduler.FloorConfig{Region: p.cfg.Region, Evidence: marketv1.Evidence_EVIDENCE_NONE,
		RAMBytes: p.cfg.RAMBytes, DiskBytes: p.cfg.DiskBytes, HoldFor: bidFirm, Unwanted: unwanted(p.cfg.Egress)}
	if p.cfg.Provers != nil { // what a client's own challenge comes to is for the client to judge
		cfg.Evidence = marketv1.Evidence_EVIDENCE_CHALLENGED
	}
	for _, r := range p.cfg.Runners {
		if a, ok := r.(runner.Absentee); !ok || a.Absent() == nil {
			cfg.Runners = append(cfg.Runners, r.Kind())
		}
	}
	for _, d := range p.devices {
		if d.CPU {
			cfg.CPUMilli = d.CPUMilli
		}
		price, ok := p.cfg.Prices[d.Class]
		if !ok || d.Health != gpu.Healthy || p.withheld(d) || p.reclaimed[d.ID] || p.off != nil && p.off.rows[d.ID] != nil {
			continue
		}
		cfg.Devices = append(cfg.Devices, scheduler.FloorDevice{ID: d.ID, Class: d.Class, Model: d.Model,
			MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap, CPU: d.CPU, PriceAtomsPerHour: uint64(price), Lines: p.cfg.Lines[d.Class]})
	}
	return cfg
}

// unwanted are the extensions that an owner does not want.
func unwanted(egress bool) []string {
	if egress {
		return nil
	}
	return []string{market.ExtensionNetwork}
}

// withheld tells whether a device is left to its owner, who uses it. One in a lease
// is used by that.
func (p *Provider) withheld(d gpu.Device) bool {
	if !p.cfg.WhenIdle || d.Used == "" {
		return false
	}
	if p.floor == nil { // at the start no lease has anything yet
		return true
	}
	_, leased := p.floor.Holder(d.ID)
	return !leased
}

// Withheld is why a device that is well and has a price is left to its owner; empty:
// it is not.
func (p *Provider) Withheld(device string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reclaimed[device] {
		return "you took it back; souk reclaim --return " + device + " sells it again"
	}
	for _, d := range p.devices {
		if d.ID == device && p.withheld(d) {
			return d.Used
		}
	}
	return ""
}

// Run keeps the offers out and runs leases until ctx ends. Then it revokes the
// offers, stops every run and waits for it.
func (p *Provider) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.advertise(ctx) })
	g.Go(func() error { return p.sweep(ctx) })
	g.Go(func() error { return p.watchFaults(ctx) })
	g.Go(func() error { return p.rechecking(ctx) })
	g.Go(func() error { return p.wiping(ctx) })
	for _, h := range p.restored {
		g.Go(func() error { h.run(ctx); return nil })
	}
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case h := <-p.queue:
				g.Go(func() error { h.run(ctx); return nil })
			}
		}
	})
	return g.Wait()
}

// sweep frees holds that lapsed and forgets bids nobody took.
func (p *Provider) sweep(ctx context.Context) error {
	for network.Sleep(ctx, time.Second) {
		p.prune(time.Now())
	}
	return nil
}

// prune frees holds that lapsed, and forgets bids nobody took and leases whose
// clients had time to ask how they ended: the ledger has those.
func (p *Provider) prune(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor.Expire(now)
	for d, b := range p.bids {
		if now.After(b.until.Add(bidFirm)) {
			delete(p.bids, d)
		}
	}
	for id, h := range p.tenancies {
		if rec := h.record(); rec.Phase == runv1.Phase_PHASE_ENDED && now.Sub(rec.Ended) > p.cfg.Waits.Collect {
			delete(p.tenancies, id)
		}
	}
}

// Holder names the lease that has a device, for souk gpus.
func (p *Provider) Holder(device string) (souk.LeaseID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.floor.Holder(device)
}

// Leased tells whether a peer has a lease here that is not forgotten.
func (p *Provider) Leased(client peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.tenancies {
		if h.client == client {
			return true
		}
	}
	return false
}

// runner returns the runner of a kind, or nil.
func (p *Provider) runner(kind marketv1.Runner) runner.Runner {
	for _, r := range p.cfg.Runners {
		if r.Kind() == kind {
			return r
		}
	}
	return nil
}

// devicesOf is what a lease has, as its runner needs it.
func (p *Provider) devicesOf(l *leasev1.Lease) (has []runner.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range l.Devices {
		d := runner.Device{ID: id}
		for _, known := range p.devices {
			if known.ID == id {
				d.Class, d.Vendor = known.Class, known.Vendor
			}
		}
		has = append(has, d)
	}
	return has
}

// Live counts leases that have not ended.
func (p *Provider) Live() (n uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.tenancies {
		if !h.over() {
			n++
		}
	}
	return n
}

// Price is what a device of a class costs for one hour; 0: it is not for sale.
func (p *Provider) Price(class string) souk.Atoms { return p.cfg.Prices[class] }
