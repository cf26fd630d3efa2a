package client

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// closeLease frees what the lease reserved and did not use.
func (l *runLink) closeLease(ctx context.Context) error {
	err := l.dealer.CloseLease(ctx, l.s.Terms.Channel, l.s.ID)
	if l.paid {
		l.j.post(ctx, scheduler.Settled{Lease: l.s.ID})
	}
	return err
}

// pay checks a receipt, makes our signature and voucher durable, and sends them.
func (l *runLink) pay(ctx context.Context, w io.Writer, msg *runv1.Receipt) error {
	r, err := payment.ReceiptFromProto(msg)
	if err != nil {
		return l.cheated(ctx, err)
	}
	if err := l.checkOutput(r); err != nil {
		return l.cheated(ctx, err)
	}
	paid, err := l.payer.Check(time.Now(), r)
	if no := (*payment.ReceiptError)(nil); errors.As(err, &no) && no.Reason == payment.BadSequence {
		if signed, ok := l.dealer.signedBefore(l.s, r); ok {
			return l.answer(w, signed, l.payer.Paid()) // its answer was lost, and a later receipt's too
		}
	}
	if err != nil {
		return l.cheated(ctx, err)
	}
	if r, err = l.dealer.Pay(ctx, l.s, r, paid); err != nil {
		return err
	}
	err = l.j.note(ctx, func(rec *Record) {
		if a := rec.byLease(l.s.ID.String()); a != nil {
			a.Paid, a.Receipts = max(a.Paid, r.CumulativeDue), max(a.Receipts, uint32(r.Seq))
		}
	})
	if err != nil {
		return err
	}
	l.payer.Accept(r)
	if r.Kind == payment.KindFinal {
		l.paid = true
	}
	return l.answer(w, r, paid)
}

// answer sends our signature on a receipt, and the voucher.
func (l *runLink) answer(w io.Writer, r payment.Receipt, paid souk.Atoms) error {
	msg, err := l.dealer.Answer(l.s, r, paid)
	if err != nil {
		return err
	}
	return wire.Write(w, msg)
}

// checkOutput holds the final receipt against the outputs that were verified.
func (l *runLink) checkOutput(r payment.Receipt) error {
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
func (l *runLink) cheated(ctx context.Context, err error) error {
	l.with.Log.Warn("provider refused", "lease", l.s.ID.Short(), "peer", l.s.Peer, "err", err)
	l.j.post(ctx, scheduler.RunState{Lease: l.s.ID, Phase: runv1.Phase_PHASE_ENDED,
		Reason: runv1.EndReason_END_REASON_PROVIDER_CHEATED, Detail: network.Clip(err.Error(), 200)})
	l.over = true
	return l.closeLease(ctx)
}
