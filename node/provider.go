package node

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

const (
	offerTTL     = 45 * time.Minute
	offerRefresh = 30 * time.Minute
	bidFirm      = 3 * time.Second
	maxBids      = 4096                   // out at once, whoever asked: keys cost nothing
	minInterval  = 500 * time.Millisecond // between receipts: below it, signing costs more than it secures
)

// providerConfig holds what the provider role needs.
type providerConfig struct {
	Key        ed25519.PrivateKey
	Host       host.Host
	Devices    []gpu.Device          // as found at the start
	Prices     map[string]souk.Atoms // per device class, for one hour
	Region     string
	Runners    []runner.Runner
	Home       string // lease folders go below jobs/
	RAMBytes   uint64
	DiskBytes  uint64
	Settlement *marketv1.Settlement
	Keys       []byte // our signed key binding
	Publish    func(ctx context.Context, class string, envelope []byte) error
	Revoke     func(ctx context.Context, envelope []byte) error

	Ledger    *ledger.Ledger
	Channels  *channels
	Receipts  *receiptBook
	Files     *files.Files
	Domain    payment.Domain // where vouchers count
	Contracts chain.Contracts
	Keeper    *keeper
	Waits     *waits
	Now       func() time.Time // by which offers are signed
	Space     *space
	Log       *slog.Logger
}

// provider answers orders and leases and runs what was leased. Its floor says
// what is free; nothing here counts.
type provider struct {
	cfg   providerConfig
	key   souk.NodeKey
	epoch uint64
	queue chan *hosting // leases whose goroutine Run starts

	restored []*hosting // leases of an earlier life, for Run to start

	accepting sync.Mutex    // one lease is taken at a time: a repeated request finds the first
	dirty     chan struct{} // capacity may have changed: publish offers

	mu       sync.Mutex // guards what follows
	devices  []gpu.Device
	floor    *scheduler.Floor
	bids     map[souk.Digest]*openBid // by the bid's digest, until they lapse
	hostings map[souk.LeaseID]*hosting
	sequence uint64
	draining bool
}

// openBid is a bid that a lease may still name.
type openBid struct {
	bid    *marketv1.Bid
	order  *market.Order
	client souk.NodeKey
	until  time.Time
}

func newProvider(cfg providerConfig, now time.Time) (*provider, error) {
	p := &provider{
		cfg: cfg, devices: cfg.Devices, key: souk.NodeKey(cfg.Key.Public().(ed25519.PublicKey)), epoch: uint64(now.UnixMilli()),
		queue: make(chan *hosting, 64), dirty: make(chan struct{}, 1),
		bids: map[souk.Digest]*openBid{}, hostings: map[souk.LeaseID]*hosting{},
	}
	p.floor = scheduler.NewFloor(p.floorConfig())
	if err := p.recover(now); err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	return p, nil
}

// floorConfig lists the devices that have a price and are well: the others are
// not for sale.
func (p *provider) floorConfig() scheduler.FloorConfig {
	cfg := scheduler.FloorConfig{Region: p.cfg.Region, Evidence: marketv1.Evidence_EVIDENCE_NONE,
		RAMBytes: p.cfg.RAMBytes, DiskBytes: p.cfg.DiskBytes, HoldFor: bidFirm}
	for _, r := range p.cfg.Runners {
		cfg.Runners = append(cfg.Runners, r.Kind())
	}
	for _, d := range p.devices {
		if d.CPU {
			cfg.CPUMilli = d.CPUMilli
		}
		price, ok := p.cfg.Prices[d.Class]
		if !ok || d.Health != gpu.Healthy {
			continue
		}
		cfg.Devices = append(cfg.Devices, scheduler.FloorDevice{ID: d.ID, Class: d.Class, Model: d.Model,
			MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap, CPU: d.CPU, PriceAtomsPerHour: uint64(price)})
	}
	return cfg
}

// Run keeps the offers out and runs leases until ctx ends. Then it revokes the
// offers, stops every run and waits for it.
func (p *provider) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.advertise(ctx) })
	g.Go(func() error { return p.sweep(ctx) })
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

// advertise publishes the offers that changed, and all of them before they lapse.
// Receivers allow a provider one offer in [market.OfferEvery] after a first
// burst, over all its classes: the pauses here keep to that.
func (p *provider) advertise(ctx context.Context) error {
	refresh := time.NewTicker(offerRefresh)
	defer refresh.Stop()
	defer p.withdraw()
	said := map[string]*marketv1.Offer{} // as last published, by class
	for {
		for _, o := range p.offers(p.cfg.Now(), said) {
			if last := said[o.Class]; last != nil && last.Free == o.Free && last.Count == o.Count {
				continue
			}
			envelope := wire.Seal(p.cfg.Key, souk.DomainOffer, mustMarshal(o))
			if err := p.cfg.Publish(ctx, o.Class, envelope); err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("publish offer", "class", o.Class, "err", err)
			}
			said[o.Class] = o
			if len(said) > market.OfferBurst && !sleep(ctx, market.OfferEvery) {
				return nil
			}
		}
		if !sleep(ctx, market.OfferEvery) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-refresh.C:
			clear(said)
		case <-p.dirty:
		}
	}
}

// withdraw takes our offers back: a stopping node must not be asked.
func (p *provider) withdraw() {
	p.mu.Lock()
	p.draining = true
	p.floor.Drain()
	r := &marketv1.Revocation{Epoch: p.epoch, Sequence: p.sequence, IssuedMs: p.cfg.Now().UnixMilli()}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // the daemon's context has ended
	defer cancel()
	if err := p.cfg.Revoke(ctx, wire.Seal(p.cfg.Key, souk.DomainRevoke, mustMarshal(r))); err != nil {
		p.cfg.Log.Debug("revoke offers", "err", err)
	}
}

// sweep frees holds that lapsed and forgets bids nobody took.
func (p *provider) sweep(ctx context.Context) error {
	for sleep(ctx, time.Second) {
		p.prune(time.Now())
	}
	return nil
}

// prune frees holds that lapsed, and forgets bids nobody took and leases whose
// clients had time to ask how they ended: the ledger has those.
func (p *provider) prune(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.floor.Expire(now)
	for d, b := range p.bids {
		if now.After(b.until.Add(bidFirm)) {
			delete(p.bids, d)
		}
	}
	for id, h := range p.hostings {
		if rec := h.record(); rec.Phase == runv1.Phase_PHASE_ENDED && now.Sub(rec.Ended) > p.cfg.Waits.Collect {
			delete(p.hostings, id)
		}
	}
}

// changed asks for new offers.
func (p *provider) changed() {
	select {
	case p.dirty <- struct{}{}:
	default: // one is asked for already
	}
}

// restock takes the devices as they are now. A lease keeps what it has.
func (p *provider) restock(found []gpu.Device) {
	p.mu.Lock()
	p.devices = found
	p.floor.Restock(p.floorConfig().Devices)
	p.mu.Unlock()
	p.cfg.Log.Info("devices changed", "count", len(found))
	p.changed()
}

// offers builds one offer for each class that is for sale, and one with nothing
// free for each that was said and is gone.
func (p *provider) offers(now time.Time, said map[string]*marketv1.Offer) []*marketv1.Offer {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.floor.Free(now)
	if low, _ := p.cfg.Space.look(); low != nil {
		clear(free) // nobody should ask
	}
	cfg := p.floorConfig()
	byClass := map[string]*marketv1.Offer{}
	var out []*marketv1.Offer
	for _, d := range cfg.Devices {
		o := byClass[d.Class]
		if o == nil {
			p.sequence++
			o = &marketv1.Offer{Class: d.Class, Epoch: p.epoch, Sequence: p.sequence, IssuedMs: now.UnixMilli(),
				ExpiresMs: now.Add(offerTTL).UnixMilli(), Model: d.Model, MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap,
				Free: uint32(free[d.Class]), PriceAtomsPerHour: d.PriceAtomsPerHour, Region: cfg.Region, Runners: cfg.Runners,
				Evidence: cfg.Evidence, CpuMilli: cfg.CPUMilli, RamBytes: cfg.RAMBytes, DiskBytes: cfg.DiskBytes,
				Addresses: shareable(p.cfg.Host)}
			byClass[d.Class] = o
			out = append(out, o)
		}
		o.Count++
	}
	for class, last := range said {
		if byClass[class] == nil && last.Free > 0 {
			p.sequence++
			gone := proto.CloneOf(last)
			gone.Free, gone.Sequence, gone.IssuedMs = 0, p.sequence, now.UnixMilli()
			out = append(out, gone)
		}
	}
	return out
}

// onOrder answers one order with a bid or a decline.
func (p *provider) onOrder(ctx context.Context, s network.Stream) error {
	envelope, err := wire.NewReader(s, MaxOrderBytes).Next()
	if err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	return wire.Write(s, p.answer(time.Now(), s.Conn().RemotePeer(), envelope))
}

func (p *provider) answer(now time.Time, client peer.ID, envelope []byte) *marketv1.OrderReply {
	subject := souk.Digest{}
	decline := func(reason marketv1.DeclineReason, shortfall uint64, detail string) *marketv1.OrderReply {
		d := p.decline(subject, reason, shortfall, detail)
		return &marketv1.OrderReply{Answer: &marketv1.OrderReply_Decline{Decline: d}}
	}
	order, err := market.OpenOrder(envelope, now)
	if err != nil {
		return decline(marketv1.DeclineReason_DECLINE_REASON_MALFORMED, 0, err.Error())
	}
	subject = order.Digest
	if key, err := peerKey(client); err != nil || key != order.Client || souk.NodeKey(order.ProviderKey) != p.key {
		return decline(marketv1.DeclineReason_DECLINE_REASON_MALFORMED, 0, "the order is not from you to me")
	}
	if low := p.cfg.Space.room(diskOf(order.Resources)); low != nil {
		return decline(marketv1.DeclineReason_DECLINE_REASON_DISK, low.short(), "the provider's disk is nearly full")
	}
	rec, known := p.cfg.Channels.with(client.String(), false)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.bids) >= maxBids {
		return decline(marketv1.DeclineReason_DECLINE_REASON_RATE, uint64(bidFirm.Milliseconds()), "too many bids are out")
	}
	got, refusal := p.floor.Bid(now, order.Client, order.Order, known && rec.room() > 0)
	if refusal != nil {
		return decline(refusal.Reason, refusal.Shortfall, refusal.Detail)
	}
	bid := &marketv1.Bid{Order: order.Digest[:], Class: got.Class, Devices: got.Devices, PriceAtomsPerHour: got.Price,
		ValidUntilMs: got.ValidUntil.UnixMilli(), Held: got.Held, Settlement: p.cfg.Settlement, Keys: p.cfg.Keys,
		Runner: got.Runner, MinIntervalMs: uint64(minInterval.Milliseconds())}
	payload := mustMarshal(bid)
	p.bids[sha256.Sum256(payload)] = &openBid{bid: bid, order: order, client: order.Client, until: got.ValidUntil}
	return &marketv1.OrderReply{Answer: &marketv1.OrderReply_Bid{Bid: wire.Seal(p.cfg.Key, souk.DomainBid, payload)}}
}

// decline signs a refusal of the payload with the digest subject; a zero digest
// stands for something that could not be read.
func (p *provider) decline(subject souk.Digest, reason marketv1.DeclineReason, shortfall uint64, detail string) []byte {
	return wire.Seal(p.cfg.Key, souk.DomainDecline, mustMarshal(&marketv1.Decline{
		Subject: subject[:], Reason: reason, Shortfall: shortfall, Detail: clip(detail, 200)}))
}

// holder names the lease that has a device, for souk gpus.
func (p *provider) holder(device string) (souk.LeaseID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.floor.Holder(device)
}

// leased tells whether a peer has a lease here that is not forgotten.
func (p *provider) leased(client peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hostings {
		if h.client == client {
			return true
		}
	}
	return false
}

// runner returns the runner of a kind, or nil.
func (p *provider) runner(kind marketv1.Runner) runner.Runner {
	for _, r := range p.cfg.Runners {
		if r.Kind() == kind {
			return r
		}
	}
	return nil
}

// live counts leases that have not ended.
func (p *provider) live() (n uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hostings {
		if !h.over() {
			n++
		}
	}
	return n
}

// mustMarshal encodes a message of our own making; failure is our bug.
func mustMarshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", m.ProtoReflect().Descriptor().Name(), err))
	}
	return b
}

// clip cuts text that travels to n bytes.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "") // a cut may fall inside a letter
}

// sleep waits for d and tells whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
