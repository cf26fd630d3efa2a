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
				c, err := chain.New(chain.Config{URLs: []string{d.URL()}, ChainID: chain.DevnetChainID, Contracts: chain.DevnetContracts(),
					Wallet: wallet, Authorizer: authorizer, Timeout: 20 * time.Second, Poll: 5 * time.Millisecond, DropAfter: 50 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(c.Close)
				return c
			},
			Advance: d.Advance,
		}
	})
}
