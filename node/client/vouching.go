package client

import (
	"context"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Payer checks the receipts of a lease, from those that were countersigned on. No
// run began before its lease was signed.
func (d *Dealer) Payer(s *Proposal) (*payment.Payer, error) {
	had, err := d.receiptsOf(s)
	if err != nil {
		return nil, err
	}
	p, err := payment.RestorePayer(s.Terms, had)
	if err != nil {
		return nil, err
	}
	p.Start(time.UnixMilli(s.Lease.SignedMs))
	return p, nil
}

// receiptsOf is every receipt of a lease that this node countersigned.
func (d *Dealer) receiptsOf(s *Proposal) ([]payment.Receipt, error) {
	had, err := d.cfg.Receipts.Of(s.ID)
	if err != nil {
		return nil, err
	}
	receipts := make([]payment.Receipt, len(had))
	for i, msg := range had {
		if receipts[i], err = payment.ReceiptFromProto(msg); err != nil {
			return nil, fmt.Errorf("receipt of lease %s: %w", s.ID.Short(), err)
		}
	}
	return receipts, nil
}

// Pay countersigns a receipt that a [payment.Payer] found good, and posts it with
// the voucher over paid for the lease, in one transaction. Then the receipt goes
// into the log.
func (d *Dealer) Pay(ctx context.Context, s *Proposal, r payment.Receipt, paid souk.Atoms) (payment.Receipt, error) {
	r.SignClient(s.Terms.Domain, d.cfg.Key)
	err := d.cfg.Channels.Update(ctx, s.Terms.Channel, func(rec *money.Channel) (ledger.Batch, error) {
		total, err := rec.Promise(s.ID, paid)
		if err != nil {
			return ledger.Batch{}, err
		}
		v := rec.Voucher
		if total > v.MaxClaimable {
			v = payment.Voucher{Channel: s.Terms.Channel, MaxClaimable: total}
			if err := v.Sign(s.Terms.Domain, d.cfg.VoucherKey); err != nil {
				return ledger.Batch{}, err
			}
		}
		return rec.Enter(r, paid, v, time.Now())
	})
	if err != nil {
		return r, err
	}
	if err := d.cfg.Receipts.Log(ctx, r); err != nil {
		d.cfg.Log.Error("receipts log", "lease", s.ID.Short(), "err", err) // the next start logs it
	}
	return r, nil
}

// Answer is what the provider is sent for a receipt: our signature, with the
// channel's voucher as it is in the ledger.
func (d *Dealer) Answer(s *Proposal, r payment.Receipt, paid souk.Atoms) (*runv1.ToProvider, error) {
	rec, ok := d.cfg.Channels.Get(s.Terms.Channel)
	if !ok {
		return nil, fmt.Errorf("channel %s is not known here", s.Terms.Channel.Short())
	}
	digest := r.Digest(s.Terms.Domain)
	return &runv1.ToProvider{Message: &runv1.ToProvider_Countersign{Countersign: &runv1.Countersign{
		Receipt: digest[:], Signature: r.ClientSig, Voucher: rec.Voucher.Proto(), LeasePaidAtoms: uint64(paid)}}}, nil
}

// signedBefore is the receipt as this node countersigned it; false where it did not.
func (d *Dealer) signedBefore(s *Proposal, r payment.Receipt) (payment.Receipt, bool) {
	had, err := d.receiptsOf(s)
	if err != nil {
		return r, false
	}
	for _, signed := range had {
		if signed.Digest(s.Terms.Domain) == r.Digest(s.Terms.Domain) && len(signed.ClientSig) > 0 {
			return signed, true
		}
	}
	return r, false
}
