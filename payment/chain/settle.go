package chain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
)

// settleGas is enough to pay a receiver. An estimate may see nothing to pay, and
// be too low, when the claim before it is not in a block yet.
const settleGas = 150_000

// Claim is one channel's part of a batch.
type Claim struct {
	Channel payment.Channel
	Voucher payment.Voucher
	Total   souk.Atoms // what is claimed in all, at most what the voucher allows
}

// Claim books claims to their receivers; it moves no tokens. A channel that had
// as much claimed already is passed over. Where the wallet is on the receiver's
// side of every channel it claims by itself, else the authorizer's key signs.
func (c *Client) Claim(ctx context.Context, claims []Claim) (tx string, err error) {
	data, err := c.claimData(claims)
	if err == nil {
		tx, err = c.send(ctx, c.Contracts.Settlement, data, 0)
	}
	if err != nil {
		return "", fmt.Errorf("claim on %d channels: %w", len(claims), err)
	}
	return tx, nil
}

// ClaimAndSettle claims and pays the receivers of the claims, in one transaction.
func (c *Client) ClaimAndSettle(ctx context.Context, claims []Claim) (tx string, err error) {
	data, err := c.claimData(claims)
	if err == nil {
		calls := [][]byte{data}
		paid := make(map[payment.Address]bool)
		for _, cl := range claims {
			if r := cl.Channel.Receiver; !paid[r] {
				paid[r] = true
				calls = append(calls, c.settlement.PackSettle(r, c.Contracts.Token))
			}
		}
		tx, err = c.send(ctx, c.Contracts.Settlement, c.settlement.PackMulticall(calls), 0)
	}
	if err != nil {
		return "", fmt.Errorf("claim and settle %d channels: %w", len(claims), err)
	}
	return tx, nil
}

// Settle pays each receiver all that was claimed for it; without any named, the
// wallet itself.
func (c *Client) Settle(ctx context.Context, receivers ...payment.Address) (tx string, err error) {
	if len(receivers) == 0 {
		receivers = []payment.Address{c.from}
	}
	calls := make([][]byte, len(receivers))
	for i, r := range receivers {
		calls[i] = c.settlement.PackSettle(r, c.Contracts.Token)
	}
	data := calls[0]
	if len(calls) > 1 {
		data = c.settlement.PackMulticall(calls)
	}
	if tx, err = c.send(ctx, c.Contracts.Settlement, data, settleGas*uint64(len(calls))); err != nil {
		return "", fmt.Errorf("settle: %w", err)
	}
	return tx, nil
}

func (c *Client) claimData(claims []Claim) ([]byte, error) {
	if len(claims) == 0 {
		return nil, errors.New("no claims")
	}
	own := true
	rows := make([]settlement.SettlementVoucherClaim, len(claims))
	for i, cl := range claims {
		if cl.Voucher.Channel != cl.Channel.ID(c.Domain()) {
			return nil, fmt.Errorf("voucher is for channel %s, not %s", cl.Voucher.Channel.Short(), cl.Channel.ID(c.Domain()).Short())
		}
		if cl.Total < 0 || cl.Voucher.MaxClaimable < 0 {
			return nil, fmt.Errorf("claim %d of %d atoms: %w", cl.Total, cl.Voucher.MaxClaimable, souk.ErrOverflow)
		}
		own = own && (cl.Channel.Receiver == c.from || cl.Channel.ReceiverAuthorizer == c.from)
		rows[i] = settlement.SettlementVoucherClaim{
			Voucher: settlement.SettlementVoucher{
				Channel:            channelConfig(cl.Channel),
				MaxClaimableAmount: fromAtoms(cl.Voucher.MaxClaimable),
			},
			Signature:    cl.Voucher.Signature,
			TotalClaimed: fromAtoms(cl.Total),
		}
	}
	if own {
		return c.settlement.PackClaim(rows), nil
	}
	if c.Authorizer == nil {
		return nil, ErrNoWallet
	}
	digest := claimDigest(c.Domain(), claims)
	sig, err := crypto.Sign(digest[:], c.Authorizer)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig[64] += 27
	return c.settlement.PackClaimWithSignature(rows, sig), nil
}

// claimDigest is the EIP-712 hash of the x402 ClaimBatch.
func claimDigest(dom payment.EIP712Domain, claims []Claim) souk.Digest {
	word := func(a souk.Atoms) []byte { return common.LeftPadBytes(big.NewInt(int64(a)).Bytes(), 32) }
	entries := make([]byte, 0, 32*len(claims))
	for _, cl := range claims {
		id := cl.Channel.ID(dom)
		h := keccak(typeHash(entryType), id.Digest[:], word(cl.Voucher.MaxClaimable), word(cl.Total))
		entries = append(entries, h[:]...)
	}
	list := keccak(entries)
	return typedHash("x402 Batch Settlement", "1", dom.ChainID, dom.Settlement, keccak(typeHash(batchType), list[:]))
}

// Refund gives amount of what is not claimed back to the payer, by a signature of
// the receiver's authorizer for that nonce, the channel's present RefundNonce.
func (c *Client) Refund(ctx context.Context, ch payment.Channel, amount souk.Atoms, nonce uint64, authorizer *ecdsa.PrivateKey) (tx string, err error) {
	r := payment.Refund{Channel: ch.ID(c.Domain()), Nonce: nonce, Amount: amount}
	sig, err := r.Sign(c.Domain(), authorizer)
	if err == nil {
		data := c.settlement.PackRefundWithSignature(channelConfig(ch), fromAtoms(amount), new(big.Int).SetUint64(nonce), sig)
		tx, err = c.send(ctx, c.Contracts.Settlement, data, 0)
	}
	if err != nil {
		return "", fmt.Errorf("refund on channel %s: %w", r.Channel.Short(), err)
	}
	return tx, nil
}

// StartWithdraw starts the delay after which the payer, whom the wallet must be,
// can take amount back.
func (c *Client) StartWithdraw(ctx context.Context, ch payment.Channel, amount souk.Atoms) (tx string, err error) {
	if amount < 0 {
		err = souk.ErrOverflow
	} else {
		tx, err = c.send(ctx, c.Contracts.Settlement, c.settlement.PackInitiateWithdraw(channelConfig(ch), fromAtoms(amount)), 0)
	}
	if err != nil {
		return "", fmt.Errorf("start withdrawal from channel %s: %w", ch.ID(c.Domain()).Short(), err)
	}
	return tx, nil
}

// FinishWithdraw takes a withdrawal whose delay has passed, or what claims have
// left of it.
func (c *Client) FinishWithdraw(ctx context.Context, ch payment.Channel) (tx string, err error) {
	tx, err = c.send(ctx, c.Contracts.Settlement, c.settlement.PackFinalizeWithdraw(channelConfig(ch)), 0)
	if err != nil {
		return "", fmt.Errorf("finish withdrawal from channel %s: %w", ch.ID(c.Domain()).Short(), err)
	}
	return tx, nil
}

// Anchor puts the root over count log checkpoints, at least one, on chain.
func (c *Client) Anchor(ctx context.Context, root souk.Digest, count uint64) (tx string, err error) {
	if tx, err = c.send(ctx, c.Contracts.Anchors, c.anchors.PackAnchor(root, count), 0); err != nil {
		return "", fmt.Errorf("anchor %s: %w", root.Short(), err)
	}
	return tx, nil
}

// AnchorAt reads back what a mined transaction anchored. The error is
// [ErrNoAnchor] if nothing.
func (c *Client) AnchorAt(ctx context.Context, tx string) (root souk.Digest, count, block uint64, err error) {
	hash, err := parseTx(tx)
	if err != nil {
		return root, 0, 0, err
	}
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		receipt, err := e.TransactionReceipt(ctx, hash)
		if err != nil {
			return err
		}
		for _, l := range receipt.Logs {
			if l.Address != c.Contracts.Anchors {
				continue
			}
			if a, err := c.anchors.UnpackAnchoredEvent(l); err == nil {
				root, count, block = a.Root, a.Count, receipt.BlockNumber.Uint64()
				return nil
			}
		}
		return ErrNoAnchor
	})
	if err != nil {
		return souk.Digest{}, 0, 0, fmt.Errorf("read anchor in %s: %w", tx, err)
	}
	return root, count, block, nil
}

// Faucet asks a devnet for tokens and gas for the wallet. They are there once tx
// is mined.
func (c *Client) Faucet(ctx context.Context) (amount souk.Atoms, tx string, err error) {
	if c.Wallet == nil {
		return 0, "", fmt.Errorf("faucet: %w", ErrNoWallet)
	}
	var reply FaucetReply
	err = c.do(ctx, func(ctx context.Context, e *ethclient.Client) error {
		return e.Client().CallContext(ctx, &reply, "souk_faucet", c.from)
	})
	if err != nil {
		return 0, "", fmt.Errorf("faucet: %w", err)
	}
	return souk.Atoms(reply.Atoms), reply.Transaction.Hex(), nil
}
