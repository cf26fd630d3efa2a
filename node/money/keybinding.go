package money

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"sync"
	"time"

	"github.com/souk-market/souk/payment"
)

// keysValid is how long a key binding holds. It is made anew after half of that,
// so that what a peer was shown holds for as long again.
const keysValid = 30 * 24 * time.Hour

// KeyBinding is this node's key and its voucher key, each signing the other.
type KeyBinding struct {
	node    ed25519.PrivateKey
	voucher *ecdsa.PrivateKey

	mu       sync.Mutex // guards what follows
	envelope []byte
	made     time.Time
}

// NewKeyBinding binds two keys as of now.
func NewKeyBinding(node ed25519.PrivateKey, voucher *ecdsa.PrivateKey, now time.Time) (*KeyBinding, error) {
	envelope, err := payment.NewKeys(node, voucher, now.Add(keysValid))
	return &KeyBinding{node: node, voucher: voucher, envelope: envelope, made: now}, err
}

// At returns the signed binding to show peers now.
func (b *KeyBinding) At(now time.Time) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.made) > keysValid/2 {
		// The same keys signed before: an error is no reason to show none.
		if envelope, err := payment.NewKeys(b.node, b.voucher, now.Add(keysValid)); err == nil {
			b.envelope, b.made = envelope, now
		}
	}
	return b.envelope
}
