package market

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

func TestOpenOffer(t *testing.T) {
	env := seal(t, 2, souk.DomainOffer, goodOffer())
	o, err := OpenOffer(env, start)
	if err != nil {
		t.Fatal(err)
	}
	if o.Provider != keyOf(2) || !o.Issued.Equal(start) || !o.Expires.Equal(start.Add(30*time.Minute)) || !bytes.Equal(o.Envelope, env) {
		t.Errorf("opened %+v", o)
	}
	env[0] ^= 1
	if bytes.Equal(o.Envelope, env) {
		t.Error("the offer shares its caller's bytes")
	}
	grown := append(encode(t, goodOffer()), 0xf8, 0x07, 1) // field 127
	if _, err := OpenOffer(wire.Seal(signer(2), souk.DomainOffer, grown), start); err != nil {
		t.Errorf("an offer with a field of a later version: %v", err)
	}
}

func TestOpenOfferRefuses(t *testing.T) {
	future := func(d time.Duration) func(*marketv1.Offer) {
		return func(m *marketv1.Offer) {
			m.IssuedMs, m.ExpiresMs = start.Add(d).UnixMilli(), start.Add(d+time.Minute).UnixMilli()
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*marketv1.Offer)
		reason Reason
		detail string
	}{
		{"good", func(m *marketv1.Offer) {}, "", ""},
		{"no region", func(m *marketv1.Offer) { m.Region = "" }, "", ""},
		{"no bound on duration", func(m *marketv1.Offer) { m.MaxDurationMs = 0 }, "", ""},
		{"a runner of a later version", func(m *marketv1.Offer) { m.Runners = append(m.Runners, 99) }, "", ""},
		{"a clock 30 s ahead", future(Skew), "", ""},
		{"a clock 31 s ahead", future(Skew + time.Second), Future, ""},
		{"over", func(m *marketv1.Offer) {
			m.IssuedMs, m.ExpiresMs = start.Add(-time.Minute).UnixMilli(), start.UnixMilli()
		}, Expired, ""},
		{"no class", func(m *marketv1.Offer) { m.Class = "" }, Malformed, "class"},
		{"class in small letters", func(m *marketv1.Offer) { m.Class = "rtx" }, Malformed, "class"},
		{"class with a range", func(m *marketv1.Offer) { m.Class = "A..B" }, Malformed, "class"},
		{"long class", func(m *marketv1.Offer) { m.Class = strings.Repeat("A", 49) }, Malformed, "class"},
		{"no epoch", func(m *marketv1.Offer) { m.Epoch = 0 }, Malformed, "epoch"},
		{"epoch after issue", func(m *marketv1.Offer) { m.Epoch = uint64(m.IssuedMs) + 60_000 }, Malformed, "epoch"},
		{"huge epoch", func(m *marketv1.Offer) { m.Epoch = math.MaxUint64 }, Malformed, "epoch"},
		{"huge sequence", func(m *marketv1.Offer) { m.Sequence = math.MaxUint64 }, Malformed, "sequence"},
		{"issued before time", func(m *marketv1.Offer) { m.IssuedMs = -1 }, Malformed, "issued_ms"},
		{"issued at the end of time", func(m *marketv1.Offer) { m.IssuedMs = math.MaxInt64 }, Malformed, "issued_ms"},
		{"ends before it begins", func(m *marketv1.Offer) { m.ExpiresMs = m.IssuedMs }, Malformed, "expires_ms"},
		{"lives too long", func(m *marketv1.Offer) { m.ExpiresMs = m.IssuedMs + 45*60*1000 + 1 }, Malformed, "expires_ms"},
		{"no model", func(m *marketv1.Offer) { m.Model = "" }, Malformed, "model"},
		{"model that moves the cursor", func(m *marketv1.Offer) { m.Model = "\x1b[2J" }, Malformed, "model"},
		{"long model", func(m *marketv1.Offer) { m.Model = strings.Repeat("x", 97) }, Malformed, "model"},
		{"too much memory", func(m *marketv1.Offer) { m.MemoryBytes = math.MaxUint64 }, Malformed, "memory_bytes"},
		{"compute capability", func(m *marketv1.Offer) { m.ComputeCap = 10_001 }, Malformed, "compute_cap"},
		{"no device", func(m *marketv1.Offer) { m.Count, m.Free = 0, 0 }, Malformed, "count"},
		{"too many devices", func(m *marketv1.Offer) { m.Count = 1025 }, Malformed, "count"},
		{"more free than there are", func(m *marketv1.Offer) { m.Free = 3 }, Malformed, "free"},
		{"price past the top", func(m *marketv1.Offer) { m.PriceAtomsPerHour = MaxPrice + 1 }, Malformed, "price_atoms_per_hour"},
		{"region", func(m *marketv1.Offer) { m.Region = "e u" }, Malformed, "region"},
		{"no runner", func(m *marketv1.Offer) { m.Runners = nil }, Malformed, "runners"},
		{"unspecified runner", func(m *marketv1.Offer) { m.Runners[0] = 0 }, Malformed, "runners"},
		{"a runner twice", func(m *marketv1.Offer) { m.Runners[1] = m.Runners[0] }, Malformed, "runners"},
		{"no evidence", func(m *marketv1.Offer) { m.Evidence = 0 }, Malformed, "evidence"},
		{"negative evidence", func(m *marketv1.Offer) { m.Evidence = -1 }, Malformed, "evidence"},
		{"evidence of a later version", func(m *marketv1.Offer) { m.Evidence = 4 }, "", ""},
		{"cores", func(m *marketv1.Offer) { m.CpuMilli = math.MaxUint32 }, Malformed, "cpu_milli"},
		{"host memory", func(m *marketv1.Offer) { m.RamBytes = math.MaxUint64 }, Malformed, "ram_bytes"},
		{"disk", func(m *marketv1.Offer) { m.DiskBytes = math.MaxUint64 }, Malformed, "disk_bytes"},
		{"many addresses", func(m *marketv1.Offer) { m.Addresses = slices.Repeat(m.Addresses, 9) }, Malformed, "addresses"},
		{"not an address", func(m *marketv1.Offer) { m.Addresses[0] = "192.0.2.1" }, Malformed, "addresses"},
		{"duration", func(m *marketv1.Offer) { m.MaxDurationMs = math.MaxUint64 }, Malformed, "max_duration_ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := goodOffer()
			tt.change(m)
			_, err := OpenOffer(seal(t, 2, souk.DomainOffer, m), start)
			wantReject(t, err, tt.reason, tt.detail)
		})
	}
}

func TestEnvelopeRefused(t *testing.T) {
	good := seal(t, 2, souk.DomainOffer, goodOffer())
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	for _, tt := range []struct {
		name   string
		env    []byte
		reason Reason
	}{
		{"nothing", nil, Malformed},
		{"of another kind", seal(t, 2, souk.DomainBid, goodOffer()), Signature},
		{"forged", forged, Signature},
		{"with a second encoding", append(bytes.Clone(good), 0x20, 1), Malformed},
		{"too large", append(bytes.Clone(good), make([]byte, MaxOfferBytes)...), Oversized},
		{"not a message", wire.Seal(signer(2), souk.DomainOffer, []byte{0xff}), Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := OpenOffer(tt.env, start)
			wantReject(t, err, tt.reason, "")
		})
	}
}

func TestOpenRevocation(t *testing.T) {
	good := marketv1.Revocation{Epoch: 5, Sequence: 7, IssuedMs: start.UnixMilli()}
	for _, tt := range []struct {
		name   string
		change func(*marketv1.Revocation)
		after  time.Duration
		reason Reason
		detail string
	}{
		{"good", func(*marketv1.Revocation) {}, 0, "", ""},
		{"while what it ends could live", func(*marketv1.Revocation) {}, OfferLife + Skew, "", ""},
		{"too old to matter", func(*marketv1.Revocation) {}, OfferLife + Skew + 1, Expired, ""},
		{"a clock too far ahead", func(*marketv1.Revocation) {}, -Skew - time.Second, Future, ""},
		{"no epoch", func(m *marketv1.Revocation) { m.Epoch = 0 }, 0, Malformed, "epoch"},
		{"huge sequence", func(m *marketv1.Revocation) { m.Sequence = math.MaxUint64 }, 0, Malformed, "sequence"},
		{"no time", func(m *marketv1.Revocation) { m.IssuedMs = 0 }, 0, Malformed, "issued_ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := proto.CloneOf(&good)
			tt.change(m)
			r, err := OpenRevocation(seal(t, 2, souk.DomainRevoke, m), start.Add(tt.after))
			wantReject(t, err, tt.reason, tt.detail)
			if err == nil && (r.Provider != keyOf(2) || len(r.Envelope) == 0) {
				t.Errorf("opened %+v", r)
			}
		})
	}
}

func FuzzOpenOffer(f *testing.F) {
	f.Add(encode(f, goodOffer()))
	f.Add([]byte{0x0a, 0x03, 'C', 'P', 'U'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenOffer(b, start); err == nil {
			t.Fatal("opened what nobody signed")
		}
		env := wire.Seal(signer(2), souk.DomainOffer, b)
		o, err := OpenOffer(env, start)
		if err != nil {
			return
		}
		if len(env) > MaxOfferBytes || !bytes.Equal(o.Envelope, env) || o.Expires.Sub(o.Issued) > OfferLife ||
			o.Free > o.Count || o.PriceAtomsPerHour > MaxPrice || !isClass(o.Class) || len(o.Addresses) > 8 {
			t.Errorf("out of bounds: %v", o.Offer)
		}
		again, err := OpenOffer(seal(t, 2, souk.DomainOffer, o.Offer), start)
		if err != nil || !proto.Equal(again.Offer, o.Offer) {
			t.Errorf("encoded and opened again: %v, %v", again, err)
		}
	})
}

func FuzzOpenRevocation(f *testing.F) {
	f.Add(encode(f, &marketv1.Revocation{Epoch: 5, Sequence: 7, IssuedMs: start.UnixMilli()}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := OpenRevocation(b, start); err == nil {
			t.Fatal("opened what nobody signed")
		}
		r, err := OpenRevocation(wire.Seal(signer(2), souk.DomainRevoke, b), start)
		if err != nil {
			return
		}
		again, err := OpenRevocation(seal(t, 2, souk.DomainRevoke, r.Revocation), start)
		if err != nil || !proto.Equal(again.Revocation, r.Revocation) {
			t.Errorf("encoded and opened again: %v, %v", again, err)
		}
	})
}
