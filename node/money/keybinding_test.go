package money

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain/chaintest"
)

// TestKeyBindingOutlivesItself shows the keys of a node that runs for a year: at
// each time they hold for two weeks more, and are the same keys.
func TestKeyBindingOutlivesItself(t *testing.T) {
	_, id, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	voucher := chaintest.NewKey(t)
	start := time.Now()
	b, err := NewKeyBinding(id, voucher, start)
	if err != nil {
		t.Fatal(err)
	}
	first, err := payment.OpenKeys(b.At(start), start)
	if err != nil {
		t.Fatal(err)
	}
	for day := range 365 {
		now := start.Add(time.Duration(day) * 24 * time.Hour)
		keys, err := payment.OpenKeys(b.At(now), now.Add(keysValid/2-time.Second))
		if err != nil || keys.Node != first.Node || keys.Authorizer != first.Authorizer {
			t.Fatalf("on day %d: %+v, %v", day, keys, err)
		}
	}
}
