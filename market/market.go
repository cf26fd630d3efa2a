// Package market is what a node knows of the market before a lease: the offers
// it has heard, the queries over them, and the orders, bids and declines that
// travel between one client and one provider.
//
// It is pure: nothing here starts a goroutine, reads a clock or does I/O, so a
// whole market replays from its inputs. Whatever comes from a peer is bounded
// and checked before it changes anything, and each refusal has one of the
// reasons of a [RejectError], which are counted. A [Book] has one owner at a time;
// the functions that open messages may run at once.
package market

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// Limits on what a peer may say. Each protects memory or the reader's terminal.
const (
	// MaxOfferBytes bounds the envelope of an offer or a revocation.
	MaxOfferBytes = 4096
	// MaxOrderBytes bounds the envelope of an order.
	MaxOrderBytes = 4096
	// MaxBidBytes bounds the envelope of a bid, which names up to [MaxDevices] devices.
	MaxBidBytes = 16 << 10
	// MaxDeclineBytes bounds the envelope of a decline.
	MaxDeclineBytes = 1024
	// MaxDevices bounds the devices of one lease.
	MaxDevices = 64
	// MaxPrice bounds a price in atoms for one device and hour: a million tokens.
	MaxPrice = 1_000_000 * uint64(souk.AtomsPerToken)
)

// Spans of time that both sides of the market rely on.
const (
	// OfferLife is the longest time from an offer's issue to its end.
	OfferLife = 45 * time.Minute
	// Skew is how far two honest clocks may differ. A message is not refused
	// for being that much early or late.
	Skew = 30 * time.Second
	// OfferEvery is the pause in which one provider earns the right to one more
	// offer, over all its classes; [OfferBurst] of them may come at once.
	OfferEvery = 2 * time.Second
	// OfferBurst is how many offers of one provider may come at once.
	OfferBurst = 5
)

// Reason says why a message was refused. It is a metric's label: the set is closed.
type Reason string

// The reasons of a [RejectError].
const (
	Expired   Reason = "expired"   // its time is over
	Future    Reason = "future"    // signed further ahead than clocks may differ
	Oversized Reason = "oversized" // larger than its kind may be
	Signature Reason = "signature" // the signature does not cover it
	Malformed Reason = "malformed" // a field is missing or out of bounds
	Newer     Reason = "newer"     // well-formed, but of a later version than can be taken
	Mismatch  Reason = "mismatch"  // a well-formed answer to another question
	Stale     Reason = "stale"     // something newer is known
	Duplicate Reason = "duplicate" // the same is known
	Revoked   Reason = "revoked"   // its signer took it back
	Rate      Reason = "rate"      // its signer sends too often
	Full      Reason = "full"      // the book, or the signer's share of it, is full
)

// RejectError is why a peer's message was refused.
type RejectError struct {
	Reason Reason // one of those above
	Detail string // the field or bound that failed; may be empty
}

// Error is the reason and its detail.
func (e *RejectError) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

func reject(r Reason, format string, args ...any) *RejectError {
	return &RejectError{r, fmt.Sprintf(format, args...)}
}

// open checks an envelope and decodes its payload into m.
func open(d souk.Domain, envelope []byte, max int, m proto.Message) (signer souk.NodeKey, id souk.Digest, err error) {
	payload, signer, err := wire.Open(d, envelope, max)
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return signer, id, reject(Oversized, "%d bytes, limit %d", len(envelope), max)
	case errors.Is(err, wire.ErrSignature):
		return signer, id, reject(Signature, "%s", d)
	case err != nil:
		return signer, id, reject(Malformed, "%v", err)
	}
	// What a later version adds is dropped here; the signed bytes keep it.
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(payload, m); err != nil {
		return signer, id, reject(Malformed, "not a message of %s", d)
	}
	return signer, sha256.Sum256(payload), nil
}
