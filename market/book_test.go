package market

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

func sequence(epoch, sequence uint64) func(*marketv1.Offer) {
	return func(m *marketv1.Offer) { m.Epoch, m.Sequence = epoch, sequence }
}

func class(c string) func(*marketv1.Offer) { return func(m *marketv1.Offer) { m.Class = c } }

func price(p uint64) func(*marketv1.Offer) {
	return func(m *marketv1.Offer) { m.PriceAtomsPerHour = p }
}

func revocation(t *testing.T, n byte, epoch, sequence uint64, issued time.Time) *Revocation {
	t.Helper()
	r, err := OpenRevocation(seal(t, n, souk.DomainRevoke, &marketv1.Revocation{Epoch: epoch, Sequence: sequence, IssuedMs: issued.UnixMilli()}), issued)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBookKeepsTheNewest(t *testing.T) {
	b := NewBook(Config{})
	put := func(o *Offer, want Outcome, reason Reason) {
		t.Helper()
		got, err := b.Put(start, o)
		wantReject(t, err, reason, "")
		if got != want {
			t.Errorf("outcome %d; want %d", got, want)
		}
	}
	put(offerOf(t, 2, sequence(5, 2)), Added, "")
	put(offerOf(t, 2, sequence(5, 2)), Refused, Duplicate)
	put(offerOf(t, 2, sequence(5, 1)), Refused, Stale)
	put(offerOf(t, 2, sequence(4, 9)), Refused, Stale)
	put(offerOf(t, 2, sequence(5, 3), price(9)), Replaced, "")
	put(offerOf(t, 2, sequence(6, 0), price(8)), Replaced, "") // the daemon was restarted
	put(offerOf(t, 2, sequence(6, 1), class("CPU")), Added, "")
	put(offerOf(t, 3, sequence(1, 1), price(7)), Added, "")
	var prices []uint64
	for _, o := range b.Offers(start) {
		prices = append(prices, o.PriceAtomsPerHour)
	}
	if want := []uint64{7, 8, 400_000}; !slices.Equal(prices, want) || b.Len(start) != 3 {
		t.Errorf("%d offers at %v; want %v", b.Len(start), prices, want)
	}
	if want := map[Reason]uint64{Duplicate: 1, Stale: 2}; !maps.Equal(b.Rejects(), want) {
		t.Errorf("counted %v; want %v", b.Rejects(), want)
	}
	for _, tt := range []struct {
		epoch, sequence uint64
		want            bool
	}{{6, 0, true}, {5, 9, true}, {6, 1, false}, {7, 0, false}} {
		if got := b.Seen(keyOf(2), "RTX_4090", tt.epoch, tt.sequence); got != tt.want {
			t.Errorf("Seen(%d, %d) = %t", tt.epoch, tt.sequence, got)
		}
	}
}

func TestBookRate(t *testing.T) {
	b := NewBook(Config{})
	for i := range uint64(OfferBurst) {
		if _, err := b.Put(start, offerOf(t, 2, sequence(5, i))); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Put(start, offerOf(t, 2, sequence(5, 9)))
	wantReject(t, err, Rate, "again in 2s")
	_, err = b.Put(start, offerOf(t, 2, sequence(6, 0)))
	wantReject(t, err, Rate, "again in 2s") // a restart earns no more
	if _, err := b.Put(start, offerOf(t, 3)); err != nil {
		t.Errorf("another provider: %v", err)
	}
	if _, err := b.Put(start.Add(OfferEvery), offerOf(t, 2, sequence(6, 0))); err != nil {
		t.Errorf("a restart, two seconds on: %v", err)
	}
	for i := range uint64(2 * OfferBurst) {
		if _, err := b.Load(start, offerOf(t, 4, sequence(5, i))); err != nil {
			t.Fatalf("from a peer's book: %v", err)
		}
	}
}

func TestBookFull(t *testing.T) {
	b := NewBook(Config{MaxOffers: 3, MaxPerProvider: 2})
	for _, o := range []*Offer{offerOf(t, 2), offerOf(t, 2, class("CPU")), offerOf(t, 3)} {
		if _, err := b.Put(start, o); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Put(start, offerOf(t, 2, class("H100")))
	wantReject(t, err, Full, "2 classes of this provider")
	_, err = b.Put(start, offerOf(t, 4))
	wantReject(t, err, Full, "3 offers")
	_, err = b.Put(start, offerOf(t, 3, func(m *marketv1.Offer) { m.Sequence = 2 }))
	wantReject(t, err, "", "") // a replacement needs no room
	for n := byte(10); n < 13; n++ {
		_, err = b.Revoke(start, revocation(t, n, 1, 1, start))
	}
	wantReject(t, err, Full, "3 providers")
}

func TestBookRevoke(t *testing.T) {
	b := NewBook(Config{})
	for _, o := range []*Offer{offerOf(t, 2, sequence(5, 1)), offerOf(t, 2, sequence(5, 2), class("CPU")), offerOf(t, 2, sequence(5, 3), class("H100")), offerOf(t, 3, sequence(5, 1))} {
		if _, err := b.Put(start, o); err != nil {
			t.Fatal(err)
		}
	}
	ended, err := b.Revoke(start, revocation(t, 2, 5, 2, start))
	if err != nil || len(ended) != 2 || b.Len(start) != 2 {
		t.Fatalf("ended %v, %v; %d left", ended, err, b.Len(start))
	}
	_, err = b.Put(start, offerOf(t, 2, sequence(5, 1)))
	wantReject(t, err, Revoked, "")
	_, err = b.Put(start, offerOf(t, 2, sequence(4, 9), class("L40S"))) // never seen before
	wantReject(t, err, Revoked, "")
	_, err = b.Revoke(start, revocation(t, 2, 5, 2, start))
	wantReject(t, err, Duplicate, "")
	_, err = b.Revoke(start, revocation(t, 2, 5, 1, start))
	wantReject(t, err, Stale, "")
	if !b.Seen(keyOf(2), "L40S", 5, 2) || b.Seen(keyOf(2), "L40S", 5, 3) {
		t.Error("what was revoked is not what is seen")
	}
	if _, err := b.Put(start.Add(time.Minute), offerOf(t, 2, sequence(5, 4))); err != nil {
		t.Errorf("a new offer: %v", err)
	}
}

func TestBookExpire(t *testing.T) {
	b := NewBook(Config{})
	short := func(m *marketv1.Offer) { m.ExpiresMs = m.IssuedMs + 60_000 }
	for _, o := range []*Offer{offerOf(t, 2, sequence(5, 1), short), offerOf(t, 3)} {
		if _, err := b.Put(start, o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Revoke(start, revocation(t, 4, 1, 1, start)); err != nil {
		t.Fatal(err)
	}
	later := start.Add(time.Minute)
	if n := b.Len(later); n != 1 {
		t.Errorf("%d offers live before the sweep; want 1", n)
	}
	if gone := b.Expire(later); len(gone) != 1 || gone[0].Provider != keyOf(2) {
		t.Errorf("swept %v", gone)
	}
	// The older offer outlives the newer one, and must not take its place.
	_, err := b.Put(later, offerOf(t, 2, sequence(5, 0)))
	wantReject(t, err, Stale, "")
	b.Expire(start.Add(OfferLife + Skew + time.Second))
	if len(b.providers) != 0 || b.taken != 0 || len(b.list) != 0 || len(b.limiter.keys) != 0 {
		t.Errorf("when nothing can matter any more, the book still has %d providers, %d classes", len(b.providers), b.taken)
	}
}

func TestMatchAndExplain(t *testing.T) {
	scores := map[souk.NodeKey]uint32{keyOf(2): 900, keyOf(3): 100, keyOf(4): 5000}
	b := NewBook(Config{
		Score: func(k souk.NodeKey) uint32 { return scores[k] },
		Name:  func(k souk.NodeKey) string { return "12D3Koo" + k.String()[:4] },
	})
	for _, o := range []*Offer{
		offerOf(t, 2, price(300_000)),
		offerOf(t, 3, price(300_000), func(m *marketv1.Offer) { m.Region = "US"; m.MaxDurationMs = 0 }),
		offerOf(t, 4, price(100_000), func(m *marketv1.Offer) { m.Free = 0; m.MemoryBytes = 48e9 }),
		offerOf(t, 4, price(50_000), class("CPU"), func(m *marketv1.Offer) { m.ComputeCap = 0; m.MemoryBytes = 8e9; m.Evidence = 1 }),
	} {
		if _, err := b.Put(start, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ query, want string }{
		{"", "4/CPU 4/RTX_4090 2/RTX_4090 3/RTX_4090"},
		{"order=price,-score", "4/CPU 4/RTX_4090 2/RTX_4090 3/RTX_4090"},
		{"order=-price", "2/RTX_4090 3/RTX_4090 4/RTX_4090 4/CPU"},
		{"order=score limit=1", "3/RTX_4090"},
		{"limit=3", "4/CPU 4/RTX_4090 2/RTX_4090"},
		{"model=CPU", "4/CPU"},
		{"model!=CPU free>=1", "2/RTX_4090 3/RTX_4090"},
		{"score>=900 order=-score limit=9", "4/CPU 4/RTX_4090 2/RTX_4090"},
		{"score=1000", "4/CPU 4/RTX_4090"},
		{"region=US,EU price>0.1", "2/RTX_4090 3/RTX_4090"},
		{"duration>=24h", "3/RTX_4090"},
		{"compute_cap>=8.9 vram=40GB..", "4/RTX_4090"},
		{"runner=gvisor", ""},
		{"runner=gvisor,oci evidence=none", "4/CPU"},
		{"provider=12D3Koo" + keyOf(3).String()[:4], "3/RTX_4090"},
		{"provider=" + keyOf(2).String()[:10], "2/RTX_4090"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			if got := names(b.Match(start, mustParse(t, tt.query))); got != tt.want {
				t.Errorf("found %s; want %s", got, tt.want)
			}
		})
	}
	got := b.Explain(start, mustParse(t, "model=RTX_4090 region=EU price<=0.2 free>=1"))
	want := []Removal{
		{"model=RTX_4090", 1, 3, 1}, {"region=EU", 1, 2, 0}, {"price<=0.2", 2, 1, 1}, {"free>=1", 1, 0, 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("explained %v; want %v", got, want)
	}
	if now := start.Add(time.Hour); len(b.Match(now, Query{})) != 0 || b.Explain(now, mustParse(t, "count>=1"))[0].Removed != 0 {
		t.Error("offers whose time is over still match")
	}
}

func mustParse(t testing.TB, s string) Query {
	t.Helper()
	q, err := ParseQuery(s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// names lists offers as provider/class.
func names(offers []*Offer) string {
	s := ""
	for i, o := range offers {
		for n := byte(1); n < 100; n++ {
			if keyOf(n) == o.Provider {
				if i > 0 {
					s += " "
				}
				s += string('0'+n) + "/" + o.Class
			}
		}
	}
	return s
}
