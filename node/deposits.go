package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// deposit submits a client's authorization, waits until it is as deep as its
// amount asks, and reads the channel again. A chain that does not answer is
// waited for until ctx ends.
// It came with lease, zero where it came ahead of any; known is the transaction
// that an earlier life of this node submitted, or empty.
func (k *keeper) deposit(ctx context.Context, ch payment.Channel, d chain.Deposit, lease souk.LeaseID, known string, submitted func(tx string) error) (tx string, err error) {
	if err := k.take(ctx); err != nil {
		return "", err
	}
	defer k.pass()
	for {
		err = patiently(ctx, func() (err error) {
			tx, err = k.submit(ctx, ch, d, known, submitted)
			return err
		})
		if err == nil {
			break
		}
		dropped := errors.Is(err, chain.ErrDropped)
		if !dropped && !errors.As(err, new(*chain.RevertError)) {
			return "", err
		}
		// Two transactions of ours may carry one authorization, when this node
		// was killed between them: whether it was used is what counts.
		var used bool
		asked := patiently(ctx, func() (err error) {
			used, err = k.cfg.Chain.DepositUsed(ctx, ch, d)
			return err
		})
		if asked != nil || !used && !dropped {
			return "", errors.Join(err, asked)
		}
		if used {
			break
		}
	}
	if err := patiently(ctx, func() error { return k.reconcileLocked(ctx) }); err != nil {
		return tx, err
	}
	return tx, k.mark(ctx, ch.ID(k.cfg.Chain.Domain()), func(r *channelRecord) {
		r.DepositTx = tx
		r.DepositCounted(lease, d.Amount, tx != "")
	})
}

// submit sends an authorization, unless it was used, and waits for its depth.
func (k *keeper) submit(ctx context.Context, ch payment.Channel, d chain.Deposit, known string, submitted func(tx string) error) (tx string, err error) {
	tx, err = k.cfg.Chain.Deposit(ctx, ch, d)
	switch {
	case errors.Is(err, chain.ErrUsed):
		tx = known
	case err != nil:
		return "", err
	default:
		if err := submitted(tx); err != nil {
			return tx, err
		}
	}
	if tx == "" {
		return "", nil
	}
	return tx, k.confirm(ctx, tx, d.Amount)
}

// confirm waits until a deposit can be relied on. A devnet has no reorganisations.
func (k *keeper) confirm(ctx context.Context, tx string, amount souk.Atoms) error {
	if k.cfg.Chain.Domain().ChainID == chain.DevnetChainID {
		_, err := k.cfg.Chain.Wait(ctx, tx, max(k.cfg.Confirmations, 1))
		return err
	}
	depth, limit := k.cfg.Confirmations, k.cfg.FinalAbove
	if depth == 0 {
		depth = 3
	}
	if limit == 0 {
		limit = souk.AtomsPerToken
	}
	mined, err := k.cfg.Chain.Wait(ctx, tx, depth)
	for err == nil && amount > limit {
		final, ferr := k.cfg.Chain.Final(ctx)
		if ferr == nil && final >= mined.Block {
			break
		}
		if !sleep(ctx, keepRetry) {
			return fmt.Errorf("deposit %s is not final: %w", tx, errors.Join(ctx.Err(), ferr))
		}
	}
	return err
}
