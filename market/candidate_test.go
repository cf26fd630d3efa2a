package market

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"pgregory.net/rapid"
)

// mixedRequest wants so many devices of any classes.
func mixedRequest(count uint32, models ...string) *marketv1.Resources {
	return &marketv1.Resources{GpuCount: count, Models: models, Mixed: true, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, MinEvidence: marketv1.Evidence_EVIDENCE_NONE}
}

// put puts an offer of a provider into a book.
func put(t testing.TB, b *Book, provider byte, class string, free uint32, price uint64, changes ...func(*marketv1.Offer)) {
	t.Helper()
	all := append([]func(*marketv1.Offer){func(m *marketv1.Offer) {
		m.Class, m.Count, m.Free, m.PriceAtomsPerHour, m.Extensions = class, max(free, 1), free, price, []string{ExtensionMixed}
	}}, changes...)
	if _, err := b.Load(start, offerOf(t, provider, all...)); err != nil {
		t.Fatal(err)
	}
}

func TestCandidates(t *testing.T) {
	b := NewBook(Config{})
	put(t, b, 1, "RTX_4090", 2, 400_000)
	put(t, b, 1, "L40S", 2, 500_000)
	put(t, b, 1, "H100", 8, 100_000) // not asked for
	put(t, b, 2, "RTX_4090", 1, 100_000)
	put(t, b, 2, "L40S", 1, 100_000) // one short
	put(t, b, 3, "L40S", 3, 300_000)
	put(t, b, 4, "RTX_4090", 2, 200_000)
	put(t, b, 4, "L40S", 1, 900_000) // too dear
	put(t, b, 5, "RTX_4090", 2, 100_000, func(m *marketv1.Offer) { m.Extensions = nil })
	put(t, b, 5, "L40S", 2, 100_000, func(m *marketv1.Offer) { m.Extensions = nil }) // does not lease them so
	r := mixedRequest(3, "RTX_4090", "L40S")
	q := RequestQuery(r, 600_000, souk.MillisPerHour)
	const text = "model=L40S,RTX_4090 free>=1 extension=mixed price<=0.6 runner=wasm duration>=1h together=3 order=price,-score"
	if q.String() != text {
		t.Errorf("asks %q; want %q", q, text)
	}
	got := Candidates(b.Match(start, q), r, souk.MillisPerHour)
	shown := make([]string, len(got))
	for i, c := range got {
		shown[i] = fmt.Sprintf("%d: ", slices.Index([]souk.NodeKey{0: {}, 1: keyOf(1), 2: keyOf(2), 3: keyOf(3)}, c.Provider))
		for _, p := range c.Parts {
			shown[i] += fmt.Sprintf("%d %s, ", p.Count, p.Class)
		}
		shown[i] += c.Cost(souk.MillisPerHour).String()
	}
	want := []string{"3: 3 L40S, 0.9", "1: 2 RTX_4090, 1 L40S, 1.3"}
	if !slices.Equal(shown, want) {
		t.Errorf("candidates %q; want %q", shown, want)
	}
	if len(got) == 2 && (len(got[1].Offers) != 2 || len(got[1].Lines()) != 2 || got[1].Offer("L40S").PriceAtomsPerHour != 500_000) {
		t.Errorf("the second is %+v", got[1])
	}
	q.Limit = 2
	if found := b.Match(start, q); len(found) != 2 {
		t.Errorf("at most 2: %d", len(found))
	}
	plain := mixedRequest(2, "RTX_4090")
	plain.Mixed = false
	for _, c := range Candidates(b.Match(start, RequestQuery(plain, 600_000, 0)), plain, souk.MillisPerHour) {
		if len(c.Offers) != 1 || len(c.Parts) != 1 || c.Parts[0].Count != 2 || c.Cost(souk.MillisPerHour) != souk.Atoms(2*c.Offers[0].PriceAtomsPerHour) {
			t.Errorf("a plain candidate is %+v", c)
		}
	}
}

func TestExplainTogether(t *testing.T) {
	b := NewBook(Config{})
	put(t, b, 1, "RTX_4090", 2, 400_000)
	put(t, b, 1, "L40S", 1, 700_000) // too dear, and one short without it
	put(t, b, 2, "RTX_4090", 1, 400_000)
	put(t, b, 2, "L40S", 1, 400_000)
	put(t, b, 3, "RTX_4090", 4, 400_000, func(m *marketv1.Offer) { m.Extensions = nil })
	var lines []string
	for _, r := range b.Explain(start, RequestQuery(mixedRequest(3), 600_000, 0)) {
		if r.Removed > 0 {
			lines = append(lines, fmt.Sprintf("%s removes %d, leaves %d, without it %d", r.Clause, r.Removed, r.Left, r.Without))
		}
	}
	want := []string{"extension=mixed removes 1, leaves 4, without it 1", "price<=0.6 removes 1, leaves 3, without it 2", "together=3 removes 2, leaves 0, without it 3"}
	if !slices.Equal(lines, want) {
		t.Errorf("explains\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestTogetherAgainstModel asks books of several providers and classes for devices
// together, beside a plain list of the same offers.
func TestTogetherAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, free := NewBook(Config{}), map[souk.NodeKey]uint32{}
		var all []*Offer
		for p := range byte(rapid.IntRange(1, 4).Draw(t, "providers")) {
			for _, class := range []string{"A", "B", "C"}[:rapid.IntRange(1, 3).Draw(t, "classes")] {
				m := goodOffer()
				m.Class, m.Count, m.Free, m.PriceAtomsPerHour = class, 4, rapid.Uint32Range(0, 4).Draw(t, "free"), rapid.Uint64Range(1, 4).Draw(t, "price")*100_000
				m.Extensions = []string{ExtensionMixed}[:rapid.IntRange(0, 1).Draw(t, "extensions")]
				o := &Offer{Offer: m, Provider: keyOf(p), Issued: at(m.IssuedMs), Expires: at(m.ExpiresMs)}
				if _, err := b.Load(start, o); err != nil {
					t.Fatal(err)
				}
				all = append(all, o)
			}
		}
		need, price := rapid.Uint32Range(2, 6).Draw(t, "need"), rapid.Uint64Range(1, 4).Draw(t, "cap")*100_000
		r := mixedRequest(need, "A", "B")
		fits := func(o *Offer) bool {
			return o.Class != "C" && o.Free > 0 && len(o.Extensions) > 0 && o.PriceAtomsPerHour <= price
		}
		for _, o := range all {
			if fits(o) {
				free[o.Provider] += o.Free
			}
		}
		want := 0
		for _, o := range all {
			if fits(o) && free[o.Provider] >= need {
				want++
			}
		}
		q := RequestQuery(r, price, souk.MillisPerHour)
		found := b.Match(start, q)
		removals := b.Explain(start, q)
		if last := removals[len(removals)-1]; len(found) != want || last.Left != want || last.Clause != fmt.Sprintf("together=%d", need) {
			t.Fatalf("%d offers are found, %+v is explained, the model has %d", len(found), last, want)
		}
		for i, c := range Candidates(found, r, souk.MillisPerHour) {
			taken := 0
			for _, p := range c.Parts {
				if taken += p.Count; p.Count > int(c.Offer(p.Class).Free) || p.Price != c.Offer(p.Class).PriceAtomsPerHour {
					t.Fatalf("candidate %d takes %+v of %v", i, p, c.Offer(p.Class))
				}
			}
			if taken != int(need) || free[c.Provider] < need {
				t.Fatalf("candidate %d takes %d devices of %d", i, taken, need)
			}
		}
	})
}
