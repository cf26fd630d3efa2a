package main

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

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

// A traffic is what gossip brings to a book: newer offers of the same providers.
type traffic struct {
	now       time.Time
	book      *market.Book
	offers    []*market.Offer
	reference map[offerKey]*market.Offer // the limit
	random    *rand.Rand
	sequence  uint64
}

type offerKey struct {
	provider souk.NodeKey
	class    string
}

func prepareChange(string) (*subject, error) {
	now := time.Now().Truncate(time.Millisecond)
	book, offers, _, err := fullBook(now)
	if err != nil {
		return nil, err
	}
	t := &traffic{now, book, offers, map[offerKey]*market.Offer{}, rand.New(rand.NewPCG(3, 0)), 1}
	for _, o := range offers {
		t.reference[offerKey{o.Provider, o.Class}] = o
	}
	var capacity, upserts, sweeps, opened []float64
	others := []struct {
		samples *[]float64
		take    func() (float64, error)
	}{
		{&capacity, func() (float64, error) { return t.rate(t.capacity, t.load) }},
		{&upserts, func() (float64, error) { return t.rate(t.everything, t.load) }},
		{&sweeps, t.sweep},
		{&opened, t.open},
	}
	return &subject{
		ours: func() (float64, error) {
			for _, o := range others {
				f, err := o.take()
				if err != nil {
					return 0, err
				}
				*o.samples = append(*o.samples, f)
			}
			return t.rate(t.price, t.load)
		},
		limit: func() (float64, error) { return t.rate(t.price, t.insert) },
		met:   func(ours, _ figure) bool { return ours.median >= 6e6 && middle(upserts).median >= 2e6 },
		note: func() string {
			return fmt.Sprintf("of new prices, anywhere in the range; new capacity %s/s; full upsert %s/s; a sweep in which nothing ends %s µs; to check and decode an envelope, in none of these, %s µs",
				number(middle(capacity).median), number(middle(upserts).median), number(middle(sweeps).median), number(middle(opened).median))
		},
	}, nil
}

// rate brings thousands of newer offers into the book, a thousand made at a
// time, so that they are in the processor's cache as offers just opened are.
func (t *traffic) rate(edit func(*marketv1.Offer), bring func([]*market.Offer) error) (float64, error) {
	const rounds, each = 20, 1000
	var took time.Duration
	for range rounds {
		changed := t.newer(each, edit)
		start := time.Now()
		if err := bring(changed); err != nil {
			return 0, err
		}
		took += time.Since(start)
	}
	return rounds * each / took.Seconds(), nil
}

func (t *traffic) load(changed []*market.Offer) error {
	for _, o := range changed {
		if _, err := t.book.Load(t.now, o); err != nil {
			return err
		}
	}
	return nil
}

func (t *traffic) insert(changed []*market.Offer) error {
	for _, o := range changed {
		t.reference[offerKey{o.Provider, o.Class}] = o
	}
	return nil
}

// sweep is what the book does each second, in µs.
func (t *traffic) sweep() (float64, error) {
	start := time.Now()
	if gone := t.book.Expire(t.now); len(gone) > 0 {
		return 0, fmt.Errorf("%d offers ended", len(gone))
	}
	return float64(time.Since(start).Nanoseconds()) / 1000, nil
}

// open is what each envelope costs before the book sees it, in µs.
func (t *traffic) open() (float64, error) {
	const n = 200
	m := describe(t.offers[0])
	m.Model = m.Class
	payload, err := proto.Marshal(m)
	if err != nil {
		return 0, err
	}
	envelope := wire.Seal(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), souk.DomainOffer, payload)
	start := time.Now()
	for range n {
		if _, err := market.OpenOffer(envelope, t.now); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / 1000 / n, nil
}

// newer makes offers that replace some of the book's.
func (t *traffic) newer(n int, edit func(*marketv1.Offer)) []*market.Offer {
	changed := make([]*market.Offer, n)
	for i := range changed {
		old := &t.offers[t.random.IntN(len(t.offers))]
		t.sequence++
		m := describe(*old)
		m.Sequence = t.sequence
		edit(m)
		changed[i] = &market.Offer{Offer: m, Provider: (*old).Provider, Issued: (*old).Issued, Expires: (*old).Expires}
		*old = changed[i]
	}
	return changed
}

func (t *traffic) price(m *marketv1.Offer) { m.PriceAtomsPerHour = uint64(t.random.IntN(2_000_000)) }

func (t *traffic) capacity(m *marketv1.Offer) { m.Free = uint32(t.random.IntN(int(m.Count) + 1)) }

func (t *traffic) everything(m *marketv1.Offer) {
	t.price(m)
	t.capacity(m)
	m.MemoryBytes, m.Region = uint64(1+t.random.IntN(80))<<30, regions()[t.random.IntN(len(regions()))]
	m.MaxDurationMs = uint64((time.Duration(1+t.random.IntN(48)) * time.Hour).Milliseconds())
}

// describe copies what an offer says.
func describe(o *market.Offer) *marketv1.Offer {
	return &marketv1.Offer{Class: o.Class, Epoch: o.Epoch, IssuedMs: o.IssuedMs, ExpiresMs: o.ExpiresMs, MemoryBytes: o.MemoryBytes,
		Count: o.Count, Free: o.Free, PriceAtomsPerHour: o.PriceAtomsPerHour, Region: o.Region, Runners: o.Runners,
		Evidence: o.Evidence, MaxDurationMs: o.MaxDurationMs}
}
