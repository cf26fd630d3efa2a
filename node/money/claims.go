package money

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
)

const (
	claimAt    = souk.AtomsPerToken / 5 // what is worth the gas of a claim
	claimAfter = 12 * time.Hour
)

// ClaimChain is what a keeper needs to take money out of channels.
type ClaimChain interface {
	ClaimAndSettle(ctx context.Context, claims []chain.Claim) (tx string, err error)
	Refund(ctx context.Context, ch payment.Channel, amount souk.Atoms, nonce uint64, authorizer *ecdsa.PrivateKey) (tx string, err error)
	Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error)
}

// claimDue claims what is worth its gas, is threatened by a withdrawal, has
// nearly used up its channel, or has waited long. Channels on which a claim or a
// Refund is under way are left to that.
func (k *Keeper) claimDue(ctx context.Context) error {
	k.mu.Lock()
	long := time.Since(k.lastClaim) > claimAfter && !k.lastClaim.IsZero()
	k.mu.Unlock()
	var due []*Channel
	for _, rec := range k.cfg.Channels.All() {
		if !rec.claimDue(long) {
			continue
		}
		leave, busy := k.exits.try(rec.ID())
		if busy != nil {
			continue
		}
		defer leave()
		if rec, ok := k.cfg.Channels.Get(rec.ID()); ok && rec.claimDue(long) { // as it is now that nobody else claims
			due = append(due, rec)
		}
	}
	if len(due) == 0 {
		return nil
	}
	_, err := k.claim(ctx, due)
	return err
}

// claimDue tells whether it is time to claim; long, that the last claim was long ago.
func (r *Channel) claimDue(long bool) bool {
	open := r.Claimable() - r.Claimed
	switch {
	case r.Paying || open <= 0:
		return false
	case r.Withdrawing > 0: // also while a lease is live: what is not claimed by then is lost
		return true
	case r.Live():
		return false
	}
	return long || open >= claimAt || r.Due() >= r.Balance/5*4
}

// claim claims exactly what receipts say is due on each channel, has it paid out,
// and posts it. The caller has entered k.exits for all of them.
func (k *Keeper) claim(ctx context.Context, recs []*Channel) (tx string, err error) {
	ctx, cancel := context.WithTimeout(ctx, txWithin)
	defer cancel()
	claims := make([]chain.Claim, 0, len(recs))
	for _, rec := range recs {
		claims = append(claims, chain.Claim{Channel: rec.Config, Voucher: rec.Voucher, Total: rec.Claimable()})
	}
	if tx, err = k.cfg.Claims.ClaimAndSettle(ctx, claims); err != nil {
		return "", err
	}
	if _, err := k.cfg.Claims.Wait(ctx, tx, 1); err != nil {
		return tx, fmt.Errorf("claim %s: %w", tx, err)
	}
	k.mu.Lock()
	k.lastClaim = time.Now()
	k.mu.Unlock()
	for _, rec := range recs {
		if err := k.Mark(ctx, rec.ID(), func(r *Channel) { r.ClaimTx = tx }); err != nil {
			return tx, err
		}
	}
	k.cfg.Log.Info("claimed", "channels", len(recs), "tx", tx)
	return tx, k.Reconcile(ctx)
}

// Refund claims what is due on a channel and gives the rest back to its payer.
func (k *Keeper) Refund(ctx context.Context, id souk.ChannelID) (claimTx, refundTx string, amount souk.Atoms, err error) {
	leave, err := k.exits.enter(ctx, id)
	if err != nil {
		return "", "", 0, err
	}
	defer leave()
	err = k.cfg.Channels.Update(ctx, id, func(r *Channel) (ledger.Batch, error) {
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
		// The channel takes leases again, unless it is unknown what became of the refund.
		if sent := refundTx != "" && err != nil; !sent || errors.As(err, new(*chain.RevertError)) {
			err = errors.Join(err, k.Mark(context.WithoutCancel(ctx), id, func(r *Channel) { r.Refunding = false }))
		}
	}()
	if err := k.Reconcile(ctx); err != nil {
		return "", "", 0, err
	}
	rec, _ := k.cfg.Channels.Get(id)
	if claimTx = rec.ClaimTx; rec.Claimable() > rec.Claimed {
		if claimTx, err = k.claim(ctx, []*Channel{rec}); err != nil {
			return "", "", 0, err
		}
		rec, _ = k.cfg.Channels.Get(id)
	}
	amount = rec.Left()
	if amount <= 0 {
		return claimTx, rec.RefundTx, 0, nil
	}
	if refundTx, err = k.cfg.Claims.Refund(ctx, rec.Config, amount, rec.RefundNonce, k.cfg.VoucherKey); err != nil {
		return claimTx, "", 0, fmt.Errorf("refund: %w", err)
	}
	if _, err := k.cfg.Claims.Wait(ctx, refundTx, 1); err != nil {
		return claimTx, refundTx, 0, fmt.Errorf("refund %s: %w", refundTx, err)
	}
	if err := k.Mark(ctx, id, func(r *Channel) { r.RefundTx = refundTx }); err != nil {
		return claimTx, refundTx, amount, err
	}
	return claimTx, refundTx, amount, k.Reconcile(ctx)
}
