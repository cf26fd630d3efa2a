// Package chaintest is the contract test of whatever passes for a chain: the
// client of a real one, and the one in memory.
//
// It tries what payment/chain promises and what the contracts refuse, through the
// client's own calls. What only a modified client could send, payment/chain tries
// against the contracts themselves.
package chaintest

import (
	"context"
	"crypto/ecdsa"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// Client is a client of a chain for one wallet, which may be none.
type Client interface {
	Domain() payment.EIP712Domain
	Address() payment.Address
	Block(ctx context.Context) (number uint64, at time.Time, err error)
	Final(ctx context.Context) (number uint64, err error)
	TokenBalance(ctx context.Context, of payment.Address) (souk.Atoms, error)
	GasBalance(ctx context.Context, of payment.Address) (wei *big.Int, err error)
	Channel(ctx context.Context, id souk.ChannelID, atBlock uint64) (chain.ChannelState, error)
	Unsettled(ctx context.Context, receiver payment.Address) (souk.Atoms, error)
	SignDeposit(ch payment.Channel, amount souk.Atoms, validFor time.Duration, now time.Time, salt [32]byte) (chain.Deposit, error)
	Deposit(ctx context.Context, ch payment.Channel, d chain.Deposit) (tx string, err error)
	DepositUsed(ctx context.Context, ch payment.Channel, d chain.Deposit) (bool, error)
	Claim(ctx context.Context, claims []chain.Claim) (tx string, err error)
	ClaimAndSettle(ctx context.Context, claims []chain.Claim) (tx string, err error)
	Settle(ctx context.Context, receivers ...payment.Address) (tx string, err error)
	Refund(ctx context.Context, ch payment.Channel, amount souk.Atoms, nonce uint64, authorizer *ecdsa.PrivateKey) (tx string, err error)
	StartWithdraw(ctx context.Context, ch payment.Channel, amount souk.Atoms) (tx string, err error)
	FinishWithdraw(ctx context.Context, ch payment.Channel) (tx string, err error)
	Anchor(ctx context.Context, root souk.Digest, count uint64) (tx string, err error)
	AnchorAt(ctx context.Context, tx string) (root souk.Digest, count, block uint64, err error)
	Faucet(ctx context.Context) (amount souk.Atoms, tx string, err error)
	Wait(ctx context.Context, tx string, confirmations uint64) (chain.TxReceipt, error)
}

// Chain is one to run the test on. Its transactions are mined soon, its contracts
// are those of a devnet, and a client forgets a lost transaction within a second.
type Chain struct {
	Client  func(t *testing.T, wallet, authorizer *ecdsa.PrivateKey) Client // authorizer nil: the wallet
	Advance func(ctx context.Context, dt time.Duration) error               // moves the chain's clock
}

// Run runs the contract test on chains that make returns.
func Run(t *testing.T, make func(t *testing.T) Chain) {
	for _, tt := range []struct {
		name string
		try  func(*world)
	}{
		{"life", life},
		{"deposits", deposits},
		{"claims", claims},
		{"batch", batch},
		{"refunds", refunds},
		{"withdrawal", withdrawal},
		{"refund in a withdrawal", refundInWithdrawal},
		{"refused in its block", refusedInItsBlock},
		{"anchors", anchors},
		{"waiting", waiting},
		{"no wallet", noWallet},
		{"no gas", noGas},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.try(newWorld(t, make(t))) })
	}
}

// world is a chain with a payer and a provider who have gas and tokens.
type world struct {
	*testing.T
	chain           Chain
	payer, provider Client
	voucher         *ecdsa.PrivateKey // the payer's authorizer
	paid            *ecdsa.PrivateKey // the provider's wallet, and its authorizer
	channels        []payment.Channel
}

func newWorld(t *testing.T, c Chain) *world {
	w := &world{T: t, chain: c, voucher: NewKey(t), paid: NewKey(t)}
	w.payer, w.provider = w.rich(NewKey(t), nil), w.rich(w.paid, nil)
	return w
}

// rich is a client whose wallet has been to the faucet.
func (w *world) rich(wallet, authorizer *ecdsa.PrivateKey) Client {
	w.Helper()
	c := w.chain.Client(w.T, wallet, authorizer)
	Fund(w, c)
	return c
}

// channel is a new channel from the payer to the provider.
func (w *world) channel() payment.Channel {
	ch := NewChannel(w.payer, w.provider, w.voucher, byte(len(w.channels)+1))
	w.channels = append(w.channels, ch)
	return ch
}

func (w *world) sign(ch payment.Channel, amount souk.Atoms) chain.Deposit {
	w.Helper()
	return NewDeposit(w, w.payer, ch, amount)
}

func (w *world) fund(ch payment.Channel, amount souk.Atoms) {
	w.Helper()
	tx, err := w.provider.Deposit(w.Context(), ch, w.sign(ch, amount))
	Mined(w, w.provider, tx, err)
}

func (w *world) claim(ch payment.Channel, most, total souk.Atoms) chain.Claim {
	w.Helper()
	return NewClaim(w, w.payer.Domain(), ch, w.voucher, most, total)
}

// want checks a channel, and that the contract holds what it owes to the atom.
func (w *world) want(ch payment.Channel, balance, claimed, pending souk.Atoms) {
	w.Helper()
	if s := State(w, w.provider, ch, 0); s.Balance != balance || s.Claimed != claimed || s.PendingWithdrawal != pending ||
		s.WithdrawStarted.IsZero() != (pending == 0) {
		w.Errorf("channel is %+v; want %d, claimed %d, pending %d", s, balance, claimed, pending)
	}
	var receivers []payment.Address
	for _, ch := range w.channels {
		if !slices.Contains(receivers, ch.Receiver) {
			receivers = append(receivers, ch.Receiver)
		}
	}
	w.tokens(chain.DevnetContracts().Settlement, Owed(w, w.provider, receivers, w.channels...))
}

// tokens checks what an address holds.
func (w *world) tokens(of payment.Address, want souk.Atoms) {
	w.Helper()
	if have, err := w.provider.TokenBalance(w.Context(), of); err != nil || have != want {
		w.Errorf("%s holds %d, %v; want %d", of, have, err, want)
	}
}
