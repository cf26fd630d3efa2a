package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
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
// offers for some request. The figure is that of the slowest kind of request.
func matchOrder() bench {
	return bench{
		row:     "match one order in 100,000 offers",
		against: "bitmap AND over the same columns, p99",
		unit:    "µs, p99",
		goal:    "p99 ≤ 5 µs, 0 allocations",
		prepare: prepareMatch,
	}
}

// request is one query, kept so that both sides can be asked it.
type request struct {
	classes  []string // none: all but the processor
	vram     uint64   // GiB, at least
	price    uint64   // atoms, at most
	region   string
	duration time.Duration
}

func (r request) query() (market.Query, error) {
	model := "model=" + strings.Join(r.classes, ",")
	if len(r.classes) == 0 {
		model = "model!=" + market.CPUClass
	}
	return market.ParseQuery(fmt.Sprintf("%s vram>=%dGiB price<=%s region=%s runner=wasm duration>=%s limit=16",
		model, r.vram, souk.Atoms(r.price), r.region, r.duration))
}

// kinds of requests: what is asked for decides whether a match can stop early.
var kinds = []struct {
	name string
	make func(*rand.Rand) request
}{
	{"mixed", someRequest},
	{"common", func(random *rand.Rand) request { // some 2,000 offers meet it
		r := someRequest(random)
		r.classes, r.vram, r.price, r.duration = nil, 8, 1_900_000, 12*time.Hour
		return r
	}},
	{"rare", func(random *rand.Rand) request { // some ten do
		r := someRequest(random)
		r.classes, r.vram, r.price, r.duration = nil, 75, 40_000, 36*time.Hour
		return r
	}},
	{"none", func(random *rand.Rand) request { // no offer is in that region
		r := someRequest(random)
		r.classes, r.region = nil, "XX"
		return r
	}},
}

// columns are the bitmaps of the request's clauses over the offers.
func (r request) columns(c *columns) [][]uint64 {
	return [][]uint64{
		c.bitmap("model"+strings.Join(r.classes, ","), func(o *market.Offer) bool {
			return slices.Contains(r.classes, o.Class) || len(r.classes) == 0 && o.Class != market.CPUClass
		}),
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
	book, offers, room, err := fullBook(now)
	if err != nil {
		return nil, err
	}
	cols := &columns{offers, map[string][]uint64{}}
	random := rand.New(rand.NewPCG(2, 0))
	asked := make([]*questions, len(kinds))
	for i, k := range kinds {
		if asked[i], err = ask(book, cols, now, random, k.make); err != nil {
			return nil, err
		}
	}
	worst := func(sample func(*questions) float64) (float64, error) {
		slowest := 0.0
		for _, q := range asked {
			slowest = max(slowest, sample(q))
		}
		return slowest, nil
	}
	allocs := 0.0
	for _, q := range asked {
		allocs += testing.AllocsPerRun(len(q.queries)-1, q.match)
	}
	return &subject{
		ours:  func() (float64, error) { return worst((*questions).ours) },
		limit: func() (float64, error) { return worst((*questions).limit) },
		met:   func(ours, _ figure) bool { return ours.median <= 5 && allocs == 0 },
		note: func() string {
			note := fmt.Sprintf("%.1f allocations a match; %d bytes an offer beside the offer;", allocs, room)
			for i, q := range asked {
				note += fmt.Sprintf(" %s (%d found): %s, AND %s;", kinds[i].name, q.found/len(q.queries), number(middle(q.took[0]).median), number(middle(q.took[1]).median))
			}
			return note
		},
	}, nil
}

// questions are many of one kind, to the book and to the bitmaps.
type questions struct {
	book    *market.Book
	now     time.Time
	queries []market.Query
	bitmaps [][][]uint64
	found   int
	next    int
	offers  []*market.Offer
	took    [2][]float64 // by the book, by the bitmaps
}

func ask(book *market.Book, cols *columns, now time.Time, random *rand.Rand, one func(*rand.Rand) request) (*questions, error) {
	q := &questions{book: book, now: now, offers: make([]*market.Offer, 0, 16)}
	for range 400 {
		r := one(random)
		query, err := r.query()
		if err != nil {
			return nil, err
		}
		bitmaps := r.columns(cols)
		n := and(bitmaps)
		if got := len(book.Match(now, query)); got != min(16, n) {
			return nil, fmt.Errorf("%s: the book has %d, the bitmaps %d", query, got, n)
		}
		q.queries, q.bitmaps, q.found = append(q.queries, query), append(q.bitmaps, bitmaps), q.found+n
	}
	return q, nil
}

func (q *questions) match() {
	q.offers = q.book.AppendMatch(q.offers[:0], q.now, q.queries[q.next%len(q.queries)])
	q.next++
}

func (q *questions) ours() float64 {
	t := p99(len(q.queries), func(int) { q.match() })
	q.took[0] = append(q.took[0], t)
	return t
}

func (q *questions) limit() float64 {
	t := p99(len(q.bitmaps), func(i int) { and(q.bitmaps[i%len(q.bitmaps)]) })
	q.took[1] = append(q.took[1], t)
	return t
}

// and counts the rows that all six columns have. It reads every word, as a
// request that few offers meet makes it.
func and(columns [][]uint64) (n int) {
	a := columns[0]
	b, c, d, e, f := columns[1][:len(a)], columns[2][:len(a)], columns[3][:len(a)], columns[4][:len(a)], columns[5][:len(a)]
	for w := range a {
		n += bits.OnesCount64(a[w] & b[w] & c[w] & d[w] & e[w] & f[w])
	}
	return n
}

// p99 is the time in µs that one call in a hundred passes, of ten rounds of n.
func p99(n int, call func(int)) float64 {
	took := make([]time.Duration, 10*n)
	for i := range took {
		start := time.Now()
		call(i)
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return float64(took[len(took)*99/100].Nanoseconds()) / 1000
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
// not signed: what is measured comes after the signature is checked. The book
// takes room bytes for each, beside what the offer itself takes.
func fullBook(now time.Time) (book *market.Book, _ []*market.Offer, room uint64, _ error) {
	now = now.Truncate(time.Millisecond)
	random := rand.New(rand.NewPCG(1, 0))
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
	}
	before := heap()
	book = market.NewBook(market.Config{})
	for _, o := range offers {
		if _, err := book.Load(now, o); err != nil {
			return nil, nil, 0, err
		}
	}
	return book, offers, (heap() - before) / bookSize, nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
