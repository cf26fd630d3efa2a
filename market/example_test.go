package market_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// sealedOffer is the signed envelope of an offer of RTX 4090 devices, as gossip
// brings it.
func sealedOffer(seed byte, price uint64, region string) []byte {
	payload, err := proto.Marshal(&marketv1.Offer{
		Class: "RTX_4090", Model: "NVIDIA GeForce RTX 4090", MemoryBytes: 24e9, ComputeCap: 89, Count: 2, Free: 2,
		Epoch: uint64(noon.UnixMilli()), Sequence: 1, IssuedMs: noon.UnixMilli(), ExpiresMs: noon.Add(market.OfferLife).UnixMilli(),
		PriceAtomsPerHour: price, Region: region, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM},
		Evidence: marketv1.Evidence_EVIDENCE_NONE, CpuMilli: 8000, RamBytes: 32e9, DiskBytes: 100e9,
		Addresses: []string{"/ip4/192.0.2.1/udp/4001/quic-v1"},
	})
	if err != nil {
		panic(err)
	}
	return wire.Seal(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), souk.DomainOffer, payload)
}

// Offers are opened, which checks them, put into a book, and found by a query.
func Example() {
	book := market.NewBook(market.Config{})
	for _, envelope := range [][]byte{
		sealedOffer(1, 400_000, "EU"),
		sealedOffer(2, 300_000, "US"),
		sealedOffer(3, 350_000, "EU"),
	} {
		offer, err := market.OpenOffer(envelope, noon)
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := book.Put(noon, offer); err != nil {
			fmt.Println(err)
			return
		}
	}
	query, err := market.ParseQuery("model=RTX_4090 vram>=24GB price<=0.5 region=EU")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range book.Match(noon, query) {
		fmt.Println(o.Class, o.Region, souk.Atoms(o.PriceAtomsPerHour))
	}
	for _, r := range book.Explain(noon, query) {
		fmt.Printf("%s removes %d\n", r.Clause, r.Removed)
	}
	// Output:
	// RTX_4090 EU 0.35
	// RTX_4090 EU 0.4
	// model=RTX_4090 removes 0
	// vram>=24GB removes 0
	// price<=0.5 removes 0
	// region=EU removes 1
}

// An envelope that was changed on its way is refused, for a reason out of a closed
// set.
func ExampleOpenOffer() {
	envelope := sealedOffer(1, 400_000, "EU")
	envelope[len(envelope)-1] ^= 1
	_, err := market.OpenOffer(envelope, noon)
	if refused, ok := errors.AsType[*market.RejectError](err); ok {
		fmt.Println(refused.Reason)
	}
	// Output: signature
}

// A word that is no field is told, with the nearest that is one.
func ExampleParseQuery() {
	_, err := market.ParseQuery("vrma>=24GB")
	fmt.Println(err)
	// Output: vrma>=24GB: unknown field; did you mean "vram"?
}
