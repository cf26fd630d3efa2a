package market

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// start is when every test begins.
var start = time.UnixMilli(1_800_000_000_000).UTC()

func signer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func keyOf(n byte) souk.NodeKey { return souk.NodeKey(signer(n).Public().(ed25519.PublicKey)) }

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func seal(t testing.TB, n byte, d souk.Domain, m proto.Message) []byte {
	t.Helper()
	return wire.Seal(signer(n), d, encode(t, m))
}

func goodOffer() *marketv1.Offer {
	return &marketv1.Offer{
		Class: "RTX_4090", Epoch: uint64(start.Add(-time.Hour).UnixMilli()), Sequence: 1,
		IssuedMs: start.UnixMilli(), ExpiresMs: start.Add(30 * time.Minute).UnixMilli(),
		Model: "NVIDIA GeForce RTX 4090", MemoryBytes: 24e9, ComputeCap: 89, Count: 2, Free: 1, PriceAtomsPerHour: 400_000,
		Region: "EU", Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM, marketv1.Runner_RUNNER_OCI},
		Evidence: marketv1.Evidence_EVIDENCE_CHALLENGED, CpuMilli: 8000, RamBytes: 32e9, DiskBytes: 100e9,
		Addresses: []string{"/ip4/192.0.2.1/udp/4001/quic-v1"}, MaxDurationMs: 6 * 3600 * 1000,
	}
}

// offerOf builds an opened offer of provider n, with changes.
func offerOf(t testing.TB, n byte, changes ...func(*marketv1.Offer)) *Offer {
	t.Helper()
	m := goodOffer()
	for _, c := range changes {
		c(m)
	}
	o, err := OpenOffer(seal(t, n, souk.DomainOffer, m), at(m.IssuedMs))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func goodOrder() *marketv1.Order {
	k := keyOf(2)
	return &marketv1.Order{
		Nonce: make([]byte, 16),
		Resources: &marketv1.Resources{GpuCount: 2, VramMinBytes: 16e9, VramMaxBytes: 48e9, Models: []string{"RTX_4090", "L40S"},
			ComputeCapMin: 80, ComputeCapMax: 90, CpuMilli: 2000, MemoryBytes: 4e9, DiskBytes: 10e9,
			Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, Regions: []string{"EU"},
			MinEvidence: marketv1.Evidence_EVIDENCE_NONE},
		MaxDurationMs: 3_600_000, MaxPriceAtomsPerHour: 500_000, DeadlineMs: start.Add(time.Second).UnixMilli(), ProviderKey: k[:],
	}
}

func openedOrder(t testing.TB, m *marketv1.Order) Order {
	t.Helper()
	o, err := OpenOrder(seal(t, 1, souk.DomainOrder, m), start)
	if err != nil {
		t.Fatal(err)
	}
	return *o
}

func goodBid(o Order) *marketv1.Bid {
	address := make([]byte, 20)
	return &marketv1.Bid{
		Order: o.Digest[:], Class: "RTX_4090", Devices: []string{"GPU-1", "GPU-2"}, PriceAtomsPerHour: 450_000,
		ValidUntilMs: start.Add(3 * time.Second).UnixMilli(), Held: true,
		Settlement: &marketv1.Settlement{ChainId: 1337, Contract: address, Token: address, Receiver: address, Collector: address,
			WithdrawDelayMinS: 86400, WithdrawDelayMaxS: 7 * 86400, MinDepositAtoms: 1000},
		Keys: []byte{1}, Runner: marketv1.Runner_RUNNER_WASM, MinIntervalMs: 1000,
	}
}

// wantReject checks that err is a refusal with this reason and detail; without
// a reason, that there is no error.
func wantReject(t *testing.T, err error, reason Reason, detail string) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	e, ok := errors.AsType[*RejectError](err)
	if !ok || e.Reason != reason || detail != "" && e.Detail != detail {
		t.Errorf("error is %v; want %s: %s", err, reason, detail)
	}
}

func digestOf(b []byte) souk.Digest { return sha256.Sum256(b) }
