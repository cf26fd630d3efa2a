package chain

import (
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// DevnetChainID is the chain id of every devnet.
const DevnetChainID = 1337

// What one call of the devnet's faucet gives: tokens to spend, and native coin
// for gas, in whole coins.
const (
	FaucetTokens = 1000 * souk.AtomsPerToken
	FaucetCoins  = 10
)

// The bounds that Settlement puts on a channel's withdrawal delay, in seconds.
const (
	MinWithdrawDelay = 15 * 60
	MaxWithdrawDelay = 30 * 24 * 60 * 60
)

// Contracts says where the contracts stand on a chain.
type Contracts struct {
	Settlement payment.Address
	Collector  payment.Address // takes ERC-3009 deposits for Settlement
	Token      payment.Address // ERC-20 with 6 decimals and ERC-3009
	Anchors    payment.Address

	// TokenName and TokenVersion are in the token's EIP-712 domain, which a
	// deposit is signed under; default: those of the devnet's token.
	TokenName, TokenVersion string
}

// The EIP-712 domain of the devnet's token.
const (
	testTokenName    = "souk test dollar"
	testTokenVersion = "1"
)

// DevnetContracts is where every devnet has the contracts from its first block.
// Settlement and the collector stand where the published x402 clients expect
// them; the token's and the anchors' addresses are ours.
func DevnetContracts() Contracts {
	address := func(s string) (a payment.Address) {
		if err := a.UnmarshalText([]byte(s)); err != nil {
			panic(err)
		}
		return a
	}
	return Contracts{
		Settlement:   address("0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003"),
		Collector:    address("0x4020806089470a89826cB9fB1f4059150b550004"),
		Token:        address("0x736f756b00000000000000000000000000000001"),
		Anchors:      address("0x736f756b00000000000000000000000000000002"),
		TokenName:    testTokenName,
		TokenVersion: testTokenVersion,
	}
}

// withDefaults fills what the zero value leaves open.
func (c Contracts) withDefaults() Contracts {
	if c.TokenName == "" {
		c.TokenName, c.TokenVersion = testTokenName, testTokenVersion
	}
	return c
}
