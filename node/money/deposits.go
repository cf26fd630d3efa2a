package money

import (
	"context"
	"errors"
	"fmt"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// DepositChain is what a keeper needs to put clients' deposits on chain.
type DepositChain interface {
	Deposit(ctx context.Context, ch payment.Channel, d chain.Deposit) (tx string, err error)
	DepositUsed(ctx context.Context, ch payment.Channel, d chain.Deposit) (bool, error)
	Final(ctx context.Context) (number uint64, err error)
	Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error)
}

// depositKey tells one authorization from every other.
type depositKey struct {
	channel souk.ChannelID
	salt    [32]byte
}

// Deposit submits a client's authorization, waits until it is as deep as its
// amount asks, and reads the channel again. Lease is the one that it came with,
// zero where it came ahead of any. Known is the transaction that this node
// submitted before a restart, or empty; submitted is told of a new one before that is
// waited for, and its error ends the wait. Meanwhile the channel's account backs
// no other lease with the deposit. A chain that does not answer is asked again
// until ctx ends.
func (k *Keeper) Deposit(ctx context.Context, ch payment.Channel, d chain.Deposit, lease souk.LeaseID, known string, submitted func(tx string) error) (tx string, err error) {
	id := ch.ID(k.cfg.Domain)
	leave, err := k.deposits.enter(ctx, depositKey{id, d.Salt})
	if err != nil {
		return "", err
	}
	defer leave()
	if lease.IsZero() {
		k.cfg.Channels.note(id, func(a *payment.Account) { a.DepositExpected(d.Amount) })
		defer func() {
			if err != nil {
				k.cfg.Channels.note(id, func(a *payment.Account) { a.DepositCounted(lease, d.Amount, false) })
			}
		}()
	}
	if tx, err = k.deposited(ctx, ch, d, known, submitted); err != nil {
		return "", err
	}
	if err := retryUnanswered(ctx, func() error { return k.Reconcile(ctx) }); err != nil {
		return tx, err
	}
	return tx, k.Mark(ctx, id, func(r *Channel) {
		r.DepositTx = tx
		r.DepositCounted(lease, d.Amount, tx != "")
	})
}

// deposited returns once an authorization was used, by the transaction tx where
// it is one of ours, and that is deep enough.
func (k *Keeper) deposited(ctx context.Context, ch payment.Channel, d chain.Deposit, known string, submitted func(tx string) error) (tx string, err error) {
	for {
		err = retryUnanswered(ctx, func() (err error) {
			tx, err = k.submit(ctx, ch, d, known, submitted)
			return err
		})
		if err == nil {
			return tx, nil
		}
		dropped := errors.Is(err, chain.ErrDropped)
		if !dropped && !errors.As(err, new(*chain.RevertError)) {
			return "", err
		}
		// Two transactions of ours may carry one authorization, when this node
		// was killed between them: whether it was used is what counts.
		var used bool
		asked := retryUnanswered(ctx, func() (err error) {
			used, err = k.cfg.Deposits.DepositUsed(ctx, ch, d)
			return err
		})
		if asked != nil || !used && !dropped {
			return "", errors.Join(err, asked)
		}
		if used {
			return tx, nil
		}
	}
}

// submit sends an authorization, unless it was used, and waits for its depth.
func (k *Keeper) submit(ctx context.Context, ch payment.Channel, d chain.Deposit, known string, submitted func(tx string) error) (tx string, err error) {
	tx, err = k.cfg.Deposits.Deposit(ctx, ch, d)
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
func (k *Keeper) confirm(ctx context.Context, tx string, amount souk.Atoms) error {
	if k.cfg.Domain.ChainID == chain.DevnetChainID {
		_, err := k.cfg.Deposits.Wait(ctx, tx, max(k.cfg.Confirmations, 1))
		return err
	}
	depth, limit := k.cfg.Confirmations, k.cfg.FinalAbove
	if depth == 0 {
		depth = 3
	}
	if limit == 0 {
		limit = souk.AtomsPerToken
	}
	mined, err := k.cfg.Deposits.Wait(ctx, tx, depth)
	for err == nil && amount > limit {
		final, ferr := k.cfg.Deposits.Final(ctx)
		if ferr == nil && final >= mined.Block {
			break
		}
		if !network.Sleep(ctx, keepRetry) {
			return fmt.Errorf("deposit %s is not final: %w", tx, errors.Join(ctx.Err(), ferr))
		}
	}
	return err
}
