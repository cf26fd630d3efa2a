package provider

import (
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/scheduler"
)

// Epoch tells the offers since this start of the provider from those before it.
func (p *Provider) Epoch() uint64 { return p.epoch }

// Lease tells where a lease stands that is not forgotten.
func (p *Provider) Lease(id souk.LeaseID) (scheduler.TenancyState, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tenancies[id]
	if t == nil {
		return scheduler.TenancyState{}, false
	}
	return t.record().TenancyState, true
}

// Leases tells where the leases of a client stand that are not forgotten.
func (p *Provider) Leases(client peer.ID) map[souk.LeaseID]scheduler.TenancyState {
	p.mu.Lock()
	defer p.mu.Unlock()
	states := map[souk.LeaseID]scheduler.TenancyState{}
	for id, t := range p.tenancies {
		if t.client == client {
			states[id] = t.record().TenancyState
		}
	}
	return states
}
