package chain

import (
	"context"
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// What the tests next door need to break the rules that the exported methods keep.

// Send sends any call to any contract.
func (c *Client) Send(ctx context.Context, to payment.Address, data []byte, gas uint64) (string, error) {
	return c.send(ctx, to, data, gas)
}

// View runs any view function.
func (c *Client) View(ctx context.Context, to payment.Address, data []byte) ([]byte, error) {
	return c.call(ctx, to, data, nil)
}

// DepositData is the call that [Client.Deposit] sends, without its checks.
func (c *Client) DepositData(ch payment.Channel, d Deposit) ([]byte, error) {
	return c.depositData(ch, d)
}

// ClaimDigest is the hash of a ClaimBatch.
func ClaimDigest(d payment.EIP712Domain, claims []Claim) souk.Digest { return claimDigest(d, claims) }

// DecodeRevert reads what a contract gave as its reason.
func DecodeRevert(data []byte) *RevertError { return decodeRevert(data) }

// ChannelConfig is the channel as the bindings have it.
var ChannelConfig = channelConfig

// SendUnchecked sends a call that will fail: it does without an estimate.
func (c *Client) SendUnchecked(ctx context.Context, to payment.Address, data []byte) (string, error) {
	tx, err := c.sendNumbered(ctx, &types.DynamicFeeTx{
		ChainID: c.chainID, To: &to, Data: data, Gas: 500_000,
		GasTipCap: big.NewInt(1e9), GasFeeCap: big.NewInt(100e9),
	})
	if err != nil {
		return "", err
	}
	return tx.Hash().Hex(), nil
}

// DepositDigest is what a deposit's signature covers.
func DepositDigest(d Deposit, at Contracts, dom payment.EIP712Domain, ch payment.Channel) souk.Digest {
	return d.digest(at, dom, ch)
}

// DepositNonce is a deposit's ERC-3009 nonce.
func DepositNonce(d Deposit, id souk.ChannelID) souk.Digest { return d.nonce(id) }

// RandomChannelID is a channel that nobody has.
func RandomChannelID() souk.ChannelID { return souk.ChannelID{Digest: souk.Digest{1}} }
