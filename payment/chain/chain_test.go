package chain_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
)

// One channel from its first deposit to the last atom.
func TestLifeOfAChannel(t *testing.T) { lifeOfAChannel(t, newWorld(t)) }

func lifeOfAChannel(t *testing.T, w *world) {
	ctx := t.Context()
	ch := w.channel()
	providers := []payment.Address{w.provider.Address()}
	w.want(ch, 0, 0, 0)

	w.deposit(ch, 1_000_000)
	funded := chaintest.State(w.t, w.provider, ch, 0).Block
	w.deposit(ch, 500_000)
	w.want(ch, 1_500_000, 0, 0)
	if got, want := w.tokens(w.payer.Address()), chain.FaucetTokens-1_500_000; got != want {
		t.Errorf("payer has %d, want %d", got, want)
	}
	w.conserved(providers, ch)

	tx, err := w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 700_000, 600_000)})
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 1_500_000, 600_000, 0)
	w.conserved(providers, ch)
	if n, err := w.provider.Unsettled(ctx, w.provider.Address()); err != nil || n != 600_000 {
		t.Errorf("unsettled %d, %v; want 600000", n, err)
	}
	tx, err = w.provider.Settle(ctx)
	chaintest.Mined(w.t, w.provider, tx, err)
	if got, want := w.tokens(w.provider.Address()), chain.FaucetTokens+600_000; got != want {
		t.Errorf("provider has %d, want %d", got, want)
	}
	w.conserved(providers, ch)

	tx, err = w.provider.Refund(ctx, ch, 400_000, 0, w.provider.Wallet)
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 1_100_000, 600_000, 0)
	if s := chaintest.State(w.t, w.provider, ch, 0); s.RefundNonce != 1 || s.Left() != 500_000 {
		t.Errorf("refund nonce %d, left %d; want 1, 500000", s.RefundNonce, s.Left())
	}

	tx, err = w.payer.StartWithdraw(ctx, ch, 500_000)
	started := chaintest.Mined(w.t, w.payer, tx, err)
	w.want(ch, 1_100_000, 600_000, 500_000)
	ready, ok := chaintest.State(w.t, w.provider, ch, 0).WithdrawReady(ch)
	if want := started.Time.Add(chaintest.Day); !ok || !ready.Equal(want) {
		t.Errorf("withdrawal is ready at %v, %t; want %v", ready, ok, want)
	}
	_, err = w.payer.FinishWithdraw(ctx, ch)
	chaintest.Refused(t, err, "WithdrawNotReady")
	if err := w.devnet.Advance(ctx, chaintest.Day); err != nil {
		t.Fatal(err)
	}
	tx, err = w.payer.FinishWithdraw(ctx, ch)
	chaintest.Mined(w.t, w.payer, tx, err)
	w.want(ch, 600_000, 600_000, 0)
	if got, want := w.tokens(w.payer.Address()), chain.FaucetTokens-600_000; got != want {
		t.Errorf("payer has %d, want %d", got, want)
	}
	w.conserved(providers, ch)

	// The past can still be read.
	then, err := w.provider.Channel(ctx, ch.ID(w.provider.Domain()), funded)
	if err != nil || then.Balance != 1_000_000 || then.Claimed != 0 {
		t.Errorf("at block %d the channel had %+v, %v", funded, then, err)
	}
	// The channel can be funded again, and its vouchers go on from where they were.
	w.deposit(ch, 300_000)
	tx, err = w.provider.ClaimAndSettle(ctx, []chain.Claim{w.claim(ch, 900_000, 900_000)})
	chaintest.Mined(w.t, w.provider, tx, err)
	w.want(ch, 900_000, 900_000, 0)
	if got, want := w.tokens(w.provider.Address()), chain.FaucetTokens+900_000; got != want {
		t.Errorf("provider has %d, want %d", got, want)
	}
	w.conserved(providers, ch)
}

// A provider whose payout address and voucher key are not its wallet.
func TestClaimForAnotherReceiver(t *testing.T) {
	w := newWorld(t)
	payout, authorizer := payment.Address{0xba, 0x4c}, chaintest.NewKey(t)
	relay := *w.provider
	c, err := chain.New(chain.Config{
		URLs: relay.URLs, Contracts: relay.Contracts, Wallet: relay.Wallet, Authorizer: authorizer, Poll: relay.Poll,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Domain() != w.provider.Domain() {
		t.Errorf("the node said %+v, want %+v", c.Domain(), w.provider.Domain())
	}
	var claims []chain.Claim
	var channels []payment.Channel
	for range 3 {
		ch := w.channel()
		ch.Receiver, ch.ReceiverAuthorizer = payout, addressOf(authorizer)
		w.deposit(ch, 100)
		claims, channels = append(claims, w.claim(ch, 80, 70)), append(channels, ch)
	}
	tx, err := c.ClaimAndSettle(t.Context(), claims)
	chaintest.Mined(w.t, c, tx, err)
	if got := w.tokens(payout); got != 210 {
		t.Errorf("payout has %d, want 210", got)
	}
	w.conserved([]payment.Address{payout}, channels...)

	tx, err = c.Claim(t.Context(), []chain.Claim{w.claim(channels[0], 90, 90), w.claim(channels[1], 80, 10)})
	chaintest.Mined(w.t, c, tx, err)
	w.want(channels[0], 100, 90, 0)
	w.want(channels[1], 100, 70, 0) // an old claim in a batch does no harm
	tx, err = c.Settle(t.Context(), payout, w.provider.Address())
	chaintest.Mined(w.t, c, tx, err)
	if got := w.tokens(payout); got != 230 {
		t.Errorf("payout has %d, want 230", got)
	}

	tx, err = c.Refund(t.Context(), channels[2], 1000, 0, authorizer)
	chaintest.Mined(w.t, c, tx, err)
	w.want(channels[2], 70, 70, 0) // more than there is gives what there is
	w.conserved([]payment.Address{payout}, channels...)
}

func TestDepositCountsOnce(t *testing.T) {
	w := newWorld(t)
	ch := w.channel()
	d := w.sign(ch, 1000)
	var wg sync.WaitGroup
	results := make([]error, 4)
	for i := range results {
		wg.Go(func() {
			tx, err := w.provider.Deposit(t.Context(), ch, d)
			if err == nil {
				_, err = w.provider.Wait(t.Context(), tx, 1)
			}
			results[i] = err
		})
	}
	wg.Wait()
	worked := 0
	for _, err := range results {
		if err == nil {
			worked++
		} else if _, ok := errors.AsType[*chain.RevertError](err); !ok && !errors.Is(err, chain.ErrUsed) {
			t.Errorf("%v; want %v or a revert", err, chain.ErrUsed)
		}
	}
	if worked != 1 {
		t.Errorf("%d of %d deposits by one authorization worked", worked, len(results))
	}
	if _, err := w.provider.Deposit(t.Context(), ch, d); !errors.Is(err, chain.ErrUsed) {
		t.Errorf("%v; want %v", err, chain.ErrUsed)
	}
	w.want(ch, 1000, 0, 0)
	w.conserved([]payment.Address{w.provider.Address()}, ch)
}

// Transactions that are sent at once get numbers of their own.
func TestSendingAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	blocks := make([]uint64, 12)
	for i := range blocks {
		wg.Go(func() {
			root := souk.Digest{byte(i)}
			tx, err := w.provider.Anchor(t.Context(), root, uint64(i+1))
			if err != nil {
				t.Error(err)
				return
			}
			r, err := w.provider.Wait(t.Context(), tx, 1)
			if err != nil {
				t.Error(err)
				return
			}
			got, count, block, err := w.payer.AnchorAt(t.Context(), tx)
			if err != nil || got != root || count != uint64(i+1) || block != r.Block {
				t.Errorf("anchor %d reads %v, %d, %d, %v", i, got, count, block, err)
			}
		})
	}
	wg.Wait()
	tx, err := w.provider.Settle(t.Context())
	chaintest.Mined(w.t, w.provider, tx, err)
	if _, _, _, err := w.provider.AnchorAt(t.Context(), tx); !errors.Is(err, chain.ErrNoAnchor) {
		t.Errorf("%v; want %v", err, chain.ErrNoAnchor)
	}
	_, err = w.provider.Anchor(t.Context(), souk.Digest{1}, 0)
	chaintest.Refused(t, err, "NothingToAnchor")
}

func TestWithoutWallet(t *testing.T) {
	w := newWorld(t)
	c, err := chain.New(chain.Config{URLs: w.payer.URLs, Contracts: w.payer.Contracts})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.Block(t.Context()); err != nil {
		t.Error(err)
	}
	_, _, faucetErr := c.Faucet(t.Context())
	_, settleErr := c.Settle(t.Context())
	_, signErr := c.SignDeposit(w.channel(), 1, time.Hour, time.Unix(0, 0), [32]byte{})
	for _, err := range []error{faucetErr, settleErr, signErr} {
		if !errors.Is(err, chain.ErrNoWallet) {
			t.Errorf("%v; want %v", err, chain.ErrNoWallet)
		}
	}
}
