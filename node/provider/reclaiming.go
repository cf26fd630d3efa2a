package provider

import (
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	"github.com/souk-market/souk/scheduler"
)

// maxNotice is the longest notice that a lease may ask for: an owner waits for no
// longer.
const maxNotice = time.Hour

// Reclaimed is what became of a device that its owner takes back.
type Reclaimed struct {
	Lease souk.LeaseID // that has it; zero: none has
	Ends  time.Time    // when that has ended at the latest
}

// Reclaim takes a device back for its owner: it is not leased any more until [Provider.Return]
// or the daemon's next start. A lease that has it ends after its notice, or after notice
// if that is longer; one that does not provide for that goes on to its end, unless force
// ends it as the provider's doing.
func (p *Provider) Reclaim(device string, notice time.Duration, force bool) (Reclaimed, error) {
	p.mu.Lock()
	p.reclaimed[device] = true
	p.floor.Restock(p.floorConfig().Devices)
	id, held := p.floor.Holder(device)
	t := p.tenancies[id]
	p.mu.Unlock()
	p.Changed()
	p.cfg.Log.Info("a device is taken back", "gpu", device)
	if !held || t == nil || t.over() {
		return Reclaimed{}, nil
	}
	terms := t.lease.GetReclaim()
	if terms == nil && !force {
		return Reclaimed{id, t.limits.HeldUntil()}, nil
	}
	ask := scheduler.ReclaimAsked{Notice: max(notice, noticeOf(terms)), Broken: terms == nil}
	select {
	case t.reclaims <- ask:
	default:
		return Reclaimed{}, &souk.Error{Code: souk.CodeState, Err: errors.New("it is being taken back already"), Fix: "ask again in a moment"}
	}
	return Reclaimed{id, time.Now().Add(ask.Notice)}, nil
}

func noticeOf(r *leasev1.Reclaim) time.Duration {
	return min(maxNotice, time.Duration(min(r.GetNoticeMs(), uint64(maxNotice.Milliseconds())))*time.Millisecond)
}

// Return lets a device that was taken back be leased again.
func (p *Provider) Return(device string) error {
	p.mu.Lock()
	was := p.reclaimed[device]
	delete(p.reclaimed, device)
	p.floor.Restock(p.floorConfig().Devices)
	p.mu.Unlock()
	if !was {
		return &souk.Error{Code: souk.CodeState, Err: fmt.Errorf("%s was not taken back", device), Fix: "souk gpus shows what is"}
	}
	p.Changed()
	return nil
}

// checkReclaim refuses a lease whose device its owner could not have back for long.
func checkReclaim(l *leasev1.Lease) *market.Refusal {
	if most := uint64(maxNotice.Milliseconds()); l.GetReclaim().GetNoticeMs() > most {
		return malformed("notice of %d ms, at most %d", l.GetReclaim().GetNoticeMs(), most)
	}
	return nil
}
