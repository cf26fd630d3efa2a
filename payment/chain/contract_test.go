package chain_test

import (
	"crypto/ecdsa"
	"testing"
	"time"

	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
)

func TestContract(t *testing.T) {
	chaintest.Run(t, func(t *testing.T) chaintest.Chain {
		d := newDevnet(t)
		return chaintest.Chain{
			Client: func(t *testing.T, wallet, authorizer *ecdsa.PrivateKey) chaintest.Client {
				return chaintest.NewClient(t, chain.Config{URLs: []string{d.URL()}, Wallet: wallet, Authorizer: authorizer, DropAfter: 50 * time.Millisecond})
			},
			Advance: d.Advance,
		}
	})
}
