package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

const bookSize = 100_000

// matchOrder measures the question a client asks before each order: the best 16
// offers for some request.
func matchOrder() bench {
	return bench{
		row:     "match one order in 100,000 offers",
		against: "bitmap AND over the same columns, p99",
		unit:    "µs, p99",
		goal:    "p99 ≤ 5 µs, 0 allocations",
		prepare: prepareMatch,
	}
}

// bookChange measures what gossip does to a book all day.
func bookChange() bench {
	return bench{
		row:     "book: price or capacity change",
		against: "map insert under the same key",
		unit:    "changes/s",
		goal:    "≥ 6 M/s; full multi-attribute upsert ≥ 2 M/s",
		prepare: prepareChange,
	}
}

// request is one query, kept so that both sides can be asked it.
type request struct {
	classes  []string
	vram     uint64 // GiB, at least
	price    uint64 // atoms, at most
	region   string
	duration time.Duration
}

func (r request) query() (market.Query, error) {
	return market.ParseQuery(fmt.Sprintf("model=%s vram>=%dGiB price<=%s region=%s runner=wasm duration>=%s limit=16",
		strings.Join(r.classes, ","), r.vram, souk.Atoms(r.price), r.region, r.duration))
}

// columns are the bitmaps of the request's clauses over the offers.
func (r request) columns(c *columns) [][]uint64 {
	return [][]uint64{
		c.bitmap("model"+strings.Join(r.classes, ","), func(o *market.Offer) bool { return slices.Contains(r.classes, o.Class) }),
		c.bitmap(fmt.Sprint("vram", r.vram), func(o *market.Offer) bool { return o.MemoryBytes >= r.vram<<30 }),
		c.bitmap(fmt.Sprint("price", r.price), func(o *market.Offer) bool { return o.PriceAtomsPerHour <= r.price }),
		c.bitmap("region"+r.region, func(o *market.Offer) bool { return o.Region == r.region }),
		c.bitmap("runner", func(o *market.Offer) bool { return slices.Contains(o.Runners, marketv1.Runner_RUNNER_WASM) }),
		c.bitmap(fmt.Sprint("duration", r.duration), func(o *market.Offer) bool { return o.MaxDurationMs >= uint64(r.duration.Milliseconds()) }),
	}
}

type columns struct {
	offers []*market.Offer
	made   map[string][]uint64
}

func (c *columns) bitmap(name string, accepts func(*market.Offer) bool) []uint64 {
	if b, ok := c.made[name]; ok {
		return b
	}
	b := make([]uint64, (len(c.offers)+63)/64)
	for i, o := range c.offers {
		if accepts(o) {
			b[i/64] |= 1 << (i % 64)
		}
	}
	c.made[name] = b
	return b
}

func prepareMatch(string) (*subject, error) {
	now := time.Now()
	book, offers, err := fullBook(now)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(offers, func(a, b *market.Offer) int { return int(a.PriceAtomsPerHour) - int(b.PriceAtomsPerHour) })
	cols := &columns{offers, map[string][]uint64{}}
	random := rand.New(rand.NewPCG(2, 0))
	queries := make([]market.Query, 400)
	bitmaps := make([][][]uint64, len(queries))
	for i := range queries {
		r := someRequest(random)
		if queries[i], err = r.query(); err != nil {
			return nil, err
		}
		bitmaps[i] = r.columns(cols)
		if got, want := len(book.Match(now, queries[i])), min(16, and(bitmaps[i])); got != want {
			return nil, fmt.Errorf("%s: the book has %d, the bitmaps %d", queries[i], got, want)
		}
	}
	i := 0
	allocs := testing.AllocsPerRun(len(queries)-1, func() { book.Match(now, queries[i%len(queries)]); i++ })
	return &subject{
		ours:  func() (float64, error) { return p99(len(queries), func(i int) { book.Match(now, queries[i]) }), nil },
		limit: func() (float64, error) { return p99(len(queries), func(i int) { and(bitmaps[i]) }), nil },
		met:   func(ours, _ figure) bool { return ours.median <= 5 && allocs == 0 },
		note: func() string {
			return fmt.Sprintf("%.1f allocations a match, over %d different requests", allocs, len(queries))
		},
	}, nil
}

// and counts the rows that all columns have. It reads every word, as a request
// that few offers meet makes it.
func and(columns [][]uint64) (n int) {
	first, rest := columns[0], columns[1:]
	for w, word := range first {
		for _, c := range rest {
			word &= c[w]
		}
		n += bits.OnesCount64(word)
	}
	return n
}

// p99 is the time in µs that one call in a hundred passes.
func p99(n int, call func(int)) float64 {
	took := make([]time.Duration, n)
	for i := range took {
		start := time.Now()
		call(i)
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return float64(took[n*99/100].Nanoseconds()) / 1000
}

// A traffic is what gossip brings to a book: newer offers of the same providers.
type traffic struct {
	now      time.Time
	book     *market.Book
	offers   []*market.Offer
	random   *rand.Rand
	sequence uint64
}

func prepareChange(string) (*subject, error) {
	now := time.Now()
	book, offers, err := fullBook(now)
	if err != nil {
		return nil, err
	}
	t := &traffic{now, book, offers, rand.New(rand.NewPCG(3, 0)), 1}
	type key struct {
		provider souk.NodeKey
		class    string
	}
	reference := make(map[key]*market.Offer, len(offers))
	var upserts []float64
	return &subject{
		ours: func() (float64, error) {
			r, err := t.load(t.newer(t.everything))
			if err != nil {
				return 0, err
			}
			upserts = append(upserts, r)
			return t.load(t.newer(t.price))
		},
		limit: func() (float64, error) {
			changed := t.newer(t.price)
			return rate(len(changed), func() error {
				for _, o := range changed {
					reference[key{o.Provider, o.Class}] = o
				}
				return nil
			})
		},
		met:  func(ours, _ figure) bool { return ours.median >= 6e6 && middle(upserts).median >= 2e6 },
		note: func() string { return fmt.Sprintf("full upsert %s/s", number(middle(upserts).median)) },
	}, nil
}

func (t *traffic) load(changed []*market.Offer) (float64, error) {
	return rate(len(changed), func() error {
		for _, o := range changed {
			if _, err := t.book.Load(t.now, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// newer makes offers that replace some of the book's; it is not timed.
func (t *traffic) newer(edit func(*marketv1.Offer)) []*market.Offer {
	t.sequence++
	changed := make([]*market.Offer, len(t.offers)/10)
	for i := range changed {
		old := t.offers[t.random.IntN(len(t.offers))]
		m := describe(old)
		m.Sequence = t.sequence*uint64(len(t.offers)) + uint64(i)
		edit(m)
		changed[i] = &market.Offer{Offer: m, Provider: old.Provider, Issued: old.Issued, Expires: old.Expires}
	}
	return changed
}

func (t *traffic) price(m *marketv1.Offer) {
	m.PriceAtomsPerHour, m.Free = uint64(t.random.IntN(2_000_000)), uint32(t.random.IntN(int(m.Count)+1))
}

func (t *traffic) everything(m *marketv1.Offer) {
	t.price(m)
	m.MemoryBytes, m.Region = uint64(1+t.random.IntN(80))<<30, regions()[t.random.IntN(len(regions()))]
	m.MaxDurationMs = uint64(t.random.Int64N(1 << 30))
}

func regions() []string { return []string{"EU", "US", "ASIA", "SA", "AF", "OC"} }

func classes() []string {
	return []string{"CPU", "RTX_3060", "RTX_3090", "RTX_4070", "RTX_4080", "RTX_4090", "RTX_5090", "L4", "L40S", "A10",
		"A40", "A100", "H100", "H200", "B200", "T4", "V100", "A6000", "A4000", "P100"}
}

func someRequest(random *rand.Rand) request {
	from := random.IntN(len(classes()) - 3)
	return request{
		classes:  classes()[from : from+1+random.IntN(3)],
		vram:     []uint64{8, 16, 24, 48, 80}[random.IntN(5)],
		price:    uint64(1+random.IntN(20)) * 100_000,
		region:   regions()[random.IntN(len(regions()))],
		duration: time.Duration(1+random.IntN(24)) * time.Hour,
	}
}

// fullBook is a book of as many providers with one offer each. The offers are
// not signed: what is measured comes after the signature is checked.
func fullBook(now time.Time) (*market.Book, []*market.Offer, error) {
	random := rand.New(rand.NewPCG(1, 0))
	book := market.NewBook(market.Config{})
	offers := make([]*market.Offer, bookSize)
	for i := range offers {
		var provider souk.NodeKey
		binary.LittleEndian.PutUint64(provider[:], random.Uint64())
		m := &marketv1.Offer{
			Class: classes()[random.IntN(len(classes()))], Epoch: 1, Sequence: 1,
			IssuedMs: now.UnixMilli(), ExpiresMs: now.Add(market.OfferLife).UnixMilli(),
			MemoryBytes: uint64(1+random.IntN(80)) << 30, Count: 8, Free: uint32(random.IntN(9)),
			PriceAtomsPerHour: uint64(random.IntN(2_000_000)), Region: regions()[random.IntN(len(regions()))],
			Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, Evidence: marketv1.Evidence_EVIDENCE_NONE,
			MaxDurationMs: uint64((time.Duration(1+random.IntN(48)) * time.Hour).Milliseconds()),
		}
		offers[i] = &market.Offer{Offer: m, Provider: provider, Issued: now, Expires: now.Add(market.OfferLife)}
		if _, err := book.Load(now, offers[i]); err != nil {
			return nil, nil, err
		}
	}
	return book, offers, nil
}

// describe copies what an offer says.
func describe(o *market.Offer) *marketv1.Offer {
	return &marketv1.Offer{Class: o.Class, Epoch: o.Epoch, IssuedMs: o.IssuedMs, ExpiresMs: o.ExpiresMs, MemoryBytes: o.MemoryBytes,
		Count: o.Count, Free: o.Free, PriceAtomsPerHour: o.PriceAtomsPerHour, Region: o.Region, Runners: o.Runners,
		Evidence: o.Evidence, MaxDurationMs: o.MaxDurationMs}
}
