package market

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

var (
	seed  = flag.Uint64("seed", 1, "first seed of the books that are compared with plain lists")
	seeds = flag.Uint64("seeds", 12, "how many such books")
)

// A crowd is a book with enough offers for columns, and the plain list of what
// must be in it.
type crowd struct {
	*rand.Rand
	seed     uint64
	now      time.Time
	book     *Book
	list     []*Offer
	sequence uint64
}

// TestCrowds compares books of hundreds of offers, through all that happens to
// them, with plain lists: every query finds the same, in the same order, and is
// explained alike, and the book's own structure holds.
func TestCrowds(t *testing.T) {
	for s := *seed; s < *seed+*seeds; s++ {
		random := rand.New(rand.NewPCG(s, 0))
		c := &crowd{Rand: random, seed: s, now: start, book: NewBook(Config{Score: crowdScore, MaxPerProvider: 3})}
		size := []int{20, 100, 400, 1500}[c.IntN(4)]
		for range 12 {
			for range size / 4 {
				c.put(t, size)
			}
			switch c.IntN(4) {
			case 0:
				c.revoke(t)
			case 1:
				c.now = c.now.Add(time.Duration(c.IntN(20)) * time.Minute)
			case 2:
				c.expire(t)
			}
			c.structure(t)
			c.of(t, crowdKey(c.IntN(size)))
			for range 12 {
				c.compare(t)
			}
		}
	}
	t.Logf("%d books from seed %d on", *seeds, *seed)
}

// of compares one provider's offers.
func (c *crowd) of(t *testing.T, k souk.NodeKey) {
	var want []*Offer
	for _, o := range c.list {
		if o.Provider == k && o.Expires.After(c.now) {
			want = append(want, o)
		}
	}
	got := c.book.Of(c.now, k)
	for _, offers := range [][]*Offer{got, want} {
		slices.SortFunc(offers, func(a, b *Offer) int { return strings.Compare(a.Class, b.Class) })
	}
	if !slices.Equal(got, want) {
		t.Fatalf("seed %d: provider %s has %d offers; want %d", c.seed, k, len(got), len(want))
	}
}

func crowdScore(k souk.NodeKey) uint32 { return uint32(k[0]) % 4 * 400 }

func crowdKey(n int) (k souk.NodeKey) {
	binary.BigEndian.PutUint64(k[:], uint64(n)*0x9e3779b97f4a7c15)
	return k
}

// size is a number of some kind: often one on a bound between buckets, or beside it.
func (c *crowd) size(least, most uint64) uint64 {
	switch n := least << c.IntN(10); c.IntN(4) {
	case 0:
		return min(n, most)
	case 1:
		return min(n+n/4*c.Uint64N(4), most)
	case 2:
		return min(max(n, 1)-1, most)
	default:
		return c.Uint64N(most + 1)
	}
}

func (c *crowd) price() uint64 {
	if c.IntN(3) == 0 {
		return 500_000 // where many stand
	}
	return c.Uint64N(1_000_000)
}

func (c *crowd) put(t *testing.T, size int) {
	c.sequence++
	issued := c.now.Add(-time.Duration(c.IntN(10)) * time.Minute)
	m := &marketv1.Offer{
		Class: []string{"CPU", "A", "A", "A", "B", fmt.Sprint("C", c.IntN(9))}[c.IntN(6)], Model: "x", Epoch: 1, Sequence: c.sequence,
		IssuedMs: issued.UnixMilli(), ExpiresMs: issued.Add(time.Duration(11+c.IntN(34)) * time.Minute).UnixMilli(),
		MemoryBytes: c.size(1<<33, 1<<37), ComputeCap: uint32(c.size(10, 130)), Count: uint32(c.size(1, 64)), Free: uint32(c.size(1, 64)),
		PriceAtomsPerHour: c.price(), Evidence: marketv1.Evidence(1 + c.IntN(3)), CpuMilli: uint32(c.size(500, 64_000)),
		RamBytes: c.size(1<<30, 1<<40), DiskBytes: c.size(1<<30, maxBytes), MaxDurationMs: c.size(60_000, maxDurationMs),
		Region: c.region(), Runners: []marketv1.Runner{marketv1.Runner(1 + c.IntN(4))},
	}
	if c.IntN(4) == 0 {
		m.Runners = append(m.Runners, marketv1.Runner(5+c.IntN(2)))
	}
	if c.IntN(4) == 0 {
		m.Tariff = []*marketv1.TariffLine{{Unit: payment.UnitDeviceMs, PriceAtoms: m.PriceAtomsPerHour, Per: souk.MillisPerHour},
			{Unit: payment.UnitReservedMs, PriceAtoms: c.Uint64N(100_000), Per: souk.MillisPerHour},
			{Unit: payment.UnitRequest, PriceAtoms: c.Uint64N(1000), Per: 1 + c.Uint64N(100)}, {Unit: "parsec", PriceAtoms: 1, Per: 1}}[c.IntN(2):]
	}
	o := &Offer{Offer: m, Provider: crowdKey(c.IntN(size)), Issued: issued, Expires: at(m.ExpiresMs)}
	if n := slices.IndexFunc(c.list, func(k *Offer) bool { return k.Provider == o.Provider && k.Class == m.Class }); n >= 0 && c.IntN(2) == 0 {
		// As most offers are: like the last, but for the price or what is free.
		old := c.list[n]
		m.MemoryBytes, m.Region, m.Runners, m.Evidence = old.MemoryBytes, old.Region, old.Runners, old.Evidence
	}
	if _, err := c.book.Load(c.now, o); err != nil {
		if reasonOf(err) != Full {
			t.Fatalf("seed %d: %v", c.seed, err)
		}
		return
	}
	c.list = slices.DeleteFunc(c.list, func(k *Offer) bool { return k.Provider == o.Provider && k.Class == o.Class })
	c.list = append(c.list, o)
}

// region is often one of a few, and now and then one of more than have columns.
func (c *crowd) region() string {
	if c.IntN(5) == 0 {
		return fmt.Sprint("R", c.IntN(60))
	}
	return []string{"", "EU", "US", "ASIA"}[c.IntN(4)]
}

func (c *crowd) revoke(t *testing.T) {
	if len(c.list) == 0 {
		return
	}
	o := c.list[c.IntN(len(c.list))]
	r := &Revocation{Revocation: &marketv1.Revocation{Epoch: 1, Sequence: c.sequence}, Provider: o.Provider, Issued: c.now}
	c.sequence++
	gone, err := c.book.Revoke(c.now, r)
	left := slices.DeleteFunc(slices.Clone(c.list), func(k *Offer) bool { return k.Provider == o.Provider })
	if err != nil || len(gone) != len(c.list)-len(left) {
		t.Fatalf("seed %d: revoked %d, %v; want %d", c.seed, len(gone), err, len(c.list)-len(left))
	}
	c.list = left
}

func (c *crowd) expire(t *testing.T) {
	if c.IntN(4) == 0 { // so that segments are left with few
		c.now = c.now.Add(30 * time.Minute)
	}
	gone := c.book.Expire(c.now)
	left := slices.DeleteFunc(slices.Clone(c.list), func(k *Offer) bool { return !c.now.Before(k.Expires) })
	if len(gone) != len(c.list)-len(left) {
		t.Fatalf("seed %d: %d ended; want %d", c.seed, len(gone), len(c.list)-len(left))
	}
	c.list = left
}

// clause draws a clause as text and as plain Go.
func (c *crowd) clause() slowClause {
	numbers := []struct {
		name        string
		least, most uint64
		kind        kind
		of          func(*Offer) uint64
	}{
		{"vram", 1 << 33, 1 << 37, sized, func(o *Offer) uint64 { return o.MemoryBytes }},
		{"compute_cap", 10, 130, tenths, func(o *Offer) uint64 { return uint64(o.ComputeCap) }},
		{"count", 1, 64, counted, func(o *Offer) uint64 { return uint64(o.Count) }},
		{"free", 1, 64, counted, func(o *Offer) uint64 { return uint64(o.Free) }},
		{"price", 1000, 1_000_000, priced, func(o *Offer) uint64 { return o.PriceAtomsPerHour }},
		{"cpu", 500, 64_000, cored, func(o *Offer) uint64 { return uint64(o.CpuMilli) }},
		{"memory", 1 << 30, 1 << 40, sized, func(o *Offer) uint64 { return o.RamBytes }},
		{"disk", 1 << 30, maxBytes, sized, func(o *Offer) uint64 { return o.DiskBytes }},
		{"duration", 60_000, maxDurationMs, lasting, func(o *Offer) uint64 { return cmp.Or(o.MaxDurationMs, math.MaxUint64) }},
		{"evidence", 1, 3, ranked, func(o *Offer) uint64 { return max(uint64(o.Evidence), 1) }},
		{"score", 1, 1000, counted, func(o *Offer) uint64 { return uint64(min(crowdScore(o.Provider), 1000)) }},
	}
	no, not := c.IntN(4) == 0, ""
	if no {
		not = "!"
	}
	list := func(name string, words []string, has func(*Offer, string) bool) slowClause {
		return slowClause{name + not + "=" + strings.Join(words, ","), func(o *Offer) bool {
			return no != slices.ContainsFunc(words, func(w string) bool { return has(o, w) })
		}}
	}
	switch c.IntN(8) {
	case 0:
		return list("model", [][]string{{"CPU"}, {"A"}, {"A", "C3", "NONE"}}[c.IntN(3)], func(o *Offer, w string) bool { return o.Class == w })
	case 1:
		words := []string{cmp.Or(c.region(), "XX")}
		for c.IntN(2) == 0 {
			words = append(words, cmp.Or(c.region(), "EU"))
		}
		return list("region", words, func(o *Offer, w string) bool { return o.Region == w })
	case 2:
		return list("runner", [][]string{{"wasm"}, {"oci"}, {"gvisor", "wasm"}}[c.IntN(3)], func(o *Offer, w string) bool {
			return slices.ContainsFunc(o.Runners, func(r marketv1.Runner) bool { return RunnerName(r) == w })
		})
	default:
		n := numbers[c.IntN(len(numbers))]
		low := max(c.size(n.least, n.most), n.least)
		high := max(low, c.size(n.least, n.most))
		if n.name == "evidence" {
			low, high = min(low, 3), min(high, 3)
		}
		a, b := formatNumber(n.kind, low), formatNumber(n.kind, high)
		within := func(low, high uint64) func(*Offer) bool {
			return func(o *Offer) bool { v := n.of(o); return no != (v >= low && v <= high) }
		}
		return []slowClause{
			{n.name + not + "=" + a + "..", within(low, math.MaxUint64)},
			{n.name + not + "=.." + b, within(0, high)},
			{n.name + not + "=" + a + ".." + b, within(low, high)},
			{n.name + not + "=" + a, within(low, low)},
		}[c.IntN(4)]
	}
}

// compare asks the book and the list one question.
func (c *crowd) compare(t *testing.T) {
	var clauses []slowClause
	var parts []string
	for range c.IntN(5) {
		clauses = append(clauses, c.clause())
		parts = append(parts, clauses[len(clauses)-1].text)
	}
	order := c.IntN(4)
	parts = append(parts, []string{"", "order=price,-score", "order=-free,vram", "order=price,-duration"}[order])
	limit := []int{0, 1, 3, 16, 200}[c.IntN(5)]
	if limit > 0 {
		parts = append(parts, fmt.Sprint("limit=", limit))
	}
	text := strings.Join(parts, " ")
	q, err := ParseQuery(text)
	if err != nil {
		t.Fatalf("seed %d: %v", c.seed, err)
	}
	if c.IntN(2) == 0 {
		q.Usage = append(UsageOf(&marketv1.Resources{GpuCount: 1 + c.Uint32N(4)}, 1+c.Uint64N(7_200_000)), Quantity{payment.UnitRequest, c.Uint64N(1000)})
	}
	price := func(o *Offer) uint64 { return plainPrice(o, q.Usage) }
	var want []*Offer
	for _, o := range c.list {
		if c.now.Before(o.Expires) && !slices.ContainsFunc(clauses, func(k slowClause) bool { return !k.ok(o) }) {
			want = append(want, o)
		}
	}
	found := len(want)
	slices.SortFunc(want, func(x, y *Offer) int {
		first := 0
		switch order {
		case 2:
			first = cmp.Or(cmp.Compare(y.Free, x.Free), cmp.Compare(x.MemoryBytes, y.MemoryBytes))
		case 3:
			first = cmp.Or(cmp.Compare(price(x), price(y)), cmp.Compare(y.MaxDurationMs-1, x.MaxDurationMs-1)) // 0 is the longest
		}
		return cmp.Or(first, cmp.Compare(price(x), price(y)), cmp.Compare(min(crowdScore(y.Provider), 1000), min(crowdScore(x.Provider), 1000)),
			bytes.Compare(x.Provider[:], y.Provider[:]), strings.Compare(x.Class, y.Class))
	})
	if limit > 0 && len(want) > limit {
		want = want[:limit]
	}
	if got := c.book.Match(c.now, q); !slices.Equal(got, want) {
		t.Fatalf("seed %d: %s: found %d, the list has %d: %v, %v", c.seed, text, len(got), len(want), got, want)
	}
	if len(clauses) == 0 {
		return
	}
	if left := c.book.Explain(c.now, q)[len(clauses)-1].Left; left != found {
		t.Fatalf("seed %d: %s: %d left by the explanation, %d by the list", c.seed, text, left, found)
	}
}

// plainPrice is what one device costs for one hour with all that u expects beside
// its time, by the numbers of schoolbooks.
func plainPrice(o *Offer, u Usage) uint64 {
	more := new(big.Int)
	for _, l := range o.Tariff {
		if l.Unit != payment.UnitDeviceMs {
			n := new(big.Int).Mul(new(big.Int).SetUint64(u.Of(l.Unit)), new(big.Int).SetUint64(l.PriceAtoms))
			more.Add(more, n.Div(n, new(big.Int).SetUint64(l.Per)))
		}
	}
	if ms := new(big.Int).SetUint64(u.Of(payment.UnitDeviceMs)); ms.Sign() > 0 {
		more.Mul(more, big.NewInt(souk.MillisPerHour)).Add(more, ms).Sub(more, big.NewInt(1)).Div(more, ms)
	}
	return o.PriceAtomsPerHour + more.Uint64()
}

// structure checks what the segments promise each other.
func (c *crowd) structure(t *testing.T) {
	counted, taken := 0, 0
	for place, s := range c.book.list {
		if c.book.segments[s.class] != s || s.place != place || len(s.providers) == 0 || len(s.providers)+len(s.free) != len(s.lanes) {
			t.Fatalf("seed %d: segment %s is lost", c.seed, s.class)
		}
		live := intersect(make([]uint64, len(s.live)), [][]uint64{s.live}, make([]uint64, len(s.live)))
		counted += live
		taken += len(s.providers)
		for at := range s.heads {
			if o := s.heads[at].offer; (o != nil && o.metersMore()) != (s.metered[at/64]>>(at%64)&1 != 0) {
				t.Fatalf("seed %d: %s: lane %d prices more than device time, or not", c.seed, s.class, at)
			}
		}
		onPages, low := 0, uint64(0)
		for i, p := range s.pages {
			for k, at := range p.lanes[:p.n] {
				price, next := s.heads[at].price, uint64(math.MaxUint64)
				if i+1 < len(s.pages) {
					next = s.lows[i+1]
				}
				if s.lanes[at].page != p || int(s.lanes[at].at) != k || s.heads[at].offer.PriceAtomsPerHour != price || price < s.lows[i] || price > next {
					t.Fatalf("seed %d: %s: lane %d is on the wrong page", c.seed, s.class, at)
				}
			}
			if low > s.lows[i] || i > 0 && p.n+s.pages[i-1].n < smallPage {
				t.Fatalf("seed %d: %s: page %d of %d after one of %d", c.seed, s.class, i, p.n, s.pages[max(i, 1)-1].n)
			}
			onPages, low = onPages+p.n, s.lows[i]
		}
		if onPages != live {
			t.Fatalf("seed %d: %s: %d live offers, %d on pages", c.seed, s.class, live, onPages)
		}
	}
	if taken != c.book.taken {
		t.Fatalf("seed %d: %d lanes taken; the book counts %d", c.seed, taken, c.book.taken)
	}
	if counted != len(c.list) {
		t.Fatalf("seed %d: %d offers in segments; the list has %d", c.seed, counted, len(c.list))
	}
}
