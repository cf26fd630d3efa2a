package chaintest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
)

// life is one channel from its first deposit to the last atom, and on.
func life(w *world) {
	ctx, ch := w.Context(), w.channel()
	w.want(ch, 0, 0, 0)
	w.fund(ch, 1_000_000)
	funded := State(w, w.provider, ch, 0).Block
	w.fund(ch, 500_000)
	w.want(ch, 1_500_000, 0, 0)
	w.tokens(w.payer.Address(), chain.FaucetTokens-1_500_000)

	tx, err := w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 700_000, 600_000)})
	Mined(w, w.provider, tx, err)
	w.want(ch, 1_500_000, 600_000, 0)
	w.tokens(w.provider.Address(), chain.FaucetTokens)
	tx, err = w.provider.Settle(ctx)
	Mined(w, w.provider, tx, err)
	w.tokens(w.provider.Address(), chain.FaucetTokens+600_000)
	tx, err = w.provider.Settle(ctx) // nothing is left to settle, and that is no error
	Mined(w, w.provider, tx, err)

	tx, err = w.provider.Refund(ctx, ch, 400_000, 0, w.paid)
	Mined(w, w.provider, tx, err)
	w.want(ch, 1_100_000, 600_000, 0)
	if s := State(w, w.provider, ch, 0); s.RefundNonce != 1 || s.Left() != 500_000 {
		w.Errorf("refund nonce %d, left %d; want 1, 500000", s.RefundNonce, s.Left())
	}
	if then := State(w, w.provider, ch, funded); then.Balance != 1_000_000 || then.Claimed != 0 || then.Block != funded {
		w.Errorf("at block %d the channel had %+v", funded, then)
	}
	if _, err := w.provider.Channel(ctx, ch.ID(w.provider.Domain()), 1<<40); err == nil {
		w.Error("a block that is not there yet was read")
	}

	w.fund(ch, 300_000)
	tx, err = w.provider.ClaimAndSettle(ctx, []chain.Claim{w.claim(ch, 900_000, 900_000)})
	Mined(w, w.provider, tx, err)
	w.want(ch, 1_400_000, 900_000, 0)
	w.tokens(w.provider.Address(), chain.FaucetTokens+900_000)
}

// deposits are good once, in time, for their channel and amount, and as far as
// the payer has tokens.
func deposits(w *world) {
	ctx, ch := w.Context(), w.channel()
	good := w.sign(ch, 1000)
	_, now, err := w.payer.Block(ctx)
	if err != nil {
		w.Fatal(err)
	}
	late, err := w.payer.SignDeposit(ch, 1000, time.Second, now.Add(-time.Hour), [32]byte{1})
	if err != nil {
		w.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*payment.Channel, *chain.Deposit)
		want   error
	}{
		{"for another channel", func(c *payment.Channel, _ *chain.Deposit) { c.Salt[1]++ }, payment.ErrSignature},
		{"more than signed", func(_ *payment.Channel, d *chain.Deposit) { d.Amount++ }, payment.ErrSignature},
		{"longer than signed", func(_ *payment.Channel, d *chain.Deposit) { d.ValidBefore++ }, payment.ErrSignature},
		{"another salt", func(_ *payment.Channel, d *chain.Deposit) { d.Salt[0]++ }, payment.ErrSignature},
		{"nothing", func(_ *payment.Channel, d *chain.Deposit) { d.Amount = 0 }, chain.ErrDeposit},
		{"a short delay", func(c *payment.Channel, _ *chain.Deposit) { c.WithdrawDelay = chain.MinWithdrawDelay - 1 }, chain.ErrDeposit},
		{"a long delay", func(c *payment.Channel, _ *chain.Deposit) { c.WithdrawDelay = chain.MaxWithdrawDelay + 1 }, chain.ErrDeposit},
		{"another token", func(c *payment.Channel, _ *chain.Deposit) { c.Token[0]++ }, chain.ErrDeposit},
	} {
		c, d := ch, good
		tt.change(&c, &d)
		if _, err := w.provider.Deposit(ctx, c, d); !errors.Is(err, tt.want) {
			w.Errorf("%s: %v; want %v", tt.name, err, tt.want)
		}
	}
	_, err = w.provider.Deposit(ctx, ch, late)
	Refused(w, err, "AuthorizationExpired(")
	_, err = w.provider.Deposit(ctx, ch, w.sign(ch, chain.FaucetTokens+1))
	Refused(w, err, "ERC20InsufficientBalance("+w.payer.Address().String()+", 1000000000, 1000000001)")
	if used, err := w.provider.DepositUsed(ctx, ch, good); used || err != nil {
		w.Errorf("used %t, %v before it was", used, err)
	}
	w.want(ch, 0, 0, 0)
	depositOnce(w, ch, good)
}

// depositOnce submits one authorization four times at once, and then again.
func depositOnce(w *world, ch payment.Channel, d chain.Deposit) {
	ctx := w.Context()
	var wg sync.WaitGroup
	results := make([]error, 4)
	for i := range results {
		wg.Go(func() {
			tx, err := w.provider.Deposit(ctx, ch, d)
			if err == nil {
				_, err = w.provider.Wait(ctx, tx, 1)
			}
			results[i] = err
		})
	}
	wg.Wait()
	worked := 0
	for _, err := range results {
		if err == nil {
			worked++
		} else if !errors.Is(err, chain.ErrUsed) && !errors.As(err, new(*chain.RevertError)) {
			w.Errorf("%v; want %v or a revert", err, chain.ErrUsed)
		}
	}
	if worked != 1 {
		w.Errorf("%d of %d deposits by one authorization worked", worked, len(results))
	}
	if _, err := w.payer.Deposit(ctx, ch, d); !errors.Is(err, chain.ErrUsed) {
		w.Errorf("%v; want %v", err, chain.ErrUsed)
	}
	if used, err := w.payer.DepositUsed(ctx, ch, d); !used || err != nil {
		w.Errorf("used %t, %v after it was", used, err)
	}
	w.want(ch, 1000, 0, 0)
	w.tokens(w.payer.Address(), chain.FaucetTokens-1000)
}

// claims go up only, as far as voucher and balance, by whom they are due.
func claims(w *world) {
	ctx, ch := w.Context(), w.channel()
	w.fund(ch, 1000)
	stranger := w.rich(NewKey(w.T), nil)
	good := w.claim(ch, 500, 500)
	raised, foreign, unsigned := good, good, good
	raised.Voucher.MaxClaimable++
	unsigned.Voucher.Signature = nil
	if err := foreign.Voucher.Sign(payment.EIP712Domain{ChainID: 1, Settlement: w.payer.Domain().Settlement}, w.voucher); err != nil {
		w.Fatal(err)
	}
	id := "0x" + ch.ID(w.payer.Domain()).String()
	for _, tt := range []struct {
		by    Client
		claim chain.Claim
		want  string
	}{
		{w.provider, w.claim(ch, 500, 501), "ClaimExceedsVoucher(501, 500)"},
		{w.provider, w.claim(ch, 2000, 1001), "ClaimExceedsBalance(1001, 1000)"},
		{w.provider, raised, "InvalidVoucherSignature(" + id + ")"},
		{w.provider, foreign, "InvalidVoucherSignature(" + id + ")"},
		{w.provider, unsigned, "InvalidVoucherSignature(" + id + ")"},
		{stranger, good, "InvalidAuthorizerSignature(" + w.provider.Address().String() + ")"},
		{w.payer, good, "InvalidAuthorizerSignature("},
	} {
		_, err := tt.by.Claim(ctx, []chain.Claim{tt.claim})
		Refused(w, err, tt.want)
	}
	if _, err := w.provider.Claim(ctx, nil); err == nil {
		w.Error("claimed nothing")
	}
	if _, err := w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 500, -1)}); !errors.Is(err, souk.ErrOverflow) {
		w.Errorf("%v; want %v", err, souk.ErrOverflow)
	}
	other := w.claim(w.channel(), 500, 500)
	other.Channel = ch
	if _, err := w.provider.Claim(ctx, []chain.Claim{other}); err == nil {
		w.Error("claimed by another channel's voucher")
	}
	_, err := w.provider.Claim(ctx, []chain.Claim{good, w.claim(w.channel(), 500, 500)})
	Refused(w, err, "ClaimExceedsBalance(500, 0)") // and spoils the batch
	w.want(ch, 1000, 0, 0)

	for _, total := range []souk.Atoms{300, 200, 300, 301} {
		tx, err := w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 500, total)})
		Mined(w, w.provider, tx, err)
	}
	w.want(ch, 1000, 301, 0)
}

// batch claims for a receiver that is neither wallet nor authorizer.
func batch(w *world) {
	ctx, payout, authorizer := w.Context(), payment.Address{0xba, 0x4c}, NewKey(w.T)
	relay := w.rich(NewKey(w.T), authorizer)
	var rows []chain.Claim
	for range 3 {
		ch := w.channel()
		ch.Receiver, ch.ReceiverAuthorizer = payout, crypto.PubkeyToAddress(authorizer.PublicKey)
		w.channels[len(w.channels)-1] = ch
		w.fund(ch, 100)
		rows = append(rows, w.claim(ch, 80, 70))
	}
	tx, err := relay.ClaimAndSettle(ctx, rows)
	Mined(w, relay, tx, err)
	w.tokens(payout, 210)
	w.want(rows[0].Channel, 100, 70, 0)

	mine := w.channel()
	w.fund(mine, 100)
	_, err = relay.Claim(ctx, []chain.Claim{w.claim(rows[0].Channel, 80, 80), w.claim(mine, 10, 10)})
	Refused(w, err, "MixedReceiverAuthorizers("+crypto.PubkeyToAddress(authorizer.PublicKey).String()+", "+w.provider.Address().String()+")")
	tx, err = relay.Claim(ctx, []chain.Claim{w.claim(rows[0].Channel, 90, 90), w.claim(rows[1].Channel, 80, 10)})
	Mined(w, relay, tx, err)
	w.want(rows[1].Channel, 100, 70, 0) // an old claim in a batch does no harm
	tx, err = relay.Settle(ctx, payout, w.provider.Address())
	Mined(w, relay, tx, err)
	w.tokens(payout, 230)
	tx, err = relay.Refund(ctx, rows[2].Channel, 1000, 0, authorizer)
	Mined(w, relay, tx, err)
	w.want(rows[2].Channel, 70, 70, 0) // more than there is gives what there is
}

// anchors can be read back, and only they.
func anchors(w *world) {
	ctx := w.Context()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			tx, err := w.provider.Anchor(ctx, souk.Digest{byte(i)}, uint64(i+1))
			if err != nil {
				w.Error(err)
				return
			}
			r, err := w.provider.Wait(ctx, tx, 1)
			if err != nil {
				w.Error(err)
				return
			}
			root, count, block, err := w.payer.AnchorAt(ctx, tx)
			if err != nil || root != (souk.Digest{byte(i)}) || count != uint64(i+1) || block != r.Block {
				w.Errorf("anchor %d reads %v, %d, %d, %v", i, root, count, block, err)
			}
		})
	}
	wg.Wait()
	tx, err := w.provider.Settle(ctx)
	Mined(w, w.provider, tx, err)
	if _, _, _, err := w.provider.AnchorAt(ctx, tx); !errors.Is(err, chain.ErrNoAnchor) {
		w.Errorf("%v; want %v", err, chain.ErrNoAnchor)
	}
	_, err = w.provider.Anchor(ctx, souk.Digest{1}, 0)
	Refused(w, err, "NothingToAnchor()")
}

// waiting ends with the confirmations asked for, when the transaction is lost, or
// with its context; the chain's clock and final block go forward only.
func waiting(w *world) {
	ctx := w.Context()
	before, then, err := w.provider.Block(ctx)
	if err != nil {
		w.Fatal(err)
	}
	tx, err := w.provider.Settle(ctx)
	first := Mined(w, w.provider, tx, err)
	deep, err := w.provider.Wait(ctx, tx, 3)
	if err != nil || deep != first {
		w.Errorf("three deep it is %+v, %v; want %+v", deep, err, first)
	}
	number, at, err := w.provider.Block(ctx)
	if err != nil || number < first.Block+2 || number <= before || at.Before(then) {
		w.Errorf("block %d at %v, %v; it was block %d at %v", number, at, err, before, then)
	}
	if final, err := w.provider.Final(ctx); err != nil || final > number {
		w.Errorf("block %d is final, %v; the latest is %d", final, err, number)
	}
	if _, err := w.provider.Wait(ctx, "0x"+strings.Repeat("ab", 32), 1); !errors.Is(err, chain.ErrDropped) {
		w.Errorf("%v; want %v", err, chain.ErrDropped)
	}
	if _, err := w.provider.Wait(ctx, "0xab", 1); err == nil {
		w.Error("waited for half a hash")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.provider.Wait(ended, tx, 1<<20); !errors.Is(err, context.Canceled) {
		w.Errorf("%v; want %v", err, context.Canceled)
	}
}

// noWallet is a client that reads only.
func noWallet(w *world) {
	ctx, c := w.Context(), w.chain.Client(w.T, nil, nil)
	if _, _, err := c.Block(ctx); err != nil {
		w.Error(err)
	}
	if c.Domain() != w.payer.Domain() || c.Address() != (payment.Address{}) {
		w.Errorf("it is on %+v as %s", c.Domain(), c.Address())
	}
	_, _, faucetErr := c.Faucet(ctx)
	_, settleErr := c.Settle(ctx)
	_, anchorErr := c.Anchor(ctx, souk.Digest{}, 1)
	_, signErr := c.SignDeposit(w.channel(), 1, time.Hour, time.Unix(0, 0), [32]byte{})
	for _, err := range []error{faucetErr, settleErr, anchorErr, signErr} {
		if !errors.Is(err, chain.ErrNoWallet) {
			w.Errorf("%v; want %v", err, chain.ErrNoWallet)
		}
	}
}

// noGas is a wallet without coins: nothing is sent, and it is no revert.
func noGas(w *world) {
	ctx, poor := w.Context(), w.chain.Client(w.T, NewKey(w.T), nil)
	if wei, err := poor.GasBalance(ctx, poor.Address()); err != nil || wei.Sign() != 0 {
		w.Errorf("it has %v wei, %v", wei, err)
	}
	if _, err := poor.Settle(ctx); !errors.Is(err, chain.ErrGas) || errors.As(err, new(*chain.RevertError)) {
		w.Errorf("%v; want %v, and no revert", err, chain.ErrGas)
	}
	had, err := w.provider.GasBalance(ctx, w.provider.Address())
	if err != nil {
		w.Fatal(err)
	}
	tx, err := w.provider.Settle(ctx)
	Mined(w, w.provider, tx, err)
	if has, err := w.provider.GasBalance(ctx, w.provider.Address()); err != nil || has.Cmp(had) >= 0 {
		w.Errorf("it had %v wei and has %v, %v", had, has, err)
	}
}
