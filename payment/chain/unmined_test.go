package chain

import (
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
)

// TestUnmined keeps what a restarted node must be given again: a transaction with
// those before it, but none that is in a block or whose number another has.
func TestUnmined(t *testing.T) {
	tx := func(nonce, gas uint64) *types.Transaction {
		return types.NewTx(&types.DynamicFeeTx{Nonce: nonce, Gas: gas})
	}
	u := new(unmined)
	first, second, third, replaced := tx(4, 1), tx(5, 1), tx(6, 1), tx(5, 2)
	check := func(when string, of *types.Transaction, want ...*types.Transaction) {
		t.Helper()
		if got := u.upTo(of.Hash()); !slices.Equal(got, want) {
			t.Errorf("%s: %d transactions, want %d", when, len(got), len(want))
		}
	}
	check("nothing was sent", first)
	for _, sent := range []*types.Transaction{first, second, third} {
		u.add(sent)
	}
	check("three were sent", second, first, second)
	check("three were sent", third, first, second, third)
	u.mined(first.Hash())
	check("one is mined", third, second, third)
	u.add(replaced)
	check("a number is used again", third)
	check("a number is used again", replaced, replaced)
	for nonce := range uint64(2 * maxUnmined) {
		u.add(tx(10+nonce, 1))
	}
	if len(u.txs) != maxUnmined {
		t.Errorf("%d are kept", len(u.txs))
	}
}
