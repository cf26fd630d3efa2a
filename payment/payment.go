// Package payment is how two peers account for work: channels and vouchers in
// the x402 batch-settlement types, receipts for the usage of one interval, and
// the policy that decides when a run goes on, waits or ends for want of money.
//
// Everything here is pure: no clock is read, no goroutine started, nothing is
// stored or sent. Amounts are whole atoms and nothing rounds but [Due], which
// is the floor of an exact sum. A provider's unpaid work never passes one
// interval and grace; a client's prepayment never passes one interval and what
// it chose to pay ahead.
package payment

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/ethereum/go-ethereum/common"
	"github.com/souk-market/souk"
)

// Address is an account or a contract on the chain.
type Address = common.Address

var (
	// ErrMalformed is returned for a message with a field missing, of the wrong
	// length or out of range.
	ErrMalformed = errors.New("malformed message")
	// ErrSignature is returned when a signature is not the expected signer's,
	// or is not in its one accepted form.
	ErrSignature = errors.New("wrong signature")
	// ErrExpired is returned for keys past their expiry.
	ErrExpired = errors.New("expired")
	// ErrShort is returned when what was paid does not reach what is needed.
	ErrShort = errors.New("payment is short")
	// ErrSequence is returned for a countersignature of a receipt that is not
	// the next to be countersigned.
	ErrSequence = errors.New("receipt out of sequence")
)

// Due is the price of deviceMs milliseconds of one device, the floor of
// priceAtomsPerHour × deviceMs / 3,600,000, computed with 128 bits. The error is
// [souk.ErrOverflow].
func Due(priceAtomsPerHour, deviceMs uint64) (souk.Atoms, error) {
	hi, lo := bits.Mul64(priceAtomsPerHour, deviceMs)
	if hi >= souk.MillisPerHour {
		return 0, souk.ErrOverflow
	}
	q, _ := bits.Div64(hi, lo, souk.MillisPerHour)
	return atoms(q)
}

// atoms brings an unsigned amount into the range of [souk.Atoms].
func atoms(n uint64) (souk.Atoms, error) {
	if n > math.MaxInt64 {
		return 0, souk.ErrOverflow
	}
	return souk.Atoms(n), nil
}

// fill copies src into dst if it has exactly that length.
func fill(dst, src []byte, field string) error {
	if len(src) != len(dst) {
		return fmt.Errorf("%s: %d bytes, want %d: %w", field, len(src), len(dst), ErrMalformed)
	}
	copy(dst, src)
	return nil
}
