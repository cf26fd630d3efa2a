package provider

import (
	"context"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// advertise publishes the offers that changed, and all of them before they lapse.
// Receivers allow a provider one offer in [market.OfferEvery] after a first
// burst, over all its classes: the pauses here keep to that.
func (p *Provider) advertise(ctx context.Context) error {
	refresh := time.NewTicker(offerRefresh)
	defer refresh.Stop()
	defer p.withdraw()
	said := map[string]*marketv1.Offer{} // as last published, by class
	for {
		for _, o := range p.offers(p.cfg.Now(), said) {
			if last := said[o.Class]; last != nil && last.Free == o.Free && last.Count == o.Count && slices.Equal(last.Runners, o.Runners) {
				continue
			}
			envelope := wire.Seal(p.cfg.Key, souk.DomainOffer, network.MustMarshal(o))
			if err := p.cfg.Publish(ctx, o.Class, envelope); err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("publish offer", "class", o.Class, "err", err)
			}
			said[o.Class] = o
			if len(said) > market.OfferBurst && !network.Sleep(ctx, market.OfferEvery) {
				return nil
			}
		}
		if !network.Sleep(ctx, market.OfferEvery) {
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

// Changed asks for new offers.
func (p *Provider) Changed() {
	select {
	case p.dirty <- struct{}{}:
	default: // one is asked for already
	}
}

// offers builds one offer for each class that is for sale, and one with nothing
// Free for each that was said and is gone.
func (p *Provider) offers(now time.Time, said map[string]*marketv1.Offer) []*marketv1.Offer {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.floor.Free(now)
	if low, _ := p.cfg.Space.Look(); low != nil {
		clear(free) // nobody should ask
	}
	cfg := p.floorConfig()
	byClass := map[string]*marketv1.Offer{}
	var out []*marketv1.Offer
	for _, d := range cfg.Devices {
		o := byClass[d.Class]
		if o == nil {
			p.sequence++
			o = &marketv1.Offer{Class: d.Class, Slice: market.SliceOf(d.Class), Epoch: p.epoch, Sequence: p.sequence, IssuedMs: now.UnixMilli(),
				ExpiresMs: now.Add(offerTTL).UnixMilli(), Model: d.Model, MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap,
				Free: uint32(free[d.Class]), PriceAtomsPerHour: d.PriceAtomsPerHour, Region: cfg.Region, Runners: cfg.Runners,
				Evidence: marketv1.Evidence_EVIDENCE_NONE, // a provider's own word is none
				CpuMilli: cfg.CPUMilli, RamBytes: cfg.RAMBytes, DiskBytes: cfg.DiskBytes,
				Addresses: network.Shareable(p.cfg.Host), Extensions: announced(cfg.Unwanted)}
			if len(d.Lines) > 0 {
				o.Tariff = market.Quote(market.Part{Price: d.PriceAtomsPerHour, Lines: d.Lines}).Proto()
			}
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

// announced are the extensions that an offer tells of.
func announced(unwanted []string) []string {
	return slices.DeleteFunc(market.Extensions(), func(name string) bool { return slices.Contains(unwanted, name) })
}

// Restock takes the devices as they are now. A lease keeps what it has.
func (p *Provider) Restock(found []gpu.Device) {
	p.mu.Lock()
	p.devices = found
	p.floor.Restock(p.floorConfig().Devices)
	p.mu.Unlock()
	p.restocked.Announce()
	p.cfg.Log.Info("devices changed", "count", len(found))
	p.Changed()
}

// Equip takes the runners as they are now: one that is absent is not offered. A
// lease keeps its own.
func (p *Provider) Equip() {
	p.mu.Lock()
	p.floor.Equip(p.floorConfig().Runners)
	p.mu.Unlock()
	p.Changed()
}

// withdraw takes our offers back: a stopping node must not be asked.
func (p *Provider) withdraw() {
	p.mu.Lock()
	p.draining = true
	p.floor.Drain()
	r := &marketv1.Revocation{Epoch: p.epoch, Sequence: p.sequence, IssuedMs: p.cfg.Now().UnixMilli()}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // the daemon's context has ended
	defer cancel()
	if err := p.cfg.Revoke(ctx, wire.Seal(p.cfg.Key, souk.DomainRevoke, network.MustMarshal(r))); err != nil {
		p.cfg.Log.Debug("revoke offers", "err", err)
	}
}
