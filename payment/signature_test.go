package payment

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

var (
	domain = EIP712Domain{1337, common.HexToAddress("0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003")}

	providerKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	clientKey   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	voucherKey  = ethKey(3)
)

func ethKey(seed byte) *ecdsa.PrivateKey {
	k, err := crypto.ToECDSA(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		panic(err)
	}
	return k
}

func nodeKey(k ed25519.PrivateKey) souk.NodeKey { return souk.NodeKey(k.Public().(ed25519.PublicKey)) }

func signedVoucher(t testing.TB, atoms souk.Atoms) Voucher {
	t.Helper()
	v := Voucher{Channel: souk.ChannelID{Digest: souk.Digest{7}}, MaxClaimable: atoms}
	if err := v.Sign(domain, voucherKey); err != nil {
		t.Fatal(err)
	}
	return v
}

// flipS returns the other signature that plain ECDSA accepts: s replaced by the
// order less s, and v turned round.
func flipS(sig []byte) []byte {
	s := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(sig[32:64]))
	out := bytes.Clone(sig)
	s.FillBytes(out[32:64])
	out[64] ^= 27 ^ 28
	return out
}

func TestVoucherSignatureGames(t *testing.T) {
	authorizer := crypto.PubkeyToAddress(voucherKey.PublicKey)
	good := signedVoucher(t, 500)
	order := crypto.S256().Params().N.FillBytes(make([]byte, 32))
	for _, tt := range []struct {
		name       string
		change     func(v *Voucher, d *EIP712Domain)
		authorizer Address
		want       error
	}{
		{"good", func(*Voucher, *EIP712Domain) {}, authorizer, nil},
		{"another authorizer", func(*Voucher, *EIP712Domain) {}, Address{9}, ErrSignature},
		{"no authorizer", func(*Voucher, *EIP712Domain) {}, Address{}, ErrSignature},
		{"one atom more", func(v *Voucher, _ *EIP712Domain) { v.MaxClaimable++ }, authorizer, ErrSignature},
		{"negative", func(v *Voucher, _ *EIP712Domain) { v.MaxClaimable = -1 }, authorizer, ErrMalformed},
		{"another channel", func(v *Voucher, _ *EIP712Domain) { v.Channel.Digest[0]++ }, authorizer, ErrSignature},
		{"another chain", func(_ *Voucher, d *EIP712Domain) { d.ChainID++ }, authorizer, ErrSignature},
		{"another contract", func(_ *Voucher, d *EIP712Domain) { d.Settlement[0]++ }, authorizer, ErrSignature},
		{"high s", func(v *Voucher, _ *EIP712Domain) { v.Signature = flipS(v.Signature) }, authorizer, ErrSignature},
		{"flipped v", func(v *Voucher, _ *EIP712Domain) { v.Signature[64] ^= 27 ^ 28 }, authorizer, ErrSignature},
		{"v of 0 or 1", func(v *Voucher, _ *EIP712Domain) { v.Signature[64] -= 27 }, authorizer, ErrSignature},
		{"v with a chain id", func(v *Voucher, _ *EIP712Domain) { v.Signature[64] += 2 }, authorizer, ErrSignature},
		{"r zero", func(v *Voucher, _ *EIP712Domain) { clear(v.Signature[:32]) }, authorizer, ErrSignature},
		{"s zero", func(v *Voucher, _ *EIP712Domain) { clear(v.Signature[32:64]) }, authorizer, ErrSignature},
		{"r is the order", func(v *Voucher, _ *EIP712Domain) { copy(v.Signature, order) }, authorizer, ErrSignature},
		{"s is the order", func(v *Voucher, _ *EIP712Domain) { copy(v.Signature[32:], order) }, authorizer, ErrSignature},
		{"compact", func(v *Voucher, _ *EIP712Domain) { v.Signature = v.Signature[:64] }, authorizer, ErrSignature},
		{"longer", func(v *Voucher, _ *EIP712Domain) { v.Signature = append(v.Signature, 0) }, authorizer, ErrSignature},
		{"none", func(v *Voucher, _ *EIP712Domain) { v.Signature = nil }, authorizer, ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, d := good, domain
			v.Signature = bytes.Clone(v.Signature)
			tt.change(&v, &d)
			if err := v.Verify(d, tt.authorizer); !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
	// The flipped signature is one that a careless verifier takes.
	digest, flipped := good.Digest(domain), flipS(good.Signature)
	flipped[64] -= 27
	if pub, err := crypto.SigToPub(digest[:], flipped); err != nil || crypto.PubkeyToAddress(*pub) != authorizer {
		t.Errorf("the high s does not recover to the authorizer: %v", err)
	}
}

func TestRefundSignature(t *testing.T) {
	authorizer := crypto.PubkeyToAddress(voucherKey.PublicKey)
	r := Refund{souk.ChannelID{Digest: souk.Digest{7}}, 3, 40}
	sig, err := r.Sign(domain, voucherKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(domain, sig, authorizer); err != nil {
		t.Error(err)
	}
	if err := r.Verify(domain, flipS(sig), authorizer); !errors.Is(err, ErrSignature) {
		t.Errorf("high s: %v", err)
	}
	r.Nonce++
	if err := r.Verify(domain, sig, authorizer); !errors.Is(err, ErrSignature) {
		t.Errorf("another nonce: %v", err)
	}
	r.Amount = -1
	if _, err := r.Sign(domain, voucherKey); !errors.Is(err, ErrMalformed) {
		t.Errorf("negative: %v", err)
	}
	// The same numbers as a voucher are another message.
	v := Voucher{Channel: r.Channel, MaxClaimable: 40, Signature: sig}
	if err := v.Verify(domain, authorizer); !errors.Is(err, ErrSignature) {
		t.Errorf("a refund as a voucher: %v", err)
	}
}

func TestReceiptSignatures(t *testing.T) {
	r := Receipt{Version: 2, ProviderKey: nodeKey(providerKey), ClientKey: nodeKey(clientKey), Seq: 1, Kind: KindInterval,
		Usage: []UsageLine{{HourlyTariff(50_000)[0], 5000, 69}}}
	r.SignProvider(domain, providerKey)
	r.SignClient(domain, clientKey)
	if err := errors.Join(r.VerifyProvider(domain), r.VerifyClient(domain)); err != nil {
		t.Fatal(err)
	}
	swapped := r
	swapped.ProviderSig, swapped.ClientSig = r.ClientSig, r.ProviderSig
	changed := r
	changed.EnergyMillijoules++
	used := r
	used.Usage = []UsageLine{{HourlyTariff(50_000)[0], 5001, 69}}
	asOne := r
	asOne.Version = 1
	other := domain
	other.ChainID++
	for name, err := range map[string]error{
		"client's as provider's": swapped.VerifyProvider(domain),
		"provider's as client's": swapped.VerifyClient(domain),
		"changed":                changed.VerifyProvider(domain),
		"more used":              used.VerifyProvider(domain),
		"as version 1":           asOne.VerifyProvider(domain),
		"another chain":          r.VerifyClient(other),
		"none":                   (Receipt{ProviderKey: r.ProviderKey}).VerifyProvider(domain),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	expires := time.UnixMilli(1_800_000_000_000).UTC()
	now := expires.Add(-time.Hour)
	envelope, err := NewKeys(providerKey, voucherKey, expires)
	if err != nil {
		t.Fatal(err)
	}
	want := Keys{nodeKey(providerKey), crypto.PubkeyToAddress(voucherKey.PublicKey), expires}
	if got, err := OpenKeys(envelope, now); got != want || err != nil {
		t.Fatalf("OpenKeys = %+v, %v; want %+v", got, err, want)
	}
	seal := func(key ed25519.PrivateKey, change func(*leasev1.Keys)) []byte {
		payload, _, err := wire.Open(souk.DomainKeys, envelope, MaxKeysBytes)
		if err != nil {
			t.Fatal(err)
		}
		var m leasev1.Keys
		if err := proto.Unmarshal(payload, &m); err != nil {
			t.Fatal(err)
		}
		change(&m)
		if payload, err = proto.Marshal(&m); err != nil {
			t.Fatal(err)
		}
		return wire.Seal(key, souk.DomainKeys, payload)
	}
	for _, tt := range []struct {
		name     string
		envelope []byte
		now      time.Time
		want     error
	}{
		{"resealed", seal(providerKey, func(*leasev1.Keys) {}), now, nil},
		{"expired", envelope, expires, ErrExpired},
		{"stolen by another node", seal(clientKey, func(*leasev1.Keys) {}), now, ErrSignature},
		{"prolonged", seal(providerKey, func(m *leasev1.Keys) { m.ExpiresMs++ }), now, ErrSignature},
		{"another voucher key", seal(providerKey, func(m *leasev1.Keys) { m.VoucherKey = crypto.CompressPubkey(&ethKey(4).PublicKey) }), now, ErrSignature},
		{"negated voucher key", seal(providerKey, func(m *leasev1.Keys) { m.VoucherKey[0] ^= 1 }), now, ErrSignature},
		{"no voucher key", seal(providerKey, func(m *leasev1.Keys) { m.VoucherKey = nil }), now, ErrSignature},
		{"high s", seal(providerKey, func(m *leasev1.Keys) { m.VoucherSignature = flipS(m.VoucherSignature) }), now, ErrSignature},
		{"no signature", seal(providerKey, func(m *leasev1.Keys) { m.VoucherSignature = nil }), now, ErrSignature},
		{"another domain", wire.Seal(providerKey, souk.DomainBid, nil), now, wire.ErrSignature},
		{"not protobuf", wire.Seal(providerKey, souk.DomainKeys, []byte{0xff}), now, ErrMalformed},
		{"empty", wire.Seal(providerKey, souk.DomainKeys, nil), now, ErrSignature},
		{"no envelope", nil, now, wire.ErrEnvelope},
		{"large", make([]byte, MaxKeysBytes+1), now, wire.ErrTooLarge},
	} {
		if _, err := OpenKeys(tt.envelope, tt.now); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestSignRefusesNegative(t *testing.T) {
	v := Voucher{MaxClaimable: math.MinInt64}
	if err := v.Sign(domain, voucherKey); !errors.Is(err, ErrMalformed) {
		t.Errorf("Sign = %v", err)
	}
}

func BenchmarkVoucherVerify(b *testing.B) {
	v, authorizer := signedVoucher(b, 500), crypto.PubkeyToAddress(voucherKey.PublicKey)
	for b.Loop() {
		if err := v.Verify(domain, authorizer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "vouchers/s")
}

func BenchmarkRawRecover(b *testing.B) {
	v := signedVoucher(b, 500)
	digest := v.Digest(domain)
	v.Signature[64] -= 27
	for b.Loop() {
		if _, err := crypto.Ecrecover(digest[:], v.Signature); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "recovers/s")
}

func BenchmarkReceiptVerify(b *testing.B) {
	r := Receipt{Version: 2, ProviderKey: nodeKey(providerKey), Seq: 1, Kind: KindInterval,
		Usage: []UsageLine{{HourlyTariff(50_000)[0], 5000, 69}}}
	r.SignProvider(domain, providerKey)
	for b.Loop() {
		if err := r.VerifyProvider(domain); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
}

// oddPoints are encodings on which verifiers of Ed25519 are known to differ:
// points of small order, and ones that are not spelled as they should be.
var oddPoints = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
}

// TestSignaturesAreThoseOfTheStandardLibrary holds our verifier against
// crypto/ed25519 on odd keys, odd halves of signatures and flipped bits.
func TestSignaturesAreThoseOfTheStandardLibrary(t *testing.T) {
	message := []byte("one receipt")
	good := ed25519.Sign(providerKey, message)
	keys, halves := [][]byte{providerKey.Public().(ed25519.PublicKey)}, [][]byte{good[:32]}
	for _, text := range oddPoints {
		keys, halves = append(keys, common.FromHex(text)), append(halves, common.FromHex(text))
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	scalars := [][]byte{good[32:], make([]byte, 32), plus(good[32:], order), plus(make([]byte, 32), order)}
	sigs := [][]byte{good, good[:63], append(bytes.Clone(good), 0), {}, nil}
	for _, r := range halves {
		for _, s := range scalars {
			sigs = append(sigs, append(bytes.Clone(r), s...))
		}
	}
	for i := range 8 * len(good) {
		flipped := bytes.Clone(good)
		flipped[i/8] ^= 1 << (i % 8)
		sigs = append(sigs, flipped)
	}
	taken := 0
	for _, key := range keys {
		for _, sig := range sigs {
			want := ed25519.Verify(key, message, sig)
			if got := verifySignature(souk.NodeKey(key), message, sig); got != want {
				t.Errorf("key %x, signature %x: %v, the standard library says %v", key, sig, got, want)
			}
			if want {
				taken++
			}
		}
	}
	if taken < 2 {
		t.Errorf("%d signatures were good: too few to tell", taken)
	}
}

// plus adds n to a number that starts with its lowest byte.
func plus(b []byte, n *big.Int) []byte {
	b = bytes.Clone(b)
	slices.Reverse(b)
	sum := new(big.Int).Add(new(big.Int).SetBytes(b), n).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return sum
}
