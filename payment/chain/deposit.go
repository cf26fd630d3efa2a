package chain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
)

// Deposit is a payer's ERC-3009 authorization for one channel. Whoever holds it
// can put it on chain, once, and pays the gas.
type Deposit struct {
	Amount      souk.Atoms
	ValidAfter  uint64 // Unix seconds; it counts in blocks later than this
	ValidBefore uint64 // Unix seconds; it counts in blocks earlier than this
	Salt        [32]byte
	Signature   []byte // 65 bytes, r s v, by the payer
}

// DepositFromProto reads a deposit; its signature is not verified yet. The error
// is [payment.ErrMalformed].
func DepositFromProto(m *leasev1.Deposit) (Deposit, error) {
	if len(m.GetSalt()) != 32 || len(m.GetSignature()) != crypto.SignatureLength {
		return Deposit{}, fmt.Errorf("deposit: salt of %d bytes, signature of %d: %w",
			len(m.GetSalt()), len(m.GetSignature()), payment.ErrMalformed)
	}
	if m.GetAmountAtoms() == 0 || m.GetAmountAtoms() > math.MaxInt64 {
		return Deposit{}, fmt.Errorf("deposit: %d atoms: %w", m.GetAmountAtoms(), payment.ErrMalformed)
	}
	return Deposit{
		Amount:      souk.Atoms(m.GetAmountAtoms()),
		ValidAfter:  m.GetValidAfter(),
		ValidBefore: m.GetValidBefore(),
		Salt:        [32]byte(m.GetSalt()),
		Signature:   append([]byte(nil), m.GetSignature()...),
	}, nil
}

// Proto is the message that [DepositFromProto] reads.
func (d Deposit) Proto() *leasev1.Deposit {
	return &leasev1.Deposit{
		AmountAtoms: uint64(d.Amount),
		ValidAfter:  d.ValidAfter,
		ValidBefore: d.ValidBefore,
		Salt:        d.Salt[:],
		Signature:   d.Signature,
	}
}

// ValidAt tells whether a block with time t would take the authorization.
func (d Deposit) ValidAt(t time.Time) bool {
	s := t.Unix()
	return s >= 0 && uint64(s) > d.ValidAfter && uint64(s) < d.ValidBefore
}

// SignDeposit authorizes a deposit from the wallet, which must be the channel's
// payer. It asks no node. The salt tells deposits on one channel apart and must
// not repeat on it.
func (c *Client) SignDeposit(ch payment.Channel, amount souk.Atoms, validFor time.Duration, now time.Time, salt [32]byte) (Deposit, error) {
	if c.Wallet == nil {
		return Deposit{}, fmt.Errorf("sign deposit: %w", ErrNoWallet)
	}
	return SignDeposit(c.Wallet, c.Contracts, c.Domain(), ch, amount, validFor, now, salt)
}

// SignDeposit is [Client.SignDeposit] without a client.
func SignDeposit(key *ecdsa.PrivateKey, at Contracts, dom payment.EIP712Domain, ch payment.Channel, amount souk.Atoms, validFor time.Duration, now time.Time, salt [32]byte) (Deposit, error) {
	if ch.Payer != crypto.PubkeyToAddress(key.PublicKey) {
		return Deposit{}, fmt.Errorf("sign deposit: the wallet is not the payer %s", ch.Payer)
	}
	d := Deposit{Amount: amount, ValidBefore: uint64(now.Add(validFor).Unix()), Salt: salt}
	if err := d.check(at, ch); err != nil {
		return Deposit{}, fmt.Errorf("sign deposit: %w", err)
	}
	digest := d.digest(at.withDefaults(), dom, ch)
	sig, err := crypto.Sign(digest[:], key)
	if err != nil {
		return Deposit{}, fmt.Errorf("sign deposit: %w", err)
	}
	sig[64] += 27
	d.Signature = sig
	return d, nil
}

// VerifyDeposit tells whether the payer of ch signed d, and whether its terms are
// such that the contracts take it. It asks no node: whether the payer has the
// money and the authorization is unused, the chain alone knows; whether it is
// still valid, [Deposit.ValidAt]. Errors are [ErrDeposit] and
// [payment.ErrSignature].
func VerifyDeposit(d Deposit, ch payment.Channel, at Contracts, dom payment.EIP712Domain) error {
	if err := d.check(at, ch); err != nil {
		return err
	}
	digest := d.digest(at.withDefaults(), dom, ch)
	if err := verifySignature(digest, d.Signature, ch.Payer); err != nil {
		return fmt.Errorf("deposit: %w", err)
	}
	return nil
}

// check is what the contracts check beside the signature.
func (d Deposit) check(at Contracts, ch payment.Channel) error {
	switch {
	case d.Amount <= 0:
		return fmt.Errorf("%d atoms: %w", d.Amount, ErrDeposit)
	case ch.Token != at.Token:
		return fmt.Errorf("token %s, want %s: %w", ch.Token, at.Token, ErrDeposit)
	case ch.WithdrawDelay < MinWithdrawDelay || ch.WithdrawDelay > MaxWithdrawDelay:
		return fmt.Errorf("withdraw delay %d s: %w", ch.WithdrawDelay, ErrDeposit)
	case ch.Receiver == (payment.Address{}) || ch.ReceiverAuthorizer == (payment.Address{}):
		return fmt.Errorf("no receiver: %w", ErrDeposit)
	case d.ValidBefore <= d.ValidAfter:
		return fmt.Errorf("never valid: %w", ErrDeposit)
	}
	return nil
}

// nonce is the ERC-3009 nonce, which the collector derives in the same way.
func (d Deposit) nonce(id souk.ChannelID) souk.Digest { return keccak(id.Digest[:], d.Salt[:]) }

// digest is what the payer signs: an authorization of the token that only the
// collector can use, and only for this channel.
func (d Deposit) digest(at Contracts, dom payment.EIP712Domain, ch payment.Channel) souk.Digest {
	nonce := d.nonce(ch.ID(dom))
	word := func(n uint64) []byte { return common.LeftPadBytes(new(big.Int).SetUint64(n).Bytes(), 32) }
	h := keccak(
		typeHash(receiveType),
		common.LeftPadBytes(ch.Payer[:], 32),
		common.LeftPadBytes(at.Collector[:], 32),
		word(uint64(d.Amount)), word(d.ValidAfter), word(d.ValidBefore),
		nonce[:],
	)
	return typedHash(at.TokenName, at.TokenVersion, dom.ChainID, at.Token, h)
}

// Deposit submits a payer's deposit. If its authorization is used already, by
// this client or another, the error is [ErrUsed]: the money is on the channel,
// unless the payer cancelled.
func (c *Client) Deposit(ctx context.Context, ch payment.Channel, d Deposit) (tx string, err error) {
	if tx, err = c.deposit(ctx, ch, d); err != nil {
		return "", fmt.Errorf("deposit on channel %s: %w", ch.ID(c.Domain()).Short(), err)
	}
	return tx, nil
}

func (c *Client) deposit(ctx context.Context, ch payment.Channel, d Deposit) (string, error) {
	if err := VerifyDeposit(d, ch, c.Contracts, c.Domain()); err != nil {
		return "", err
	}
	used, err := c.depositUsed(ctx, ch, d)
	if err != nil {
		return "", err
	}
	if used {
		return "", ErrUsed
	}
	data, err := c.depositData(ch, d)
	if err != nil {
		return "", err
	}
	return c.send(ctx, c.Contracts.Settlement, data, 0)
}

// DepositUsed tells whether a deposit's authorization was used or cancelled.
func (c *Client) DepositUsed(ctx context.Context, ch payment.Channel, d Deposit) (bool, error) {
	used, err := c.depositUsed(ctx, ch, d)
	if err != nil {
		return false, fmt.Errorf("read deposit on channel %s: %w", ch.ID(c.Domain()).Short(), err)
	}
	return used, nil
}

func (c *Client) depositUsed(ctx context.Context, ch payment.Channel, d Deposit) (bool, error) {
	out, err := c.call(ctx, c.Contracts.Token, c.token.PackAuthorizationState(ch.Payer, d.nonce(ch.ID(c.Domain()))), nil)
	if err != nil {
		return false, err
	}
	return c.token.UnpackAuthorizationState(out)
}

// depositData is the call of Settlement, with what the collector reads inside.
func (c *Client) depositData(ch payment.Channel, d Deposit) ([]byte, error) {
	uint256, err1 := abi.NewType("uint256", "", nil)
	dynamic, err2 := abi.NewType("bytes", "", nil)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	args := abi.Arguments{{Type: uint256}, {Type: uint256}, {Type: uint256}, {Type: dynamic}}
	inner, err := args.Pack(new(big.Int).SetUint64(d.ValidAfter), new(big.Int).SetUint64(d.ValidBefore),
		new(big.Int).SetBytes(d.Salt[:]), d.Signature)
	if err != nil {
		return nil, fmt.Errorf("encode authorization: %w", err)
	}
	return c.settlement.PackDeposit(channelConfig(ch), fromAtoms(d.Amount), c.Contracts.Collector, inner), nil
}

func channelConfig(ch payment.Channel) settlement.SettlementChannelConfig {
	return settlement.SettlementChannelConfig{
		Payer:              ch.Payer,
		PayerAuthorizer:    ch.PayerAuthorizer,
		Receiver:           ch.Receiver,
		ReceiverAuthorizer: ch.ReceiverAuthorizer,
		Token:              ch.Token,
		WithdrawDelay:      new(big.Int).SetUint64(ch.WithdrawDelay),
		Salt:               ch.Salt,
	}
}
