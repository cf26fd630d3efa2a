package provider

import (
	"encoding/json"
	"fmt"
	"github.com/souk-market/souk/gpu"
	"time"

	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"google.golang.org/protobuf/proto"
)

// recover brings back the leases that had not ended. What ran is gone with the
// process; what was receipted and what was collected is still owed.
func (p *Provider) recover(now time.Time) error {
	return p.cfg.Ledger.Scan("lease/", func(key string, value []byte) error {
		var rec leaseRecord
		if err := json.Unmarshal(value, &rec); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		if rec.Phase == runv1.Phase_PHASE_ENDED && now.Sub(rec.Ended) > p.cfg.Waits.Collect {
			return nil
		}
		var l leasev1.Lease
		if err := proto.Unmarshal(rec.Payload, &l); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		terms, ch, err := money.LeaseTerms(rec.Payload, &l)
		if err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		client, err := network.PeerID(terms.ClientKey)
		if err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		t := openTenancy(p.means, &l, terms, ch, client, rec)
		if err := t.restore(now, p.retake(now, t)); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		p.mayLinger(now, t)
		p.tenancies[terms.Lease] = t
		if rec.Phase != runv1.Phase_PHASE_ENDED {
			p.restored = append(p.restored, t)
		}
		return nil
	})
}

// mayLinger keeps the GPUs of a run of an earlier life off sale until its container is
// known to be gone.
func (p *Provider) mayLinger(now time.Time, t *tenancy) {
	switch t.rec.Phase {
	case runv1.Phase_PHASE_STAGING, runv1.Phase_PHASE_RUNNING, runv1.Phase_PHASE_PAUSED:
	default:
		return
	}
	left := gpu.IncidentOf(gpu.KindStuck)
	left.What = "its job of before the restart may still run"
	for _, id := range p.gpusOf(t.lease) {
		p.off.take(now.Add(-quietFor), id, p.cfg.Boot, left, t.id.String())
	}
	p.floor.Restock(p.floorConfig().Devices)
}

// retake gives a lease that will still run its devices again. Where they are not to
// be had any more, it ends as what ran does; where a driver does not answer, nobody
// knows, and it keeps them.
func (p *Provider) retake(now time.Time, t *tenancy) bool {
	if t.rec.Phase != runv1.Phase_PHASE_FUNDING {
		return false
	}
	commit := p.floor.Commit
	if p.cfg.Unseen {
		commit = p.floor.Regain
	}
	refused := commit(now, t.occupies())
	if refused != nil {
		p.cfg.Log.Warn("lease after a restart", "lease", t.id.Short(), "err", refused)
	}
	return refused == nil
}

// restore goes on from what is in the ledger, with the lease's devices or without.
func (t *tenancy) restore(now time.Time, devices bool) error {
	history, err := t.history(devices)
	if err == nil && t.rec.Phase != runv1.Phase_PHASE_ENDED {
		err = t.samples.Resume() // what receipts stand for that the client has not signed
	}
	if err == nil {
		t.machine, err = scheduler.RestoreTenancy(t.limits, history, now)
	}
	return err
}
