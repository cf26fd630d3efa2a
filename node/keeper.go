package node

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
)

const (
	keepEvery   = time.Hour       // a withdrawal takes a day at least: this sees it with room to claim
	keepRetry   = 2 * time.Second // until the chain answers for the first time
	claimAt     = souk.AtomsPerToken / 5
	claimAfter  = 12 * time.Hour
	chainRetry  = 500 * time.Millisecond // while a deposit waits for a chain that does not answer
	txWithin    = 2 * time.Minute
	lookTries   = 5
	anchorEvery = time.Hour
)

// claimed is what this node has claimed on chain and not yet been paid.
const claimed ledger.Account = "claimed"

// keeperChain is what a keeper asks of the chain.
type keeperChain interface {
	Domain() payment.EIP712Domain
	Address() payment.Address
	Block(ctx context.Context) (number uint64, at time.Time, err error)
	Final(ctx context.Context) (number uint64, err error)
	TokenBalance(ctx context.Context, of payment.Address) (souk.Atoms, error)
	Channel(ctx context.Context, id souk.ChannelID, atBlock uint64) (chain.ChannelState, error)
	Deposit(ctx context.Context, ch payment.Channel, d chain.Deposit) (tx string, err error)
	DepositUsed(ctx context.Context, ch payment.Channel, d chain.Deposit) (bool, error)
	ClaimAndSettle(ctx context.Context, claims []chain.Claim) (tx string, err error)
	Refund(ctx context.Context, ch payment.Channel, amount souk.Atoms, nonce uint64, authorizer *ecdsa.PrivateKey) (tx string, err error)
	Anchor(ctx context.Context, root souk.Digest, count uint64) (tx string, err error)
	Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error)
}

// keeperConfig holds what a keeper needs.
type keeperConfig struct {
	Chain         keeperChain
	Ledger        *ledger.Ledger
	Channels      *channels
	Receipts      *receiptBook
	VoucherKey    *ecdsa.PrivateKey
	Confirmations uint64     // how deep a deposit must be; 0: 3, and 1 on a devnet
	FinalAbove    souk.Atoms // a larger deposit must be final, but not on a devnet; 0: one token
	Log           *slog.Logger
}

// keeper holds the ledger against the chain: it reads balances and channels on a
// timer and when told, posts what changed, and claims and anchors when it is
// time. Events are never trusted: what it missed, it finds. No run waits for it.
type keeper struct {
	cfg   keeperConfig
	pokes chan struct{}

	turn      chan struct{} // holds one: whoever takes it does one thing on chain, and owns what follows
	lastClaim time.Time
}

func newKeeper(cfg keeperConfig) *keeper {
	k := &keeper{cfg: cfg, pokes: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	k.turn <- struct{}{}
	return k
}

// take waits for the turn. The chain can be slow for whoever has it, so waiting
// ends with ctx, which a mutex would not.
func (k *keeper) take(ctx context.Context) error {
	select {
	case <-k.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for what else is done on chain: %w", ctx.Err())
	}
}

func (k *keeper) pass() { k.turn <- struct{}{} }

// poke asks for a look at the chain soon.
func (k *keeper) poke() {
	select {
	case k.pokes <- struct{}{}:
	default: // asked already
	}
}

// Run reconciles until ctx ends.
func (k *keeper) Run(ctx context.Context) error {
	for k.reconcile(ctx) != nil {
		if !sleep(ctx, keepRetry) {
			return nil
		}
	}
	timer := time.NewTicker(keepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			if _, err := k.anchor(ctx); err != nil {
				k.cfg.Log.Warn("anchor", "err", err)
			}
		case <-k.pokes:
		}
		if err := k.reconcile(ctx); err != nil {
			if ctx.Err() == nil {
				k.cfg.Log.Warn("reconcile with the chain", "err", err)
			}
			continue
		}
		if err := k.claimDue(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Log.Warn("claim", "err", err)
		}
	}
}

// reconcile posts to the ledger what the chain says has changed.
func (k *keeper) reconcile(ctx context.Context) error {
	if err := k.take(ctx); err != nil {
		return err
	}
	defer k.pass()
	return k.reconcileLocked(ctx)
}

// sight is one consistent look at the chain.
type sight struct {
	block    uint64
	wallet   souk.Atoms
	channels map[souk.ChannelID]chain.ChannelState
}

// look reads everything as of one block: balances of different blocks would not
// add up. The wallet is read as of the newest, so that must not change meanwhile;
// the channels, which may take longer than a block, as of the same block after.
func (k *keeper) look(ctx context.Context) (s sight, err error) {
	for range lookTries {
		if s.block, _, err = k.cfg.Chain.Block(ctx); err != nil {
			return s, err
		}
		if s.wallet, err = k.cfg.Chain.TokenBalance(ctx, k.cfg.Chain.Address()); err != nil {
			return s, err
		}
		after, _, err := k.cfg.Chain.Block(ctx)
		if err != nil {
			return s, err
		}
		if after != s.block {
			continue
		}
		s.channels = map[souk.ChannelID]chain.ChannelState{}
		for _, rec := range k.cfg.Channels.all() {
			if s.channels[rec.id()], err = k.cfg.Chain.Channel(ctx, rec.id(), s.block); err != nil {
				return s, err
			}
		}
		return s, nil
	}
	return s, errors.New("the chain moves faster than it can be read")
}

func (k *keeper) reconcileLocked(ctx context.Context) error {
	s, err := k.look(ctx)
	if err != nil {
		return err
	}
	grown := s.wallet - k.cfg.Ledger.Balance(ledger.Wallet)
	for id, st := range s.channels {
		if rec, ok := k.cfg.Channels.get(id); ok && rec.Paying {
			grown += st.Balance - rec.Balance
		}
	}
	// What fills the wallet goes first, what leaves it last: in between it must
	// not seem to hold less than nothing.
	var fills, leaves []souk.ChannelID
	for id, st := range s.channels {
		if rec, ok := k.cfg.Channels.get(id); ok && rec.Paying && st.Balance < rec.Balance {
			fills = append(fills, id)
		} else {
			leaves = append(leaves, id)
		}
	}
	if err := k.postWallet(ctx, s.block, max(grown, 0)); err != nil {
		return err
	}
	for _, id := range append(fills, leaves...) {
		if err := k.postChannel(ctx, id, s.channels[id]); err != nil {
			return err
		}
	}
	return k.postWallet(ctx, s.block, min(grown, 0))
}

// postWallet explains a change of the wallet that no channel of ours explains:
// a settlement of what was claimed, or money from or to outside.
func (k *keeper) postWallet(ctx context.Context, block uint64, grown souk.Atoms) error {
	if grown == 0 {
		return nil
	}
	// The balance before is part of the ids: a block can be looked at twice.
	b := binary.BigEndian.AppendUint64(nil, block)
	b = binary.BigEndian.AppendUint64(b, uint64(k.cfg.Ledger.Balance(ledger.Wallet)))
	ref := fmt.Sprintf("block %d", block)
	var batch ledger.Batch
	if paid := min(grown, k.cfg.Ledger.Balance(claimed)); paid > 0 {
		batch.Transfers = append(batch.Transfers, ledger.Transfer{ID: ledger.TransferID("settle", b), Debit: ledger.Wallet,
			Credit: claimed, Amount: paid, Kind: "settle", Ref: ref, At: time.Now()})
		grown -= paid
	}
	t := ledger.Transfer{ID: ledger.TransferID("outside", b), Debit: ledger.Wallet, Credit: ledger.External, Amount: grown, Kind: "received", Ref: ref, At: time.Now()}
	if grown < 0 {
		t.Debit, t.Credit, t.Amount, t.Kind = ledger.External, ledger.Wallet, -grown, "sent"
	}
	if grown != 0 {
		batch.Transfers = append(batch.Transfers, t)
	}
	return k.cfg.Ledger.Commit(ctx, batch)
}

// postChannel posts what changed on one channel since it was last read.
func (k *keeper) postChannel(ctx context.Context, id souk.ChannelID, st chain.ChannelState) error {
	rec, ok := k.cfg.Channels.get(id)
	if !ok {
		return nil // dropped since it was read
	}
	now := payment.OnChain{Balance: st.Balance, Claimed: st.Claimed, Withdrawing: st.PendingWithdrawal, RefundNonce: st.RefundNonce}
	if at, ok := st.WithdrawReady(rec.Config); ok {
		now.WithdrawReady = at
	}
	if now.Same(rec.OnChain) {
		return nil
	}
	return k.cfg.Channels.update(ctx, id, func(rec *channelRecord) (ledger.Batch, error) {
		booked := ledger.Receivable(id)
		if rec.Paying {
			booked = ledger.Owed(id)
		}
		return rec.postRead(now, k.cfg.Ledger.Balance(booked), k.cfg.Chain.Address(), time.Now()), nil
	})
}

// patiently does again what fails because no node of the chain answers, until ctx
// ends: one that is restarted is back in a moment.
func patiently(ctx context.Context, do func() error) error {
	for {
		if err := do(); !errors.Is(err, chain.ErrNoAnswer) || !sleep(ctx, chainRetry) {
			return err
		}
	}
}

// mark notes a transaction on a channel.
func (k *keeper) mark(ctx context.Context, id souk.ChannelID, change func(*channelRecord)) error {
	return k.cfg.Channels.update(ctx, id, func(r *channelRecord) (ledger.Batch, error) {
		change(r)
		return ledger.Batch{}, nil
	})
}
