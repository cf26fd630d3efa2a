package payment

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// MaxKeysBytes bounds an envelope that [OpenKeys] reads; it leaves the payload
// room to grow.
const MaxKeysBytes = 1024

// Keys binds a node key and a voucher key: each signed the other, so neither
// side of a lease can borrow somebody else's.
type Keys struct {
	Node       souk.NodeKey
	Authorizer Address   // the voucher key's address
	Expires    time.Time // to the millisecond
}

// NewKeys returns the envelope that binds both keys until expires.
func NewKeys(node ed25519.PrivateKey, voucher *ecdsa.PrivateKey, expires time.Time) ([]byte, error) {
	key := souk.NodeKey(node.Public().(ed25519.PublicKey))
	sig, err := sign(keysDigest(key, expires.UnixMilli()), voucher)
	if err != nil {
		return nil, fmt.Errorf("bind keys: %w", err)
	}
	payload, err := proto.Marshal(&leasev1.Keys{
		VoucherKey:       crypto.CompressPubkey(&voucher.PublicKey),
		ExpiresMs:        expires.UnixMilli(),
		VoucherSignature: sig,
	})
	if err != nil {
		return nil, fmt.Errorf("bind keys: %w", err)
	}
	return wire.Seal(node, souk.DomainKeys, payload), nil
}

// OpenKeys checks both signatures of an envelope and that it has not expired.
// The errors are [wire.ErrTooLarge], [wire.ErrEnvelope], [wire.ErrSignature],
// [ErrMalformed], [ErrSignature] and [ErrExpired].
func OpenKeys(envelope []byte, now time.Time) (Keys, error) {
	payload, node, err := wire.Open(souk.DomainKeys, envelope, MaxKeysBytes)
	if err != nil {
		return Keys{}, fmt.Errorf("open keys: %w", err)
	}
	var m leasev1.Keys
	if err := proto.Unmarshal(payload, &m); err != nil {
		return Keys{}, fmt.Errorf("open keys: %w: %w", ErrMalformed, err)
	}
	pub, err := recoverKey(keysDigest(node, m.GetExpiresMs()), m.GetVoucherSignature())
	if err != nil {
		return Keys{}, fmt.Errorf("open keys: %w", err)
	}
	if !bytes.Equal(compress(pub), m.GetVoucherKey()) {
		return Keys{}, fmt.Errorf("open keys: voucher key: %w", ErrSignature)
	}
	expires := time.UnixMilli(m.GetExpiresMs()).UTC()
	if !expires.After(now) {
		return Keys{}, fmt.Errorf("open keys: %w at %s", ErrExpired, expires.Format(time.RFC3339))
	}
	return Keys{node, Address(crypto.Keccak256(pub[1:])[12:]), expires}, nil
}

// keysDigest is what the voucher key signs.
func keysDigest(node souk.NodeKey, expiresMs int64) souk.Digest {
	return sha256.Sum256(souk.DomainKeys.Message(binary.BigEndian.AppendUint64(node[:], uint64(expiresMs))))
}

// compress shortens an uncompressed public key to x and the parity of y.
func compress(pub []byte) []byte {
	return append([]byte{2 + pub[64]&1}, pub[1:33]...)
}
