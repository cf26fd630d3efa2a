// Package souk is the vocabulary of the market: money, identifiers, digests and
// the domain strings that keep one signature from standing for another.
//
// It imports nothing of ours, so every room may speak it.
package souk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Domain separates the signatures of one kind of message from those of every
// other: a signature covers the domain, one zero byte, and the payload.
type Domain string

// The domains of INTERFACES: one for each signed message.
const (
	DomainOffer     Domain = "souk/offer/1"
	DomainRevoke    Domain = "souk/revoke/1"
	DomainOrder     Domain = "souk/order/1"
	DomainBid       Domain = "souk/bid/1"
	DomainDecline   Domain = "souk/decline/1"
	DomainLease     Domain = "souk/lease/1"
	DomainReceipt   Domain = "souk/receipt/1"
	DomainPrint     Domain = "souk/print/1"
	DomainKeys      Domain = "souk/keys/1"
	DomainChallenge Domain = "souk/challenge/1"
	DomainEvidence  Domain = "souk/evidence/1"
)

// Message returns the bytes that a signature in domain d covers.
func (d Domain) Message(payload []byte) []byte {
	m := make([]byte, 0, len(d)+1+len(payload))
	m = append(m, d...)
	m = append(m, 0)
	return append(m, payload...)
}

// Digest is a SHA-256 or Keccak-256 sum. Its text form is lower-case hex.
type Digest [32]byte

// JobID is the SHA-256 of a job message.
type JobID struct{ Digest }

// LeaseID is the SHA-256 of a lease payload.
type LeaseID struct{ Digest }

// ChannelID is the x402 channel id: the EIP-712 hash of a channel's config.
type ChannelID struct{ Digest }

// NodeKey is a raw Ed25519 public key: the identity of a node.
type NodeKey [32]byte

// ErrDigest is returned for text or bytes that are not 32 bytes of digest.
var ErrDigest = errors.New("not a 32-byte hex digest")

// DigestFrom copies b, which must be 32 bytes long.
func DigestFrom(b []byte) (d Digest, err error) {
	if len(b) != len(d) {
		return d, fmt.Errorf("%d bytes: %w", len(b), ErrDigest)
	}
	return Digest(b), nil
}

// ParseDigest reads 64 hex digits, with or without 0x before them.
func ParseDigest(s string) (Digest, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		return Digest{}, fmt.Errorf("%q: %w", s, ErrDigest)
	}
	return DigestFrom(b)
}

// String is the digest in lower-case hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short is the first eight hex digits, for people.
func (d Digest) Short() string { return hex.EncodeToString(d[:4]) }

// IsZero tells whether d is all zeros, which stands for "there is none".
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes hex, so that a digest is a string in JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads hex.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}

// String is the key in lower-case hex; people are shown the libp2p peer id instead.
func (k NodeKey) String() string { return hex.EncodeToString(k[:]) }

// Atoms is an amount of money: one token is [AtomsPerToken] of them. Sums are
// checked, never rounded; there is no float anywhere.
type Atoms int64

// AtomsPerToken is fixed by the six decimals of the token.
const AtomsPerToken Atoms = 1_000_000

// MillisPerHour turns a price per hour into a price per millisecond.
const MillisPerHour = 3_600_000

var (
	// ErrOverflow is returned when a sum leaves the range of [Atoms].
	ErrOverflow = errors.New("amount out of range")
	// ErrAmount is returned for text that is not a decimal amount of tokens.
	ErrAmount = errors.New("not an amount of tokens with at most 6 decimals, such as 0.60")
)

// Add returns a+b or [ErrOverflow].
func (a Atoms) Add(b Atoms) (Atoms, error) {
	if (b > 0 && a > math.MaxInt64-b) || (b < 0 && a < math.MinInt64-b) {
		return 0, ErrOverflow
	}
	return a + b, nil
}

// Sub returns a-b or [ErrOverflow].
func (a Atoms) Sub(b Atoms) (Atoms, error) {
	if b == math.MinInt64 {
		return 0, ErrOverflow
	}
	return a.Add(-b)
}

// String shows the amount as decimal tokens without trailing zeros: "0.5".
func (a Atoms) String() string {
	sign, u := "", uint64(a)
	if a < 0 {
		sign, u = "-", -u
	}
	whole, part := u/uint64(AtomsPerToken), u%uint64(AtomsPerToken)
	if part == 0 {
		return sign + strconv.FormatUint(whole, 10)
	}
	return sign + strconv.FormatUint(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%06d", part), "0")
}

// ParseAtoms reads decimal tokens ("0.5", "12") into atoms. It refuses signs,
// exponents and a seventh decimal, whatever their value.
func ParseAtoms(s string) (Atoms, error) {
	whole, part, dotted := strings.Cut(s, ".")
	if !digits(whole) || dotted && (!digits(part) || len(part) > 6) {
		return 0, fmt.Errorf("%q: %w", s, ErrAmount)
	}
	n, err := strconv.ParseInt(whole+(part + "000000")[:6], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: %w: at most %s", s, ErrOverflow, Atoms(math.MaxInt64))
	}
	return Atoms(n), nil
}

func digits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}

// ErrSize is returned for text that is not a size in bytes.
var ErrSize = errors.New("not a size such as 512MB, 24GB or 16GiB")

var sizeUnits = []struct {
	suffix string
	bytes  uint64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads a whole number of bytes with a decimal (GB) or binary (GiB) unit.
func ParseSize(s string) (uint64, error) {
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(num), 10, 64)
		if err != nil || n > math.MaxUint64/u.bytes {
			return 0, fmt.Errorf("%q: %w", s, ErrSize)
		}
		return n * u.bytes, nil
	}
	if number := strings.TrimRight(s, "GMTKBgmtkbi "); digits(number) && len(number) <= 7 {
		switch unit := strings.ToUpper(strings.TrimSpace(s[len(number):])); unit {
		case "K", "M", "G", "T", "KB", "MB", "GB", "TB":
			return 0, fmt.Errorf("%q: %w; did you mean %s%sB?", s, ErrSize, number, unit[:1])
		case "KI", "MI", "GI", "TI", "KIB", "MIB", "GIB", "TIB":
			return 0, fmt.Errorf("%q: %w; did you mean %s%siB?", s, ErrSize, number, unit[:1])
		}
	}
	return 0, fmt.Errorf("%q: %w", s, ErrSize)
}

// FormatSize shows bytes with a decimal unit and at most one decimal: "24GB", "1.5MB".
func FormatSize(n uint64) string {
	for _, u := range []struct {
		suffix string
		bytes  uint64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.bytes {
			tenths := n / (u.bytes / 10)
			if tenths%10 == 0 {
				return fmt.Sprintf("%d%s", tenths/10, u.suffix)
			}
			return fmt.Sprintf("%d.%d%s", tenths/10, tenths%10, u.suffix)
		}
	}
	return fmt.Sprintf("%dB", n)
}
