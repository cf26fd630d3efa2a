package payment

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
)

// SignatureLength is the length of a secp256k1 signature: r, s, and v of 27 or 28.
const SignatureLength = crypto.SignatureLength

// halfOrder is half the order of secp256k1. Of the two values of s that verify,
// only the one at or below it is accepted, so a voucher has one signature.
var halfOrder = [32]byte{
	0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
}

// Voucher is the x402 Voucher: a cumulative promise, of which only the highest
// of a channel matters. It has neither nonce nor expiry.
type Voucher struct {
	Channel      souk.ChannelID
	MaxClaimable souk.Atoms // the most that may be claimed on the channel in all
	Signature    []byte     // 65 bytes, by the payer's authorizer
}

// Digest is the EIP-712 hash that is signed.
func (v Voucher) Digest(d EIP712Domain) souk.Digest {
	w := newWords(2, voucherTypeHash)
	w.digest(v.Channel.Digest)
	w.uint(uint64(v.MaxClaimable))
	return d.hash(settlementName, versionOne, w)
}

// Sign sets the signature.
func (v *Voucher) Sign(d EIP712Domain, key *ecdsa.PrivateKey) (err error) {
	if v.MaxClaimable < 0 {
		return fmt.Errorf("sign voucher over %d atoms: %w", v.MaxClaimable, ErrMalformed)
	}
	v.Signature, err = sign(v.Digest(d), key)
	return err
}

// Verify tells whether authorizer signed v in d. The error is [ErrSignature].
func (v Voucher) Verify(d EIP712Domain, authorizer Address) error {
	if v.MaxClaimable < 0 {
		return fmt.Errorf("voucher over %d atoms: %w", v.MaxClaimable, ErrMalformed)
	}
	if err := verify(v.Digest(d), v.Signature, authorizer); err != nil {
		return fmt.Errorf("voucher on channel %s: %w", v.Channel.Short(), err)
	}
	return nil
}

// VoucherFromProto reads a voucher; its signature is not verified yet. The error
// is [ErrMalformed].
func VoucherFromProto(m *leasev1.Voucher) (v Voucher, err error) {
	v.Signature = make([]byte, SignatureLength)
	if err := fill(v.Signature, m.GetSignature(), "voucher: signature"); err != nil {
		return Voucher{}, err
	}
	if err := fill(v.Channel.Digest[:], m.GetChannel(), "voucher: channel"); err != nil {
		return Voucher{}, err
	}
	if v.MaxClaimable, err = atoms(m.GetMaxClaimableAtoms()); err != nil {
		return Voucher{}, fmt.Errorf("voucher: %w: %w", ErrMalformed, err)
	}
	return v, nil
}

// Proto is the message that [VoucherFromProto] reads.
func (v Voucher) Proto() *leasev1.Voucher {
	return &leasev1.Voucher{
		Channel:           v.Channel.Digest[:],
		MaxClaimableAtoms: uint64(v.MaxClaimable),
		Signature:         v.Signature,
	}
}

// Refund is the x402 Refund: the receiver gives part of a channel's balance back
// before the withdrawal delay is over.
type Refund struct {
	Channel souk.ChannelID
	Nonce   uint64 // the channel's refund nonce on chain
	Amount  souk.Atoms
}

// Digest is the EIP-712 hash that is signed.
func (r Refund) Digest(d EIP712Domain) souk.Digest {
	w := newWords(3, refundTypeHash)
	w.digest(r.Channel.Digest)
	w.uint(r.Nonce)
	w.uint(uint64(r.Amount))
	return d.hash(settlementName, versionOne, w)
}

// Sign returns the 65-byte signature of the receiver's authorizer.
func (r Refund) Sign(d EIP712Domain, key *ecdsa.PrivateKey) ([]byte, error) {
	if r.Amount < 0 {
		return nil, fmt.Errorf("sign refund of %d atoms: %w", r.Amount, ErrMalformed)
	}
	return sign(r.Digest(d), key)
}

// Verify tells whether authorizer signed r in d. The error is [ErrSignature].
func (r Refund) Verify(d EIP712Domain, signature []byte, authorizer Address) error {
	if r.Amount < 0 {
		return fmt.Errorf("refund of %d atoms: %w", r.Amount, ErrMalformed)
	}
	return verify(r.Digest(d), signature, authorizer)
}

func sign(digest souk.Digest, key *ecdsa.PrivateKey) ([]byte, error) {
	sig, err := crypto.Sign(digest[:], key)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig[64] += 27
	return sig, nil
}

func verify(digest souk.Digest, sig []byte, want Address) error {
	pub, err := recoverKey(digest, sig)
	if err != nil {
		return err
	}
	if !bytes.Equal(crypto.Keccak256(pub[1:])[12:], want[:]) {
		return ErrSignature
	}
	return nil
}

// recoverKey returns the uncompressed public key that made sig over digest.
func recoverKey(digest souk.Digest, sig []byte) ([]byte, error) {
	if len(sig) != SignatureLength {
		return nil, fmt.Errorf("%d bytes, want %d: %w", len(sig), SignatureLength, ErrSignature)
	}
	if bytes.Compare(sig[32:64], halfOrder[:]) > 0 {
		return nil, fmt.Errorf("s is high: %w", ErrSignature)
	}
	if sig[64] != 27 && sig[64] != 28 {
		return nil, fmt.Errorf("v is %d, want 27 or 28: %w", sig[64], ErrSignature)
	}
	rsv := [SignatureLength]byte(sig)
	rsv[64] -= 27
	pub, err := crypto.Ecrecover(digest[:], rsv[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return pub, nil
}
