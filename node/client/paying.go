package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// payer checks the receipts of a lease, from those that were countersigned on.
// No run began before its lease was signed.
func (j *Job) payer(s *Proposal) (*payment.Payer, error) {
	had, err := j.c.cfg.Receipts.Of(s.ID)
	if err != nil {
		return nil, err
	}
	receipts := make([]payment.Receipt, len(had))
	for i, msg := range had {
		if receipts[i], err = payment.ReceiptFromProto(msg); err != nil {
			return nil, fmt.Errorf("receipt of lease %s: %w", s.ID.Short(), err)
		}
	}
	p, err := payment.RestorePayer(s.Terms, receipts)
	if err != nil {
		return nil, err
	}
	p.Start(time.UnixMilli(s.Lease.SignedMs))
	return p, nil
}

// closeLease frees what the lease reserved and did not use.
func (l *link) closeLease(ctx context.Context) error {
	err := l.j.c.cfg.Channels.Update(ctx, l.s.Terms.Channel, func(rec *money.Channel) (ledger.Batch, error) {
		rec.Close(l.s.ID)
		return ledger.Batch{}, nil
	})
	if l.paid {
		l.j.post(ctx, scheduler.Settled{Lease: l.s.ID})
	}
	return err
}

// pay checks a receipt, makes our signature and voucher durable, and sends them.
func (l *link) pay(ctx context.Context, w io.Writer, msg *runv1.Receipt) error {
	r, err := payment.ReceiptFromProto(msg)
	if err != nil {
		return l.cheated(ctx, err)
	}
	if err := l.checkOutput(r); err != nil {
		return l.cheated(ctx, err)
	}
	paid, err := l.payer.Check(time.Now(), r)
	if no := (*payment.ReceiptError)(nil); errors.As(err, &no) && no.Reason == payment.BadSequence {
		if signed := l.signedBefore(r); signed != nil {
			return l.answer(w, *signed, l.payer.Paid()) // its answer was lost, and a later receipt's too
		}
	}
	if err != nil {
		return l.cheated(ctx, err)
	}
	r.SignClient(l.s.Terms.Domain, l.j.c.cfg.Key)
	if err := l.book(ctx, r, paid); err != nil {
		return err
	}
	l.payer.Accept(r)
	if r.Kind == payment.KindFinal {
		l.paid = true
	}
	return l.answer(w, r, paid)
}

// answer sends our signature on a receipt, with the channel's voucher as it is in
// the ledger.
func (l *link) answer(w io.Writer, r payment.Receipt, paid souk.Atoms) error {
	rec, ok := l.j.c.cfg.Channels.Get(l.s.Terms.Channel)
	if !ok {
		return fmt.Errorf("channel %s is not known here", l.s.Terms.Channel.Short())
	}
	digest := r.Digest(l.s.Terms.Domain)
	return wire.Write(w, &runv1.ToProvider{Message: &runv1.ToProvider_Countersign{Countersign: &runv1.Countersign{
		Receipt: digest[:], Signature: r.ClientSig, Voucher: rec.Voucher.Proto(), LeasePaidAtoms: uint64(paid)}}})
}

// signedBefore is the receipt as we countersigned it, or nil where we did not.
func (l *link) signedBefore(r payment.Receipt) *payment.Receipt {
	had, err := l.j.c.cfg.Receipts.Of(l.s.ID)
	if err != nil {
		return nil
	}
	for _, msg := range had {
		signed, err := payment.ReceiptFromProto(msg)
		if err == nil && signed.Digest(l.s.Terms.Domain) == r.Digest(l.s.Terms.Domain) && len(signed.ClientSig) > 0 {
			return &signed
		}
	}
	return nil
}

// checkOutput holds the final receipt against the outputs that were verified.
func (l *link) checkOutput(r payment.Receipt) error {
	if r.Kind != payment.KindFinal {
		return nil
	}
	var d souk.Digest // of no outputs: none are to be receipted either
	var err error
	if l.output != "" {
		d, err = files.DigestOf(l.output)
	}
	if err == nil && d != r.OutputDigest {
		err = errors.New("the final receipt names other outputs")
	}
	return err
}

// cheated ends the run at our side: nothing more is paid on it.
func (l *link) cheated(ctx context.Context, err error) error {
	l.j.c.cfg.Log.Warn("provider refused", "lease", l.s.ID.Short(), "peer", l.s.Peer, "err", err)
	l.j.post(ctx, scheduler.RunState{Lease: l.s.ID, Phase: runv1.Phase_PHASE_ENDED,
		Reason: runv1.EndReason_END_REASON_PROVIDER_CHEATED, Detail: network.Clip(err.Error(), 200)})
	l.over = true
	return l.closeLease(ctx)
}

// book posts a receipt and its voucher in one transaction, then logs the receipt.
func (l *link) book(ctx context.Context, r payment.Receipt, paid souk.Atoms) error {
	err := l.j.c.cfg.Channels.Update(ctx, l.s.Terms.Channel, func(rec *money.Channel) (ledger.Batch, error) {
		total, err := rec.Promise(l.s.ID, paid)
		if err != nil {
			return ledger.Batch{}, err
		}
		v := rec.Voucher
		if total > v.MaxClaimable {
			v = payment.Voucher{Channel: l.s.Terms.Channel, MaxClaimable: total}
			if err := v.Sign(l.s.Terms.Domain, l.j.c.cfg.VoucherKey); err != nil {
				return ledger.Batch{}, err
			}
		}
		return rec.Enter(r, paid, v, time.Now())
	})
	if err != nil {
		return err
	}
	if err := l.j.c.cfg.Receipts.Log(ctx, r); err != nil {
		l.j.c.cfg.Log.Error("receipts log", "lease", l.s.ID.Short(), "err", err) // the next start logs it
	}
	return l.j.note(ctx, func(rec *Record) {
		if a := rec.byLease(l.s.ID.String()); a != nil {
			a.Paid, a.Receipts = max(a.Paid, r.CumulativeDue), max(a.Receipts, uint32(r.Seq))
		}
	})
}
