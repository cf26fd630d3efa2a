package payment

import (
	"crypto/ed25519"
	"fmt"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// The kinds of receipt.
const (
	KindInterval uint8 = 1 // one interval of running time
	KindFinal    uint8 = 2 // the rest, when the run has ended
)

// Receipt is the usage of one interval under a lease. Receipts of a lease form a
// chain from seq 1: each holds the digest of the one before. The digest covers
// everything but the two signatures.
type Receipt struct {
	Lease              souk.LeaseID
	Job                souk.JobID
	Channel            souk.ChannelID
	ProviderKey        souk.NodeKey
	ClientKey          souk.NodeKey
	Seq                uint64 // from 1, gapless
	Kind               uint8  // [KindInterval] or [KindFinal]
	StartMs            int64  // Unix milliseconds; never before the end of the receipt before
	EndMs              int64  // Unix milliseconds
	DeviceMilliseconds uint64 // running time in the interval, summed over devices; pauses do not count
	EnergyMillijoules  uint64 // energy used in the interval; 0 where it is not measured
	PriceAtomsPerHour  uint64 // of one device
	CumulativeDue      souk.Atoms
	InputDigest        souk.Digest // zero where there are no inputs
	OutputDigest       souk.Digest // zero but in a final receipt with outputs
	TelemetryRoot      souk.Digest // zero where there is no telemetry
	PrevReceipt        souk.Digest // zero in the first
	ProviderSig        []byte      // 64 bytes, or empty
	ClientSig          []byte      // 64 bytes, or empty until it is countersigned
}

// Digest is the EIP-712 hash of the receipt under domain souk/1: what both
// parties sign, and the leaf in their logs.
func (r Receipt) Digest(d EIP712Domain) souk.Digest {
	w := newWords(17, receiptTypeHash)
	w.digest(r.Lease.Digest)
	w.digest(r.Job.Digest)
	w.digest(r.Channel.Digest)
	w.digest(r.ProviderKey)
	w.digest(r.ClientKey)
	for _, n := range []uint64{
		r.Seq, uint64(r.Kind), uint64(r.StartMs), uint64(r.EndMs), r.DeviceMilliseconds,
		r.EnergyMillijoules, r.PriceAtomsPerHour, uint64(r.CumulativeDue),
	} {
		w.uint(n)
	}
	w.digest(r.InputDigest)
	w.digest(r.OutputDigest)
	w.digest(r.TelemetryRoot)
	w.digest(r.PrevReceipt)
	return d.hash(soukName, w)
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

// ReceiptFromProto reads a receipt; no signature is verified yet. The provider's
// must be there, the client's may be empty. The error is [ErrMalformed].
func ReceiptFromProto(m *runv1.Receipt) (r Receipt, err error) {
	for _, f := range []struct {
		name string
		dst  *[32]byte
		src  []byte
	}{
		{"lease", (*[32]byte)(&r.Lease.Digest), m.GetLease()},
		{"job", (*[32]byte)(&r.Job.Digest), m.GetJob()},
		{"channel", (*[32]byte)(&r.Channel.Digest), m.GetChannel()},
		{"provider key", (*[32]byte)(&r.ProviderKey), m.GetProviderKey()},
		{"client key", (*[32]byte)(&r.ClientKey), m.GetClientKey()},
		{"input digest", (*[32]byte)(&r.InputDigest), m.GetInputDigest()},
		{"output digest", (*[32]byte)(&r.OutputDigest), m.GetOutputDigest()},
		{"telemetry root", (*[32]byte)(&r.TelemetryRoot), m.GetTelemetryRoot()},
		{"previous receipt", (*[32]byte)(&r.PrevReceipt), m.GetPrevReceipt()},
	} {
		if err := fill(f.dst[:], f.src, "receipt: "+f.name); err != nil {
			return Receipt{}, err
		}
	}
	if r.ProviderSig, r.ClientSig, err = signatures(m); err != nil {
		return Receipt{}, err
	}
	if kind := m.GetKind(); kind != uint32(KindInterval) && kind != uint32(KindFinal) {
		return Receipt{}, fmt.Errorf("receipt: kind %d: %w", kind, ErrMalformed)
	}
	r.Seq, r.Kind = m.GetSeq(), uint8(m.GetKind())
	r.StartMs, r.EndMs = m.GetStartMs(), m.GetEndMs()
	if r.Seq == 0 || r.StartMs < 0 || r.EndMs < r.StartMs {
		return Receipt{}, fmt.Errorf("receipt: seq %d from %d to %d: %w", r.Seq, r.StartMs, r.EndMs, ErrMalformed)
	}
	r.DeviceMilliseconds, r.EnergyMillijoules = m.GetDeviceMilliseconds(), m.GetEnergyMillijoules()
	r.PriceAtomsPerHour = m.GetPriceAtomsPerHour()
	if r.CumulativeDue, err = atoms(m.GetCumulativeDueAtoms()); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w: %w", ErrMalformed, err)
	}
	return r, nil
}

// signatures copies the two signatures out of m.
func signatures(m *runv1.Receipt) (provider, client []byte, err error) {
	provider = make([]byte, ed25519.SignatureSize)
	if err := fill(provider, m.GetProviderSignature(), "receipt: provider signature"); err != nil {
		return nil, nil, err
	}
	if len(m.GetClientSignature()) == 0 {
		return provider, nil, nil
	}
	client = make([]byte, ed25519.SignatureSize)
	return provider, client, fill(client, m.GetClientSignature(), "receipt: client signature")
}

// Proto is the message that [ReceiptFromProto] reads.
func (r Receipt) Proto() *runv1.Receipt {
	return &runv1.Receipt{
		Lease:              r.Lease.Digest[:],
		Job:                r.Job.Digest[:],
		Channel:            r.Channel.Digest[:],
		ProviderKey:        r.ProviderKey[:],
		ClientKey:          r.ClientKey[:],
		Seq:                r.Seq,
		Kind:               uint32(r.Kind),
		StartMs:            r.StartMs,
		EndMs:              r.EndMs,
		DeviceMilliseconds: r.DeviceMilliseconds,
		EnergyMillijoules:  r.EnergyMillijoules,
		PriceAtomsPerHour:  r.PriceAtomsPerHour,
		CumulativeDueAtoms: uint64(r.CumulativeDue),
		InputDigest:        r.InputDigest[:],
		OutputDigest:       r.OutputDigest[:],
		TelemetryRoot:      r.TelemetryRoot[:],
		PrevReceipt:        r.PrevReceipt[:],
		ProviderSignature:  r.ProviderSig,
		ClientSignature:    r.ClientSig,
	}
}
