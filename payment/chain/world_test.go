package chain_test

import (
	"context"
	"crypto/ecdsa"
	"math/big"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
	"github.com/souk-market/souk/payment/chain/devnet"
)

// world is a chain with a payer and a provider who have gas and tokens.
type world struct {
	t        *testing.T
	devnet   node
	payer    *chain.Client
	provider *chain.Client
	voucher  *ecdsa.PrivateKey // the payer's authorizer
	settle   *settlement.Settlement
	salt     byte
}

// node is a chain to run the tests on.
type node interface {
	URL() string
	Advance(ctx context.Context, dt time.Duration) error
	// gift gives a client's wallet tokens and gas, and returns when they are there.
	gift(t *testing.T, c *chain.Client)
}

// faucetNode is a devnet with its faucet.
type faucetNode struct{ *devnet.Devnet }

func (faucetNode) gift(t *testing.T, c *chain.Client) { chaintest.Fund(t, c) }

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(t, faucetNode{newDevnet(t)})
}

func worldOn(t *testing.T, n node) *world {
	t.Helper()
	w := &world{t: t, devnet: n, voucher: chaintest.NewKey(t), settle: settlement.NewSettlement()}
	w.payer, w.provider = w.client(chaintest.NewKey(t)), w.client(chaintest.NewKey(t))
	return w
}

func newDevnet(t *testing.T) *devnet.Devnet {
	t.Helper()
	d, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	return d
}

// client is a client whose wallet has been to the faucet.
func (w *world) client(key *ecdsa.PrivateKey) *chain.Client {
	w.t.Helper()
	c := chaintest.NewClient(w.t, chain.Config{URLs: []string{w.devnet.URL()}, Wallet: key})
	w.devnet.gift(w.t, c)
	return c
}

// channel is a new channel from the payer to the provider.
func (w *world) channel() payment.Channel {
	w.salt++
	return chaintest.NewChannel(w.payer, w.provider, w.voucher, w.salt)
}

// funded is a new channel with a balance.
func (w *world) funded(amount souk.Atoms) payment.Channel {
	w.t.Helper()
	ch := w.channel()
	w.deposit(ch, amount)
	return ch
}

func (w *world) sign(ch payment.Channel, amount souk.Atoms) chain.Deposit {
	w.t.Helper()
	return chaintest.NewDeposit(w.t, w.payer, ch, amount)
}

func (w *world) deposit(ch payment.Channel, amount souk.Atoms) {
	w.t.Helper()
	tx, err := w.provider.Deposit(w.t.Context(), ch, w.sign(ch, amount))
	chaintest.Mined(w.t, w.provider, tx, err)
}

// claim is a claim of total by a voucher for most.
func (w *world) claim(ch payment.Channel, most, total souk.Atoms) chain.Claim {
	w.t.Helper()
	return chaintest.NewClaim(w.t, w.payer.Domain(), ch, w.voucher, most, total)
}

// want checks a channel's balance, what is claimed of it and what is about to be
// withdrawn.
func (w *world) want(ch payment.Channel, balance, claimed, pending souk.Atoms) {
	w.t.Helper()
	s := chaintest.State(w.t, w.provider, ch, 0)
	if s.Balance != balance || s.Claimed != claimed || s.PendingWithdrawal != pending {
		w.t.Errorf("channel has %d, claimed %d, pending %d; want %d, %d, %d",
			s.Balance, s.Claimed, s.PendingWithdrawal, balance, claimed, pending)
	}
}

func (w *world) tokens(of payment.Address) souk.Atoms {
	w.t.Helper()
	n, err := w.provider.TokenBalance(w.t.Context(), of)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// conserved checks that the contract holds what it owes, to the atom.
func (w *world) conserved(receivers []payment.Address, channels ...payment.Channel) {
	w.t.Helper()
	owed := chaintest.Owed(w.t, w.provider, receivers, channels...)
	if held := w.tokens(w.provider.Contracts.Settlement); held != owed {
		w.t.Errorf("the contract holds %d and owes %d", held, owed)
	}
}

func atoms(a souk.Atoms) *big.Int { return big.NewInt(int64(a)) }
