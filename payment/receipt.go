package payment

import (
	"crypto/ed25519"
	"fmt"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/souk-market/souk"
)

// The kinds of receipt.
const (
	KindInterval uint8 = 1 // one interval of running time
	KindFinal    uint8 = 2 // the rest, when the run has ended
)

// Receipt is the usage of one interval under a lease. Receipts of a lease form a
// chain from seq 1: each holds the digest of the one before. The digest covers
// everything but the two signatures.
//
// Version 2 has the lines of the lease's tariff with what was used since the
// lease began. Version 1 is for leases from before tariffs: it has device time
// and its price alone, and its device time is that of the interval.
type Receipt struct {
	Version            int // 2, or 1; 0 is 1 too
	Lease              souk.LeaseID
	Job                souk.JobID
	Channel            souk.ChannelID
	ProviderKey        souk.NodeKey
	ClientKey          souk.NodeKey
	Seq                uint64      // from 1, gapless
	Kind               uint8       // [KindInterval] or [KindFinal]
	StartMs            int64       // Unix milliseconds; never before the end of the receipt before
	EndMs              int64       // Unix milliseconds
	Usage              []UsageLine // version 2: the lines of the tariff, in its order
	DeviceMilliseconds uint64      // version 1: running time in the interval, summed over devices; pauses do not count
	EnergyMillijoules  uint64      // energy used in the interval; 0 where it is not measured
	PriceAtomsPerHour  uint64      // version 1: of one device
	CumulativeDue      souk.Atoms  // the price of all that was used under the lease
	InputDigest        souk.Digest // zero where there are no inputs
	OutputDigest       souk.Digest // zero but in a final receipt with outputs
	TelemetryRoot      souk.Digest // zero where there is no telemetry
	PrevReceipt        souk.Digest // zero in the first
	ProviderSig        []byte      // 64 bytes, or empty
	ClientSig          []byte      // 64 bytes, or empty until it is countersigned
}

// UsageLine is what was used of one line of a tariff since the lease began, and
// what it costs.
type UsageLine struct {
	Line
	Quantity uint64
	Due      souk.Atoms // the floor of quantity × price / per
}

// Digest is the EIP-712 hash of the receipt under the domain souk of its
// version: what both parties sign, and the leaf in their logs.
func (r Receipt) Digest(d EIP712Domain) souk.Digest {
	if r.isOne() {
		w := r.words(17, receiptOneHash)
		w.uint(r.DeviceMilliseconds)
		w.uint(r.EnergyMillijoules)
		w.uint(r.PriceAtomsPerHour)
		return d.hash(soukName, versionOne, r.rest(w))
	}
	w := r.words(16, receiptTwoHash)
	lines := make([]byte, 0, len(r.Usage)*len(souk.Digest{}))
	for _, l := range r.Usage {
		h := l.hash()
		lines = append(lines, h[:]...)
	}
	w.digest(keccak(lines))
	w.uint(r.EnergyMillijoules)
	return d.hash(soukName, versionTwo, r.rest(w))
}

// isOne tells whether r is of version 1.
func (r Receipt) isOne() bool { return r.Version <= 1 }

// words are the fields that stand before the usage, in every version.
func (r Receipt) words(n int, typeHash souk.Digest) words {
	w := newWords(n, typeHash)
	w.digest(r.Lease.Digest)
	w.digest(r.Job.Digest)
	w.digest(r.Channel.Digest)
	w.digest(r.ProviderKey)
	w.digest(r.ClientKey)
	w.uint(r.Seq)
	w.uint(uint64(r.Kind))
	w.uint(uint64(r.StartMs))
	w.uint(uint64(r.EndMs))
	return w
}

// rest adds the fields that stand after the usage, in every version.
func (r Receipt) rest(w words) words {
	w.uint(uint64(r.CumulativeDue))
	w.digest(r.InputDigest)
	w.digest(r.OutputDigest)
	w.digest(r.TelemetryRoot)
	w.digest(r.PrevReceipt)
	return w
}

// hash is the EIP-712 hash of the line as a struct.
func (l UsageLine) hash() souk.Digest {
	unit := deviceMsHash // of almost every line; to hash is a good part of what a receipt costs
	if l.Unit != UnitDeviceMs {
		unit = keccak([]byte(l.Unit))
	}
	w := newWords(5, usageTypeHash)
	w.digest(unit)
	w.uint(l.Quantity)
	w.uint(l.Price)
	w.uint(l.Per)
	w.uint(uint64(l.Due))
	return keccak(w)
}

// SignProvider sets the provider's signature. The key must be that of
// r.ProviderKey.
func (r *Receipt) SignProvider(d EIP712Domain, key ed25519.PrivateKey) {
	r.ProviderSig = r.sign(d, key)
}

// SignClient sets the client's signature. The key must be that of r.ClientKey.
func (r *Receipt) SignClient(d EIP712Domain, key ed25519.PrivateKey) { r.ClientSig = r.sign(d, key) }

// VerifyProvider checks the provider's signature. The error is [ErrSignature].
func (r Receipt) VerifyProvider(d EIP712Domain) error {
	return r.verify(d, "provider", r.ProviderKey, r.ProviderSig)
}

// VerifyClient checks the client's signature. The error is [ErrSignature].
func (r Receipt) VerifyClient(d EIP712Domain) error {
	return r.verify(d, "client", r.ClientKey, r.ClientSig)
}

func (r Receipt) sign(d EIP712Domain, key ed25519.PrivateKey) []byte {
	digest := r.Digest(d)
	return ed25519.Sign(key, souk.DomainReceipt.Message(digest[:]))
}

func (r Receipt) verify(d EIP712Domain, who string, key souk.NodeKey, sig []byte) error {
	digest := r.Digest(d)
	if !verifySignature(key, souk.DomainReceipt.Message(digest[:]), sig) {
		return fmt.Errorf("receipt %d of lease %s: %s: %w", r.Seq, r.Lease.Short(), who, ErrSignature)
	}
	return nil
}

// verifySignature takes and refuses what crypto/ed25519 does, in two thirds of
// its time: a busy node does little else with a receipt. Many signatures at once
// would cost a quarter, but only by a rule that takes some which others refuse,
// and a receipt must be as good to a stranger as it was to us.
func verifySignature(key souk.NodeKey, message, sig []byte) bool {
	return voi.VerifyWithOptions(key[:], message, sig, &voi.Options{Verify: voi.VerifyOptionsStdLib})
}

// after are the cumulative quantities of the lease once r is added to those
// before; false where r is of another version or another tariff than t.
func (t *Terms) after(before []uint64, r Receipt) ([]uint64, bool) {
	if r.isOne() {
		if t.Version != 1 || r.PriceAtomsPerHour != t.Tariff[0].Price {
			return nil, false
		}
		return []uint64{before[0] + r.DeviceMilliseconds}, true
	}
	if r.Version != t.Version || len(r.Usage) != len(t.Tariff) {
		return nil, false
	}
	quantities := make([]uint64, len(r.Usage))
	for i, l := range r.Usage {
		if l.Line != t.Tariff[i] {
			return nil, false
		}
		quantities[i] = l.Quantity
	}
	return quantities, true
}
