package money

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
)

const (
	keepEvery  = time.Hour              // a withdrawal takes a day at least: this sees it with room to claim
	keepRetry  = 2 * time.Second        // until the chain answers for the first time
	chainRetry = 500 * time.Millisecond // while a deposit waits for a chain that does not answer
	txWithin   = 2 * time.Minute
	readTries  = 5
)

// Claimed is what this node has claimed on chain and not yet been paid.
const Claimed ledger.Account = "claimed"

// ReadingChain is what a keeper needs to hold the ledger against the chain.
type ReadingChain interface {
	Block(ctx context.Context) (number uint64, at time.Time, err error)
	TokenBalance(ctx context.Context, of payment.Address) (souk.Atoms, error)
	Channel(ctx context.Context, id souk.ChannelID, atBlock uint64) (chain.ChannelState, error)
}

// KeeperConfig holds what a keeper needs. The parts of the chain may be used at
// once; what sends transactions numbers them itself.
type KeeperConfig struct {
	Domain        payment.EIP712Domain // of the chain's settlement contract
	Wallet        payment.Address      // whose balance the ledger's wallet is
	Chain         ReadingChain
	Deposits      DepositChain
	Claims        ClaimChain
	Anchors       AnchorChain
	Ledger        *ledger.Ledger
	Channels      *Channels
	Tree          *log.Log // the log of receipts
	VoucherKey    *ecdsa.PrivateKey
	Confirmations uint64     // how deep a deposit must be; 0: 3, and 1 on a devnet
	FinalAbove    souk.Atoms // a larger deposit must be final, but not on a devnet; 0: one token
	Log           *slog.Logger
}

// Keeper holds the ledger against the chain: it reads balances and channels on a
// timer and when told, posts what changed, and claims and anchors when it is
// time. Events are never trusted: what it missed, it finds. No run waits for it.
//
// Its methods may run at once. While one waits for the chain it holds nothing
// that another needs, unless both are about the same deposit, the exit of money
// from the same channel, or an anchor.
type Keeper struct {
	cfg   KeeperConfig
	wakes chan struct{}

	deposits  exclusive[depositKey]     // one caller submits a deposit, others with the same one wait for it
	exits     exclusive[souk.ChannelID] // of claims and refunds, one at a time on each channel
	anchoring exclusive[struct{}]

	posting sync.Mutex // held while what was read is posted, never while the chain is asked; guards the next two
	posted  uint64     // the number of the newest reading that is posted
	partly  bool       // an error came before all of it was

	mu        sync.Mutex // guards what follows
	readings  uint64     // begun so far; each has its number
	lastClaim time.Time
}

// NewKeeper makes a keeper that has read nothing yet.
func NewKeeper(cfg KeeperConfig) *Keeper {
	return &Keeper{cfg: cfg, wakes: make(chan struct{}, 1)}
}

// Wake asks for a reading of the chain soon.
func (k *Keeper) Wake() {
	select {
	case k.wakes <- struct{}{}:
	default: // asked already
	}
}

// Run reconciles until ctx ends. Claims and anchors wait for their transactions
// beside it.
func (k *Keeper) Run(ctx context.Context) error {
	for k.Reconcile(ctx) != nil {
		if !network.Sleep(ctx, keepRetry) {
			return nil
		}
	}
	timer := time.NewTicker(keepEvery)
	defer timer.Stop()
	var beside sync.WaitGroup
	defer beside.Wait()
	warn := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			k.cfg.Log.Warn(what, "err", err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			beside.Go(func() {
				_, err := k.Anchor(ctx)
				warn("anchor", err)
			})
		case <-k.wakes:
		}
		if err := k.Reconcile(ctx); err != nil {
			warn("reconcile with the chain", err)
			continue
		}
		beside.Go(func() { warn("claim", k.claimDue(ctx)) })
	}
}

// Reconcile posts to the ledger what the chain says has changed. Of readings that
// overlap, the one that began last counts: what an older one saw is in it too.
func (k *Keeper) Reconcile(ctx context.Context) error {
	for {
		k.mu.Lock()
		k.readings++
		number := k.readings
		k.mu.Unlock()
		s, err := k.readChain(ctx)
		if err != nil {
			return err
		}
		if done, err := k.postReading(ctx, number, s); done {
			return err
		}
	}
}

// postReading posts a reading unless a newer one is posted. It is not done where
// the newer one could not be posted as a whole: then the chain is to be read again.
func (k *Keeper) postReading(ctx context.Context, number uint64, s snapshot) (done bool, err error) {
	k.posting.Lock()
	defer k.posting.Unlock()
	if number < k.posted {
		return !k.partly, nil
	}
	err = k.post(ctx, s)
	k.posted, k.partly = number, err != nil
	return true, err
}

// snapshot is what the chain holds for this node as of one block.
type snapshot struct {
	block    uint64
	wallet   souk.Atoms
	channels map[souk.ChannelID]chain.ChannelState
}

// readChain reads everything as of one block: balances of different blocks would
// not add up. The wallet is read as of the newest, so that must not change
// meanwhile; the channels, which may take longer than a block, as of the same
// block after.
func (k *Keeper) readChain(ctx context.Context) (s snapshot, err error) {
	for range readTries {
		if s.block, _, err = k.cfg.Chain.Block(ctx); err != nil {
			return s, err
		}
		if s.wallet, err = k.cfg.Chain.TokenBalance(ctx, k.cfg.Wallet); err != nil {
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
		for _, rec := range k.cfg.Channels.All() {
			if s.channels[rec.ID()], err = k.cfg.Chain.Channel(ctx, rec.ID(), s.block); err != nil {
				return s, err
			}
		}
		return s, nil
	}
	return s, errors.New("the chain moves faster than it can be read")
}

// post enters what a snapshot shows. The caller holds posting.
func (k *Keeper) post(ctx context.Context, s snapshot) error {
	grown := s.wallet - k.cfg.Ledger.Balance(ledger.Wallet)
	for id, st := range s.channels {
		if rec, ok := k.cfg.Channels.Get(id); ok && rec.Paying {
			grown += st.Balance - rec.Balance
		}
	}
	// Transfers into the wallet are posted first and those out of it last, so that
	// its balance is not negative in between.
	var fills, leaves []souk.ChannelID
	for id, st := range s.channels {
		if rec, ok := k.cfg.Channels.Get(id); ok && rec.Paying && st.Balance < rec.Balance {
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
func (k *Keeper) postWallet(ctx context.Context, block uint64, grown souk.Atoms) error {
	if grown == 0 {
		return nil
	}
	// The balance before is part of the ids: a block can be read twice.
	b := binary.BigEndian.AppendUint64(nil, block)
	b = binary.BigEndian.AppendUint64(b, uint64(k.cfg.Ledger.Balance(ledger.Wallet)))
	ref := fmt.Sprintf("block %d", block)
	var batch ledger.Batch
	if paid := min(grown, k.cfg.Ledger.Balance(Claimed)); paid > 0 {
		batch.Transfers = append(batch.Transfers, ledger.Transfer{ID: ledger.TransferID("settle", b), Debit: ledger.Wallet,
			Credit: Claimed, Amount: paid, Kind: "settle", Ref: ref, At: time.Now()})
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
func (k *Keeper) postChannel(ctx context.Context, id souk.ChannelID, st chain.ChannelState) error {
	rec, ok := k.cfg.Channels.Get(id)
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
	return k.cfg.Channels.Update(ctx, id, func(rec *Channel) (ledger.Batch, error) {
		booked := ledger.Receivable(id)
		if rec.Paying {
			booked = ledger.Owed(id)
		}
		return rec.read(now, k.cfg.Ledger.Balance(booked), k.cfg.Wallet, time.Now()), nil
	})
}

// retryUnanswered does again what fails because no node of the chain answers,
// until ctx ends: one that is restarted is back in a moment.
func retryUnanswered(ctx context.Context, do func() error) error {
	for {
		if err := do(); !errors.Is(err, chain.ErrNoAnswer) || !network.Sleep(ctx, chainRetry) {
			return err
		}
	}
}

// Mark notes a transaction on a channel.
func (k *Keeper) Mark(ctx context.Context, id souk.ChannelID, change func(*Channel)) error {
	return k.cfg.Channels.Update(ctx, id, func(r *Channel) (ledger.Batch, error) {
		change(r)
		return ledger.Batch{}, nil
	})
}
