package vectors

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/payment"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	wirev1 "github.com/souk-market/souk/proto/souk/wire/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// signedVector is one Signed envelope.
type signedVector struct {
	Name       string          `json:"name"`
	Domain     string          `json:"domain"`
	Message    string          `json:"message"`     // the payload's type
	Fields     json.RawMessage `json:"fields"`      // the payload, to be read
	Payload    string          `json:"payload"`     // as it travels
	SHA256     string          `json:"sha256"`      // of the payload: the id of an order, a bid, a lease
	Preimage   string          `json:"preimage"`    // what is signed: domain, a zero byte, payload
	PrivateKey string          `json:"private_key"` // the Ed25519 seed
	PublicKey  string          `json:"public_key"`
	Signature  string          `json:"signature"`
	Envelope   string          `json:"envelope"`
}

// seal makes a vector, and returns the envelope in it.
func seal(t *testing.T, name string, d souk.Domain, key ed25519.PrivateKey, m proto.Message) (signedVector, []byte) {
	t.Helper()
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return vectorOf(t, name, d, key, wire.Seal(key, d, payload), m)
}

// vectorOf takes an envelope apart.
func vectorOf(t *testing.T, name string, d souk.Domain, key ed25519.PrivateKey, envelope []byte, m proto.Message) (signedVector, []byte) {
	t.Helper()
	payload, signer, err := wire.Open(d, envelope, len(envelope))
	if err != nil || signer != nodeKey(key) {
		t.Fatalf("%s: by %s: %v", name, signer, err)
	}
	var s wirev1.Signed
	if err := proto.Unmarshal(envelope, &s); err != nil {
		t.Fatal(err)
	}
	fields, err := plainjson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return signedVector{Name: name, Domain: string(d), Message: string(m.ProtoReflect().Descriptor().FullName()), Fields: fields,
		Payload: hexOf(payload), SHA256: sum(payload), Preimage: hexOf(d.Message(payload)), PrivateKey: hexOf(key.Seed()),
		PublicKey: hexOf(signer[:]), Signature: hexOf(s.Signature), Envelope: hexOf(envelope)}, envelope
}

// keysOf binds a node key and a voucher key.
func keysOf(t *testing.T) []byte {
	t.Helper()
	b, err := payment.NewKeys(clientKey, voucherKey, issued.Add(30*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func offer() *marketv1.Offer {
	return &marketv1.Offer{Class: "RTX_4090", Epoch: uint64(issued.Add(-time.Hour).UnixMilli()), Sequence: 7, IssuedMs: issued.UnixMilli(),
		ExpiresMs: issued.Add(30 * time.Minute).UnixMilli(), Model: "NVIDIA GeForce RTX 4090", MemoryBytes: 24e9, ComputeCap: 89, Count: 2, Free: 1,
		PriceAtomsPerHour: 400_000, Region: "EU", Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, Evidence: marketv1.Evidence_EVIDENCE_NONE,
		CpuMilli: 8000, RamBytes: 32e9, DiskBytes: 100e9, Addresses: []string{"/ip4/192.0.2.1/udp/4001/quic-v1"}, MaxDurationMs: 6 * 3600 * 1000,
		Tariff: payment.HourlyTariff(400_000).Proto()}
}

func order(provider souk.NodeKey) *marketv1.Order {
	return &marketv1.Order{Nonce: bytes.Repeat([]byte{8}, 16), MaxDurationMs: 3_600_000, MaxPriceAtomsPerHour: 500_000,
		DeadlineMs: issued.Add(time.Second).UnixMilli(), ProviderKey: provider[:], Version: 2,
		Resources: &marketv1.Resources{GpuCount: 1, VramMinBytes: 16e9, CpuMilli: 2000, MemoryBytes: 4e9, DiskBytes: 10e9,
			Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, MinEvidence: marketv1.Evidence_EVIDENCE_NONE}}
}

func bid(order *market.Order) *marketv1.Bid {
	providerKeys, err := payment.NewKeys(providerKey, receiverKey, issued.Add(30*24*time.Hour))
	if err != nil {
		panic(err) // both keys are good
	}
	return &marketv1.Bid{Order: order.Digest[:], Class: "RTX_4090", Devices: []string{"GPU-1"}, PriceAtomsPerHour: 400_000,
		ValidUntilMs: issued.Add(3 * time.Second).UnixMilli(), Held: true, Runner: marketv1.Runner_RUNNER_WASM, MinIntervalMs: 1000, Version: 2,
		Tariff: payment.HourlyTariff(400_000).Proto(), Keys: providerKeys,
		Settlement: &marketv1.Settlement{ChainId: domain.ChainID, Contract: domain.Settlement[:], Token: channel.Token[:], Receiver: channel.Receiver[:],
			Collector: make([]byte, 20), WithdrawDelayMinS: 86_400, WithdrawDelayMaxS: 7 * 86_400, MinDepositAtoms: 1000}}
}

// mixedOrder wants three devices of any of two classes.
func mixedOrder(provider souk.NodeKey) *marketv1.Order {
	o := order(provider)
	o.Resources.GpuCount, o.Resources.Models, o.Resources.Mixed = 3, []string{"L40S", "RTX_4090"}, true
	o.MustUnderstand = []string{market.ExtensionMixed}
	return o
}

// mixedBid answers it with two devices of one class and one of the other.
func mixedBid(order *market.Order) *marketv1.Bid {
	b := bid(order)
	b.Devices, b.MustUnderstand, b.PriceAtomsPerHour = []string{"GPU-1", "GPU-2", "GPU-3"}, []string{market.ExtensionMixed}, 500_000
	b.Groups = []*marketv1.BidGroup{{Class: "RTX_4090", Devices: b.Devices[:2]}, {Class: "L40S", Devices: b.Devices[2:]}}
	b.Tariff = market.Quote(market.Part{Class: "RTX_4090", Count: 2, Price: 400_000}, market.Part{Class: "L40S", Count: 1, Price: 500_000}).Proto()
	return b
}

func lease(b *market.Bid, o *market.Order, clientKeys []byte) *leasev1.Lease {
	client := nodeKey(clientKey)
	return &leasev1.Lease{Job: bytes.Repeat([]byte{9}, 32), Bid: b.Digest[:], ProviderKey: b.Provider[:], ClientKey: client[:], Devices: b.Devices,
		PriceAtomsPerHour: b.PriceAtomsPerHour, IntervalMs: 10_000, GraceMs: 2000, HoldPausedMs: 30_000, MaxDurationMs: 3_600_000, ReserveAtoms: 400_000,
		Channel: channel.Proto(), ChainId: domain.ChainID, Settlement: domain.Settlement[:], Resources: o.Resources, Runner: b.Runner,
		ClientKeys: clientKeys, ProviderKeys: b.Keys, SignedMs: issued.UnixMilli(), StartByMs: issued.Add(5 * time.Minute).UnixMilli(),
		InputDigest: bytes.Repeat([]byte{10}, 32), Version: 2, Tariff: b.Tariff}
}

func TestSigned(t *testing.T) {
	var vectors []signedVector
	add := func(name string, d souk.Domain, key ed25519.PrivateKey, m proto.Message) []byte {
		v, envelope := seal(t, name, d, key, m)
		vectors = append(vectors, v)
		return envelope
	}
	if _, err := market.OpenOffer(add("offer", souk.DomainOffer, providerKey, offer()), issued); err != nil {
		t.Error(err)
	}
	revoked := add("revoke", souk.DomainRevoke, providerKey, &marketv1.Revocation{Epoch: offer().Epoch, Sequence: 7, IssuedMs: issued.UnixMilli()})
	if _, err := market.OpenRevocation(revoked, issued); err != nil {
		t.Error(err)
	}
	o, err := market.OpenOrder(add("order", souk.DomainOrder, clientKey, order(nodeKey(providerKey))), issued)
	if err != nil {
		t.Fatal(err)
	}
	b, err := market.OpenBid(add("bid", souk.DomainBid, providerKey, bid(o)), issued, *o)
	if err != nil {
		t.Fatal(err)
	}
	refusal := market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED, Detail: "not here", Unsupported: []string{"gang"}}
	if _, err := market.OpenDecline(add("decline", souk.DomainDecline, providerKey, refusal.Proto(o.Digest)), o.Digest); err != nil {
		t.Error(err)
	}
	keys := keysOf(t)
	l := lease(b, o, keys)
	add("lease, signed by the client", souk.DomainLease, clientKey, l)
	add("lease, countersigned by the provider", souk.DomainLease, providerKey, l)
	old := proto.CloneOf(l)
	old.Version, old.Tariff = 0, nil
	add("lease of version 1", souk.DomainLease, clientKey, old)
	addMixed(t, add, keys)
	addChallenge(t, add)
	var m leasev1.Keys
	payload, _, err := wire.Open(souk.DomainKeys, keys, len(keys))
	if err != nil || proto.Unmarshal(payload, &m) != nil {
		t.Fatal(err)
	}
	v, _ := vectorOf(t, "keys", souk.DomainKeys, clientKey, keys, &m)
	compare(t, "signed.json", append(vectors, v))
}

// addMixed adds an order for devices of several classes, with its bid and lease.
func addMixed(t *testing.T, add func(string, souk.Domain, ed25519.PrivateKey, proto.Message) []byte, keys []byte) {
	t.Helper()
	o, err := market.OpenOrder(add("order, mixed", souk.DomainOrder, clientKey, mixedOrder(nodeKey(providerKey))), issued)
	if err != nil {
		t.Fatal(err)
	}
	b, err := market.OpenBid(add("bid, of two classes", souk.DomainBid, providerKey, mixedBid(o)), issued, *o)
	if err != nil {
		t.Fatal(err)
	}
	l := lease(b, o, keys)
	l.MustUnderstand, l.ReserveAtoms = b.MustUnderstand, 1_300_000
	for _, g := range b.Groups {
		l.Groups = append(l.Groups, &leasev1.DeviceGroup{Class: g.Class, Devices: g.Devices})
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if terms, _, err := money.LeaseTerms(payload, l); err != nil || !slices.Equal(terms.Devices, b.Classes()) {
		t.Errorf("its terms are %+v, %v", terms, err)
	}
	add("lease, of two classes", souk.DomainLease, clientKey, l)
}

// addChallenge adds a challenge and the evidence of it.
func addChallenge(t *testing.T, add func(string, souk.Domain, ed25519.PrivateKey, proto.Message) []byte) {
	t.Helper()
	provider := nodeKey(providerKey)
	asked := add("challenge", souk.DomainChallenge, clientKey, &challengev1.Challenge{Version: 1, Nonce: bytes.Repeat([]byte{11}, 16), ProviderKey: provider[:],
		Class: "RTX_4090", Arithmetic: challengev1.Arithmetic_ARITHMETIC_INT8, Size: 16384, Rounds: 20, SignedMs: issued.UnixMilli()})
	r, refused := proof.OpenRequest(asked, provider, issued)
	if refused != nil {
		t.Fatal(refused)
	}
	said := add("evidence", souk.DomainEvidence, clientKey, &challengev1.Evidence{Version: 1, ProviderKey: provider[:], Class: r.Class, Devices: []string{"GPU-1"},
		Challenge: bytes.Repeat([]byte{12}, 32), Arithmetic: r.Arithmetic, Size: r.Size, Rounds: r.Rounds, Backend: "cuda", CommitUs: 4_000_000, RecallUs: 300_000,
		Tiles: 16, Verdict: challengev1.Verdict_VERDICT_PROVED, AtMs: issued.Add(10 * time.Second).UnixMilli()})
	if e, err := proof.OpenEvidence(said); err != nil || !e.Counts(issued.Add(time.Hour), 0) {
		t.Errorf("%v, %v", e, err)
	}
}

// keysVector is the voucher key's half of a binding; the node key's half is the
// envelope in signed.json.
type keysVector struct {
	Name       string `json:"name"`
	NodeKey    string `json:"node_key"`
	ExpiresMs  int64  `json:"expires_ms"`
	Preimage   string `json:"preimage"`    // domain, a zero byte, node key, expiry as 8 bytes
	Digest     string `json:"digest"`      // SHA-256 of it, which the voucher key signs
	PrivateKey string `json:"private_key"` // secp256k1
	PublicKey  string `json:"public_key"`  // compressed
	Address    string `json:"address"`
	Signature  string `json:"signature"` // r, s, v
}

func TestKeys(t *testing.T) {
	envelope := keysOf(t)
	opened, err := payment.OpenKeys(envelope, issued)
	if err != nil {
		t.Fatal(err)
	}
	payload, node, err := wire.Open(souk.DomainKeys, envelope, len(envelope))
	if err != nil {
		t.Fatal(err)
	}
	var m leasev1.Keys
	if err := proto.Unmarshal(payload, &m); err != nil {
		t.Fatal(err)
	}
	preimage := souk.DomainKeys.Message(binary.BigEndian.AppendUint64(node[:], uint64(m.ExpiresMs)))
	compare(t, "keys.json", []keysVector{{Name: "keys", NodeKey: hexOf(node[:]), ExpiresMs: m.ExpiresMs, Preimage: hexOf(preimage), Digest: sum(preimage),
		PrivateKey: hexOf(crypto.FromECDSA(voucherKey)), PublicKey: hexOf(m.VoucherKey), Address: opened.Authorizer.Hex(), Signature: hexOf(m.VoucherSignature)}})
}
