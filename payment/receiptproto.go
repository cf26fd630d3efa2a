package payment

import (
	"crypto/ed25519"
	"fmt"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// ReceiptFromProto reads a receipt of version 1 or 2; no signature is verified
// yet, nor any sum. The provider's signature must be there, the client's may be
// empty. A field that the version does not have must be empty: nobody signed
// it. The error is [ErrMalformed].
func ReceiptFromProto(m *runv1.Receipt) (r Receipt, err error) {
	if err := readDigests(m, &r); err != nil {
		return Receipt{}, err
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
	r.EnergyMillijoules = m.GetEnergyMillijoules()
	if r.CumulativeDue, err = atoms(m.GetCumulativeDueAtoms()); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w: %w", ErrMalformed, err)
	}
	if err := readUsage(m, &r); err != nil {
		return Receipt{}, err
	}
	return r, nil
}

// readDigests copies what is 32 bytes long out of m.
func readDigests(m *runv1.Receipt, r *Receipt) error {
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
			return err
		}
	}
	return nil
}

// readUsage copies the version and what it says of usage out of m.
func readUsage(m *runv1.Receipt, r *Receipt) error {
	switch v := m.GetVersion(); {
	case v <= 1 && len(m.GetUsage()) > 0:
		return fmt.Errorf("receipt: usage lines in version %d: %w", v, ErrMalformed)
	case v <= 1:
		r.Version, r.DeviceMilliseconds, r.PriceAtomsPerHour = 1, m.GetDeviceMilliseconds(), m.GetPriceAtomsPerHour()
		return nil
	case v > 2:
		return fmt.Errorf("receipt: version %d is not known: %w", v, ErrMalformed)
	case m.GetDeviceMilliseconds() != 0 || m.GetPriceAtomsPerHour() != 0:
		return fmt.Errorf("receipt: fields of version 1 in version 2: %w", ErrMalformed)
	case len(m.GetUsage()) == 0 || len(m.GetUsage()) > MaxLines:
		return fmt.Errorf("receipt: %d usage lines, not 1 to %d: %w", len(m.GetUsage()), MaxLines, ErrMalformed)
	}
	r.Version, r.Usage = 2, make([]UsageLine, len(m.GetUsage()))
	for i, l := range m.GetUsage() {
		due, err := atoms(l.GetDueAtoms())
		switch {
		case err != nil:
			return fmt.Errorf("receipt: line %d: %w: %w", i, ErrMalformed, err)
		case l.GetUnit() == "" || len(l.GetUnit()) > maxUnitBytes:
			return fmt.Errorf("receipt: a unit of %d bytes, not 1 to %d: %w", len(l.GetUnit()), maxUnitBytes, ErrMalformed)
		case l.GetPer() == 0:
			return fmt.Errorf("receipt: line %d is priced per 0: %w", i, ErrMalformed)
		}
		r.Usage[i] = UsageLine{Line{l.GetUnit(), l.GetPriceAtoms(), l.GetPer()}, l.GetQuantity(), due}
	}
	return nil
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

// Proto is the message that [ReceiptFromProto] reads. Version 1 leaves the
// version out, as programs from before version 2 do.
func (r Receipt) Proto() *runv1.Receipt {
	m := &runv1.Receipt{
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
	if r.isOne() {
		return m
	}
	m.Version = uint32(r.Version)
	for _, l := range r.Usage {
		m.Usage = append(m.Usage, &runv1.UsageLine{Unit: l.Unit, Quantity: l.Quantity, PriceAtoms: l.Price, Per: l.Per, DueAtoms: uint64(l.Due)})
	}
	return m
}
