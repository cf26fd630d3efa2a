package market

import (
	"fmt"
	"testing"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// manyOffers fills a book with n offers of as many providers.
func manyOffers(b *testing.B, n int) *Book {
	book := NewBook(Config{})
	for i := range n {
		m := goodOffer()
		m.Class = fmt.Sprintf("CLASS_%d", i%50)
		m.PriceAtomsPerHour = uint64(i * 7919 % 1_000_003)
		m.Region = []string{"EU", "US", "AP"}[i%3]
		m.Evidence = marketv1.Evidence(1 + i%3)
		o := &Offer{Offer: m, Provider: souk.NodeKey{byte(i), byte(i >> 8), byte(i >> 16)}, Issued: at(m.IssuedMs), Expires: at(m.ExpiresMs)}
		if _, err := book.Load(start, o); err != nil {
			b.Fatal(err)
		}
	}
	return book
}

func BenchmarkMatch(b *testing.B) {
	book := manyOffers(b, 100_000)
	for _, query := range []string{
		"model=CLASS_7 region=EU price<=0.6 order=price,-score limit=16",
		"model=CLASS_7 region=EU evidence>=attested free>=1 order=price,-score",
		"model=NONE",
	} {
		b.Run(query, func(b *testing.B) {
			q := mustParse(b, query)
			found := make([]*Offer, 0, 1000)
			b.ReportAllocs()
			for b.Loop() {
				found = book.AppendMatch(found[:0], start, q)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "matches/s")
		})
	}
}

func BenchmarkPut(b *testing.B) {
	book := manyOffers(b, 100_000)
	o := offerOf(b, 2)
	b.ReportAllocs()
	for b.Loop() {
		next := *o
		m := goodOffer()
		m.Sequence = o.Sequence + 1
		m.PriceAtomsPerHour = m.Sequence * 7919 % 1_000_003
		next.Offer = m
		o = &next
		if _, err := book.Load(start, o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "offers/s")
}
