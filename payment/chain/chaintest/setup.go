package chaintest

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/devnet"
)

// Day is the least that a payer waits for a withdrawal.
const Day = 24 * time.Hour

// NewKey makes a wallet or voucher key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewWord is 32 bytes of chance: a salt or a nonce.
func NewWord() (w [32]byte) {
	rand.Read(w[:])
	return w
}

// RunDevnet runs a chain until the test ends, or until stop is called, which waits
// for its end. Config without a folder gets one of the test's.
func RunDevnet(t testing.TB, c devnet.Config) (d *devnet.Devnet, stop func()) {
	t.Helper()
	c.Dir = cmp.Or(c.Dir, t.TempDir())
	d, err := devnet.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("devnet: %v", err)
		}
	}
	t.Cleanup(stop)
	return d, stop
}

// NewClient makes a client that ends with the test. What c leaves open is that of a
// devnet, with pauses short enough for tests.
func NewClient(t testing.TB, c chain.Config) *chain.Client {
	t.Helper()
	if c.Contracts == (chain.Contracts{}) {
		c.Contracts = chain.DevnetContracts()
	}
	c.ChainID = cmp.Or(c.ChainID, chain.DevnetChainID)
	c.Timeout, c.Poll = cmp.Or(c.Timeout, 20*time.Second), cmp.Or(c.Poll, 5*time.Millisecond)
	client, err := chain.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// Fund has the faucet give a client's wallet tokens and gas, and waits until they
// are there.
func Fund(t testing.TB, c Client) chain.TxReceipt {
	t.Helper()
	amount, tx, err := c.Faucet(t.Context())
	if err == nil && amount != chain.FaucetTokens {
		t.Errorf("the faucet gave %v", amount)
	}
	return Mined(t, c, tx, err)
}

// Mined waits for the transaction that a call of c returned.
func Mined(t testing.TB, c Client, tx string, err error) chain.TxReceipt {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Wait(t.Context(), tx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Tx != tx || r.Block == 0 || r.GasUsed == 0 || r.Time.IsZero() {
		t.Errorf("receipt of %s is %+v", tx, r)
	}
	return r
}

// NewChannel is a channel from payer to provider, whose vouchers the key voucher signs.
func NewChannel(payer, provider Client, voucher *ecdsa.PrivateKey, salt byte) payment.Channel {
	return payment.Channel{Payer: payer.Address(), PayerAuthorizer: crypto.PubkeyToAddress(voucher.PublicKey),
		Receiver: provider.Address(), ReceiverAuthorizer: provider.Address(), Token: chain.DevnetContracts().Token,
		WithdrawDelay: uint64(Day / time.Second), Salt: [32]byte{salt}}
}

// NewDeposit is the payer's signed deposit, good for an hour of the chain's time.
func NewDeposit(t testing.TB, payer Client, ch payment.Channel, amount souk.Atoms) chain.Deposit {
	t.Helper()
	_, now, err := payer.Block(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := payer.SignDeposit(ch, amount, time.Hour, now, NewWord())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// NewClaim is a claim of total by a voucher for most.
func NewClaim(t testing.TB, d payment.EIP712Domain, ch payment.Channel, voucher *ecdsa.PrivateKey, most, total souk.Atoms) chain.Claim {
	t.Helper()
	v := payment.Voucher{Channel: ch.ID(d), MaxClaimable: most}
	if err := v.Sign(d, voucher); err != nil {
		t.Fatal(err)
	}
	return chain.Claim{Channel: ch, Voucher: v, Total: total}
}

// State is a channel as the chain has it at a block, or at the latest for 0.
func State(t testing.TB, c Client, ch payment.Channel, block uint64) chain.ChannelState {
	t.Helper()
	s, err := c.Channel(t.Context(), ch.ID(c.Domain()), block)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Owed is what the settlement contract owes to channels and to receivers whose claims
// are not settled. It must hold that, to the atom.
func Owed(t testing.TB, c Client, receivers []payment.Address, channels ...payment.Channel) (owed souk.Atoms) {
	t.Helper()
	for _, ch := range channels {
		s := State(t, c, ch, 0)
		if s.Claimed > s.Balance {
			t.Errorf("claimed %d of %d", s.Claimed, s.Balance)
		}
		owed += s.Balance - s.Claimed
	}
	for _, r := range receivers {
		n, err := c.Unsettled(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		owed += n
	}
	return owed
}

// Refused checks that the contract refused, with the error that this text begins.
func Refused(t testing.TB, err error, text string) {
	t.Helper()
	name, _, _ := strings.Cut(text, "(")
	if r, ok := errors.AsType[*chain.RevertError](err); !ok || r.Name != name || !strings.HasPrefix(r.Text, text) {
		t.Errorf("%v; want revert %s", err, text)
	}
}
