package mem_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/mem"
)

func TestContract(t *testing.T) {
	chaintest.Run(t, func(t *testing.T) chaintest.Chain {
		c := mem.New(mem.Config{BlockTime: 2 * time.Millisecond})
		return chaintest.Chain{
			Client: func(_ *testing.T, wallet, authorizer *ecdsa.PrivateKey) chaintest.Client {
				return c.Client(mem.ClientConfig{Wallet: wallet, Authorizer: authorizer, Poll: time.Millisecond, DropAfter: 20 * time.Millisecond})
			},
			Advance: func(_ context.Context, dt time.Duration) error { c.Advance(dt); return nil },
		}
	})
}

// A transaction waits for its block in virtual time, and outlives a chain that is
// down for an hour.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mem.New(mem.Config{BlockTime: 12 * time.Second})
		client, start := c.Client(mem.ClientConfig{Wallet: chaintest.NewKey(t)}), time.Now()
		amount, tx, err := client.Faucet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r, err := client.Wait(t.Context(), tx, 1); err != nil || r.Block != 2 || time.Since(start) != 12*time.Second {
			t.Errorf("mined as %+v, %v after %v", r, err, time.Since(start))
		}
		c.SetDown(true)
		if _, err := client.TokenBalance(t.Context(), client.Address()); !errors.Is(err, mem.ErrDown) {
			t.Errorf("%v; want %v", err, mem.ErrDown)
		}
		time.AfterFunc(time.Hour, func() { c.SetDown(false) })
		if _, err := client.Wait(t.Context(), tx, 3); err != nil || time.Since(start) < time.Hour+12*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if n, err := client.TokenBalance(t.Context(), client.Address()); err != nil || n != amount || n != chain.FaucetTokens {
			t.Errorf("the wallet holds %d, %v", n, err)
		}
		if all, contract, owed := c.Held(); all != amount || contract != 0 || owed != 0 {
			t.Errorf("%d in all, %d in the contract, which owes %d", all, contract, owed)
		}
	})
}
