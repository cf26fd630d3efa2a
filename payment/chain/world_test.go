package chain_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
	"github.com/souk-market/souk/payment/chain/devnet"
)

const day = 24 * time.Hour

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

func (faucetNode) gift(t *testing.T, c *chain.Client) {
	t.Helper()
	amount, tx, err := c.Faucet(t.Context())
	if err != nil || amount != chain.FaucetTokens {
		t.Fatalf("faucet gave %v, %v", amount, err)
	}
	if _, err := c.Wait(t.Context(), tx, 1); err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(t, faucetNode{newDevnet(t)})
}

func worldOn(t *testing.T, n node) *world {
	t.Helper()
	w := &world{t: t, devnet: n, voucher: newKey(t), settle: settlement.NewSettlement()}
	w.payer, w.provider = w.client(newKey(t)), w.client(newKey(t))
	return w
}

func newDevnet(t *testing.T) *devnet.Devnet {
	t.Helper()
	d, err := devnet.New(devnet.Config{Dir: t.TempDir(), Eager: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// client is a client whose wallet has been to the faucet.
func (w *world) client(key *ecdsa.PrivateKey) *chain.Client {
	w.t.Helper()
	c, err := chain.New(chain.Config{
		URLs: []string{w.devnet.URL()}, ChainID: chain.DevnetChainID, Contracts: chain.DevnetContracts(),
		Wallet: key, Timeout: 20 * time.Second, Poll: 5 * time.Millisecond,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	w.devnet.gift(w.t, c)
	return c
}

// channel is a new channel from the payer to the provider.
func (w *world) channel() payment.Channel {
	w.salt++
	return payment.Channel{
		Payer:              w.payer.Address(),
		PayerAuthorizer:    crypto.PubkeyToAddress(w.voucher.PublicKey),
		Receiver:           w.provider.Address(),
		ReceiverAuthorizer: w.provider.Address(),
		Token:              w.provider.Contracts.Token,
		WithdrawDelay:      uint64(day / time.Second),
		Salt:               [32]byte{w.salt},
	}
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
	_, now, err := w.payer.Block(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.payer.SignDeposit(ch, amount, time.Hour, now, randomWord(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) deposit(ch payment.Channel, amount souk.Atoms) {
	w.t.Helper()
	tx, err := w.provider.Deposit(w.t.Context(), ch, w.sign(ch, amount))
	w.mined(w.provider, tx, err)
}

// claim is a claim of total by a voucher for most.
func (w *world) claim(ch payment.Channel, most, total souk.Atoms) chain.Claim {
	w.t.Helper()
	v := payment.Voucher{Channel: ch.ID(w.payer.Domain()), MaxClaimable: most}
	if err := v.Sign(w.payer.Domain(), w.voucher); err != nil {
		w.t.Fatal(err)
	}
	return chain.Claim{Channel: ch, Voucher: v, Total: total}
}

// mined waits for what a call of c returned.
func (w *world) mined(c *chain.Client, tx string, err error) chain.TxReceipt {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := c.Wait(w.t.Context(), tx, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) state(ch payment.Channel) chain.ChannelState {
	w.t.Helper()
	s, err := w.provider.Channel(w.t.Context(), ch.ID(w.provider.Domain()), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// want checks a channel's balance, what is claimed of it and what is about to be
// withdrawn.
func (w *world) want(ch payment.Channel, balance, claimed, pending souk.Atoms) {
	w.t.Helper()
	s := w.state(ch)
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
	var owed souk.Atoms
	for _, ch := range channels {
		s := w.state(ch)
		if s.Claimed > s.Balance {
			w.t.Errorf("claimed %d of %d", s.Claimed, s.Balance)
		}
		owed += s.Balance - s.Claimed
	}
	for _, r := range receivers {
		n, err := w.provider.Unsettled(w.t.Context(), r)
		if err != nil {
			w.t.Fatal(err)
		}
		owed += n
	}
	if held := w.tokens(w.provider.Contracts.Settlement); held != owed {
		w.t.Errorf("the contract holds %d and owes %d", held, owed)
	}
}

// reverts checks that a contract refused with the error of that name.
func reverts(t *testing.T, err error, name string) {
	t.Helper()
	r, ok := errors.AsType[*chain.RevertError](err)
	if !ok || r.Name != name {
		t.Errorf("%v; want revert %s", err, name)
	}
}

func randomWord(t *testing.T) (w [32]byte) {
	t.Helper()
	if _, err := rand.Read(w[:]); err != nil {
		t.Fatal(err)
	}
	return w
}

func atoms(a souk.Atoms) *big.Int { return big.NewInt(int64(a)) }
