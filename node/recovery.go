package node

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// recover brings back the leases that had not ended. What ran is gone with the
// process; what was receipted and what was collected is still owed.
func (p *provider) recover(now time.Time) error {
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
		h := restoreHosting(p, terms.Lease, &l, terms, ch, client)
		h.rec = rec
		if err := h.restoreMeter(); err != nil {
			return fmt.Errorf("record %s: %w", key, err)
		}
		p.hostings[terms.Lease] = h
		if rec.Phase == runv1.Phase_PHASE_FUNDING {
			h.retake(now)
		}
		if rec.Phase != runv1.Phase_PHASE_ENDED {
			p.restored = append(p.restored, h)
		}
		return nil
	})
}

// retake gives a lease that will still run its devices again. Where they are not
// to be had any more, it ends as what ran does.
func (h *hosting) retake(now time.Time) {
	refused := h.p.floor.Commit(now, h.occupies())
	if refused != nil {
		h.p.cfg.Log.Warn("lease after a restart", "lease", h.id.Short(), "err", refused.Detail)
		h.rec.Phase = runv1.Phase_PHASE_STAGING
	}
}

// restoreMeter goes on from the receipts in the ledger.
func (h *hosting) restoreMeter() error {
	had, err := h.p.cfg.Receipts.Of(h.id)
	if err != nil {
		return err
	}
	signed := make([]payment.Receipt, len(had))
	for i, msg := range had {
		if signed[i], err = payment.ReceiptFromProto(msg); err != nil {
			return err
		}
		if len(msg.ClientSignature) == 0 {
			h.receipts = append(h.receipts, msg)
		}
	}
	var paid souk.Atoms
	if rec, ok := h.p.cfg.Channels.Get(h.terms.Channel); ok {
		paid = rec.Leases[h.id].Paid
	}
	h.meter, err = payment.RestoreMeter(h.terms, signed, paid)
	return err
}
