package chain_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
)

// Whatever is done to some channels in whatever order, sensible or not, the
// contract holds what it owes, nobody has more than vouchers and deposits say,
// and no token is made or lost.
func TestTokensAreConserved(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	ctx := t.Context()
	channels := []payment.Channel{w.channel(), w.channel(), w.channel()}
	promised := make([]souk.Atoms, len(channels))
	receivers := []payment.Address{w.provider.Address()}

	done, refused := 0, 0
	for range 120 {
		i := rng.IntN(len(channels))
		ch := channels[i]
		amount := souk.Atoms(rng.Int64N(1000))
		c := w.provider
		var tx string
		var err error
		switch rng.IntN(8) {
		case 0, 1:
			if amount == 0 {
				continue
			}
			tx, err = c.Deposit(ctx, ch, w.sign(ch, amount))
		case 2, 3:
			most := promised[i] + amount
			if tx, err = c.Claim(ctx, []chain.Claim{w.claim(ch, most, most-souk.Atoms(rng.Int64N(50)-5))}); err == nil {
				promised[i] = most
			}
		case 4:
			tx, err = c.Settle(ctx)
		case 5:
			tx, err = c.Refund(ctx, ch, amount, chaintest.State(w.t, w.provider, ch, 0).RefundNonce, c.Wallet)
		case 6:
			c = w.payer
			tx, err = c.StartWithdraw(ctx, ch, amount)
		case 7:
			if rng.IntN(2) == 0 {
				if err := w.devnet.Advance(ctx, chaintest.Day); err != nil {
					t.Fatal(err)
				}
			}
			c = w.payer
			tx, err = c.FinishWithdraw(ctx, ch)
		}
		if err != nil {
			if _, ok := errors.AsType[*chain.RevertError](err); !ok && !errors.Is(err, souk.ErrOverflow) {
				t.Fatal(err)
			}
			refused++
			continue
		}
		chaintest.Mined(w.t, c, tx, nil)
		done++
		w.conserved(receivers, channels...)
		for j, ch := range channels {
			if s := chaintest.State(w.t, w.provider, ch, 0); s.Claimed > promised[j] {
				t.Fatalf("claimed %d of %d promised", s.Claimed, promised[j])
			}
		}
	}
	at := w.payer.Contracts.Settlement
	if sum := w.tokens(w.payer.Address()) + w.tokens(w.provider.Address()) + w.tokens(at); sum != 2*chain.FaucetTokens {
		t.Errorf("there are %d tokens, want %d", sum, 2*chain.FaucetTokens)
	}
	if done < 30 || refused == 0 {
		t.Errorf("%d steps done, %d refused: the walk tests too little", done, refused)
	}
	t.Logf("%d steps done, %d refused", done, refused)
}
