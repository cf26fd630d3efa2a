package chaintest

import (
	"errors"
	"sync"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
)

// refunds need the authorizer's signature for the present nonce.
func refunds(w *world) {
	ctx, ch := w.Context(), w.channel()
	w.fund(ch, 1000)
	_, err := w.payer.Refund(ctx, ch, 100, 0, w.voucher)
	Refused(w, err, "InvalidAuthorizerSignature("+w.provider.Address().String()+")")
	_, err = w.payer.Refund(ctx, ch, 100, 1, w.paid)
	Refused(w, err, "InvalidRefundNonce(0, 1)")
	_, err = w.provider.Refund(ctx, ch, 0, 0, w.paid)
	Refused(w, err, "ZeroAmount()")
	tx, err := w.payer.Refund(ctx, ch, 100, 0, w.paid) // whoever brings it
	Mined(w, w.payer, tx, err)
	_, err = w.payer.Refund(ctx, ch, 100, 0, w.paid)
	Refused(w, err, "InvalidRefundNonce(1, 0)")
	w.want(ch, 900, 0, 0)
	w.tokens(w.payer.Address(), chain.FaucetTokens-900)

	// What is claimed cannot be refunded, and the nonce moves even so.
	tx, err = w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 900, 900)})
	Mined(w, w.provider, tx, err)
	tx, err = w.provider.Refund(ctx, ch, 1, 1, w.paid)
	Mined(w, w.provider, tx, err)
	w.want(ch, 900, 900, 0)
	if n := State(w, w.provider, ch, 0).RefundNonce; n != 2 {
		w.Errorf("refund nonce %d, want 2", n)
	}
}

// withdrawal is the payer's alone, takes its time, and leaves what was claimed.
func withdrawal(w *world) {
	ctx, ch := w.Context(), w.channel()
	w.fund(ch, 1000)
	for _, tt := range []struct {
		by     Client
		amount souk.Atoms
		want   string
	}{
		{w.provider, 1000, "NotPayerSide(" + w.provider.Address().String() + ")"},
		{w.payer, 1001, "WithdrawExceedsBalance(1001, 1000)"},
		{w.payer, 0, "ZeroAmount()"},
	} {
		_, err := tt.by.StartWithdraw(ctx, ch, tt.amount)
		Refused(w, err, tt.want)
	}
	if _, err := w.payer.StartWithdraw(ctx, ch, -1); !errors.Is(err, souk.ErrOverflow) {
		w.Errorf("%v; want %v", err, souk.ErrOverflow)
	}
	_, err := w.payer.FinishWithdraw(ctx, ch)
	Refused(w, err, "NoWithdrawPending()")
	tx, err := w.payer.StartWithdraw(ctx, ch, 400)
	started := Mined(w, w.payer, tx, err)
	ready, ok := State(w, w.provider, ch, 0).WithdrawReady(ch)
	if want := started.Time.Add(Day); !ok || !ready.Equal(want) {
		w.Errorf("ready at %v, %t; want %v", ready, ok, want)
	}
	_, err = w.payer.StartWithdraw(ctx, ch, 1000) // it cannot be raised under a delay that runs
	Refused(w, err, "WithdrawPending(")
	_, err = w.payer.FinishWithdraw(ctx, ch)
	Refused(w, err, "WithdrawNotReady(")

	tx, err = w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 700, 700)})
	Mined(w, w.provider, tx, err)
	w.want(ch, 1000, 700, 400)
	if err := w.chain.Advance(ctx, Day); err != nil {
		w.Fatal(err)
	}
	_, err = w.provider.FinishWithdraw(ctx, ch)
	Refused(w, err, "NotPayerSide(")
	tx, err = w.payer.FinishWithdraw(ctx, ch)
	Mined(w, w.payer, tx, err)
	w.want(ch, 700, 700, 0) // 300 were left of the 400
	w.tokens(w.payer.Address(), chain.FaucetTokens-700)
	_, err = w.provider.Claim(ctx, []chain.Claim{w.claim(ch, 800, 800)}) // too late is too late
	Refused(w, err, "ClaimExceedsBalance(800, 700)")
}

// refundInWithdrawal counts towards the withdrawal.
func refundInWithdrawal(w *world) {
	ctx, ch := w.Context(), w.channel()
	w.fund(ch, 1000)
	tx, err := w.payer.StartWithdraw(ctx, ch, 600)
	Mined(w, w.payer, tx, err)
	for nonce, tt := range []struct{ amount, balance, pending souk.Atoms }{{200, 800, 400}, {400, 400, 0}} {
		tx, err = w.provider.Refund(ctx, ch, tt.amount, uint64(nonce), w.paid)
		Mined(w, w.provider, tx, err)
		w.want(ch, tt.balance, 0, tt.pending)
	}
}

// refusedInItsBlock sends two refunds of one nonce at once: one of them fails,
// before it is sent or in its block, and the client says why.
func refusedInItsBlock(w *world) {
	ctx, ch := w.Context(), w.channel()
	w.fund(ch, 1000)
	var wg sync.WaitGroup
	results := make([]error, 2)
	for i, c := range []Client{w.payer, w.provider} {
		wg.Go(func() {
			tx, err := c.Refund(ctx, ch, 100, 0, w.paid)
			if err == nil {
				_, err = c.Wait(ctx, tx, 1)
			}
			results[i] = err
		})
	}
	wg.Wait()
	if results[0] != nil {
		results[0], results[1] = results[1], results[0]
	}
	if results[0] != nil || !errors.As(results[1], new(*chain.RevertError)) {
		w.Errorf("two refunds of one nonce: %v and %v; want nil and a revert", results[0], results[1])
	}
	w.want(ch, 900, 0, 0)
}
