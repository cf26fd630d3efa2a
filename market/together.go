package market

import (
	"fmt"
	"time"

	"github.com/souk-market/souk"
)

// appendTogether adds to offers those that the clauses of q accept and whose
// providers have as many devices free in them as q wants together, up to its limit.
func (b *Book) appendTogether(offers []*Offer, now time.Time, q Query) []*Offer {
	each, from := q, len(offers)
	each.Together, each.Limit = 0, 0
	offers = b.AppendMatch(offers, now, each)
	free := map[souk.NodeKey]uint64{}
	for _, o := range offers[from:] {
		free[o.Provider] += uint64(o.Free)
	}
	kept := offers[:from]
	for _, o := range offers[from:] {
		if free[o.Provider] >= uint64(q.Together) && (q.Limit == 0 || len(kept)-from < q.Limit) {
			kept = append(kept, o)
		}
	}
	clear(offers[len(kept):])
	return kept
}

// some counts offers of one provider, and the devices free in them.
type some struct {
	offers int
	free   uint64
}

func (s *some) add(o *Offer) { s.offers, s.free = s.offers+1, s.free+uint64(o.Free) }

// providerSome are the offers of one provider: all, those that every clause
// accepts, and for each clause those that all others accept.
type providerSome struct {
	all, accepted some
	without       []some
}

// explainTogether is [Book.Explain] of a query about what the offers of a provider
// have together. That is its last removal: it removes the offers of providers that
// have not enough.
func (b *Book) explainTogether(now time.Time, q Query, out []Removal) []Removal {
	providers := map[souk.NodeKey]*providerSome{}
	for _, s := range b.list {
		for i := range s.lanes {
			if t := &s.heads[i]; t.ends > now.UnixMilli() {
				p := providers[t.offer.Provider]
				if p == nil {
					p = &providerSome{without: make([]some, len(q.Clauses))}
					providers[t.offer.Provider] = p
				}
				p.add(q.Clauses, row{&s.lanes[i], t.offer, b})
			}
		}
	}
	last := Removal{Clause: q.togetherText()}
	for i := range out {
		out[i].Without = 0 // that of offers one by one
	}
	need := uint64(q.Together)
	for _, p := range providers {
		if p.all.free < need {
			last.Removed += p.all.offers
		}
		if p.accepted.free >= need {
			last.Left += p.accepted.offers
		}
		last.Without += p.accepted.offers
		for i, w := range p.without {
			if w.free >= need {
				out[i].Without += w.offers
			}
		}
	}
	return append(out, last)
}

// add counts an offer where it belongs.
func (p *providerSome) add(clauses []Clause, r row) {
	p.all.add(r.offer)
	failed, last := 0, 0
	for i := range clauses {
		if !clauses[i].accepts(r) {
			failed++
			last = i
		}
	}
	switch failed {
	case 0:
		p.accepted.add(r.offer)
		for i := range p.without {
			p.without[i].add(r.offer)
		}
	case 1:
		p.without[last].add(r.offer)
	}
}

func (q *Query) togetherText() string { return fmt.Sprintf("together=%d", q.Together) }
