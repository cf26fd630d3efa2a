package market

import (
	"testing"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// TestEvidenceIsNotTheOffersWord has an offer that says of itself what a book with
// another source of evidence does not believe, and one that says nothing and is proved.
func TestEvidenceIsNotTheOffersWord(t *testing.T) {
	boast := func(m *marketv1.Offer) { m.Evidence = marketv1.Evidence_EVIDENCE_ATTESTED }
	modest := func(m *marketv1.Offer) { m.Evidence = marketv1.Evidence_EVIDENCE_NONE }
	proved := offerOf(t, 2, modest)
	b := NewBook(Config{Evidence: func(o *Offer) marketv1.Evidence {
		if o.Provider == proved.Provider {
			return marketv1.Evidence_EVIDENCE_CHALLENGED
		}
		return marketv1.Evidence_EVIDENCE_NONE
	}})
	for _, o := range []*Offer{offerOf(t, 1, boast), proved} {
		if _, err := b.Load(start, o); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{"evidence>=challenged": 1, "evidence>=attested": 0, "evidence=none": 1, "evidence!=none": 1, "": 2} {
		q, err := ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		found := b.Match(start, q)
		if len(found) != want || query == "evidence>=challenged" && found[0].Provider != proved.Provider {
			t.Errorf("%q: %d offers, want %d", query, len(found), want)
		}
	}
}
