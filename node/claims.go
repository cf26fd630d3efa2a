package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
)

// claimDue claims what is worth its gas, is threatened by a withdrawal, has
// nearly used up its channel, or has waited long.
func (k *keeper) claimDue(ctx context.Context) error {
	if err := k.take(ctx); err != nil {
		return err
	}
	defer k.pass()
	var due []*channelRecord
	for _, rec := range k.cfg.Channels.all() {
		open := rec.Claimable() - rec.Claimed
		switch {
		case rec.Paying || open <= 0:
		case rec.Withdrawing > 0: // also while a lease is live: what is not claimed by then is lost
			due = append(due, rec)
		case rec.Live():
		case open >= claimAt, rec.Due() >= rec.Balance/5*4, time.Since(k.lastClaim) > claimAfter && !k.lastClaim.IsZero():
			due = append(due, rec)
		}
	}
	if len(due) == 0 {
		return nil
	}
	_, err := k.claimLocked(ctx, due)
	return err
}

// claimLocked claims exactly what receipts say is due on each channel, has it
// paid out, and posts it.
func (k *keeper) claimLocked(ctx context.Context, recs []*channelRecord) (tx string, err error) {
	ctx, cancel := context.WithTimeout(ctx, txWithin)
	defer cancel()
	claims := make([]chain.Claim, 0, len(recs))
	for _, rec := range recs {
		claims = append(claims, chain.Claim{Channel: rec.Config, Voucher: rec.Voucher, Total: rec.Claimable()})
	}
	if tx, err = k.cfg.Chain.ClaimAndSettle(ctx, claims); err != nil {
		return "", err
	}
	if _, err := k.cfg.Chain.Wait(ctx, tx, 1); err != nil {
		return tx, fmt.Errorf("claim %s: %w", tx, err)
	}
	k.lastClaim = time.Now()
	for _, rec := range recs {
		if err := k.mark(ctx, rec.id(), func(r *channelRecord) { r.ClaimTx = tx }); err != nil {
			return tx, err
		}
	}
	k.cfg.Log.Info("claimed", "channels", len(recs), "tx", tx)
	return tx, k.reconcileLocked(ctx)
}

// refund claims what is due on a channel and gives the rest back to its payer.
func (k *keeper) refund(ctx context.Context, id souk.ChannelID) (claimTx, refundTx string, amount souk.Atoms, err error) {
	if err := k.take(ctx); err != nil {
		return "", "", 0, err
	}
	defer k.pass()
	err = k.cfg.Channels.update(ctx, id, func(r *channelRecord) (ledger.Batch, error) {
		switch {
		case r.Paying:
			return ledger.Batch{}, errors.New("no such channel")
		case r.Live():
			return ledger.Batch{}, errors.New("a lease on the channel is live")
		}
		r.Refunding = true // durable before the chain hears of it: from here on no lease is taken
		return ledger.Batch{}, nil
	})
	if err != nil {
		return "", "", 0, err
	}
	defer func() {
		// Only a refund whose fate is unknown keeps the channel closed.
		if sent := refundTx != "" && err != nil; !sent || errors.As(err, new(*chain.RevertError)) {
			err = errors.Join(err, k.mark(context.WithoutCancel(ctx), id, func(r *channelRecord) { r.Refunding = false }))
		}
	}()
	if err := k.reconcileLocked(ctx); err != nil {
		return "", "", 0, err
	}
	rec, _ := k.cfg.Channels.get(id)
	if claimTx = rec.ClaimTx; rec.Claimable() > rec.Claimed {
		if claimTx, err = k.claimLocked(ctx, []*channelRecord{rec}); err != nil {
			return "", "", 0, err
		}
		rec, _ = k.cfg.Channels.get(id)
	}
	amount = rec.Left()
	if amount <= 0 {
		return claimTx, rec.RefundTx, 0, nil
	}
	if refundTx, err = k.cfg.Chain.Refund(ctx, rec.Config, amount, rec.RefundNonce, k.cfg.VoucherKey); err != nil {
		return claimTx, "", 0, fmt.Errorf("refund: %w", err)
	}
	if _, err := k.cfg.Chain.Wait(ctx, refundTx, 1); err != nil {
		return claimTx, refundTx, 0, fmt.Errorf("refund %s: %w", refundTx, err)
	}
	if err := k.mark(ctx, id, func(r *channelRecord) { r.RefundTx = refundTx }); err != nil {
		return claimTx, refundTx, amount, err
	}
	return claimTx, refundTx, amount, k.reconcileLocked(ctx)
}
