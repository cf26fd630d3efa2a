package market

import (
	"cmp"
	"slices"
	"time"
)

// Match is the live offers that q accepts, in its order and up to its limit.
// Offers that are equal in that order come cheapest first, best score first.
func (b *Book) Match(now time.Time, q Query) []*Offer {
	var found []row
	for r := range b.rows(now) {
		if !q.accepts(r) {
			continue
		}
		found = append(found, r)
		// The book is walked by price: past the limit, only offers of the same
		// price can still come before those found.
		if n := len(found); q.byPriceFirst() && q.Limit > 0 && n > q.Limit &&
			r.PriceAtomsPerHour > found[q.Limit-1].PriceAtomsPerHour {
			break
		}
	}
	slices.SortStableFunc(found, q.compare)
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	offers := make([]*Offer, len(found))
	for i, r := range found {
		offers[i] = r.Offer
	}
	return offers
}

// rows yields the live offers by price.
func (b *Book) rows(now time.Time) func(func(row) bool) {
	return func(yield func(row) bool) {
		for _, slot := range b.byPrice {
			o := b.slots[slot]
			if now.Before(o.Expires) && !yield(row{o, b}) {
				return
			}
		}
	}
}

func (q *Query) accepts(r row) bool {
	for i := range q.Clauses {
		if !q.Clauses[i].accepts(r) {
			return false
		}
	}
	return true
}

func (q *Query) byPriceFirst() bool {
	return len(q.Order) == 0 || q.Order[0].field.name == "price" && !q.Order[0].Descending
}

func (q *Query) compare(x, y row) int {
	for _, k := range q.Order {
		c := cmp.Compare(k.field.number(x), k.field.number(y))
		if k.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(x.PriceAtomsPerHour, y.PriceAtomsPerHour), cmp.Compare(y.score(), x.score()))
}

// Removal is what one clause of a query takes away.
type Removal struct {
	Clause  string // in the query grammar
	Removed int    // offers that the clause alone removes from the whole book
	Left    int    // offers left after this clause and those before it
	Without int    // offers that would be left if only this clause were dropped
}

// Explain says what each clause of q removes from the live offers. The clause to
// give up first is the one with the largest Without.
func (b *Book) Explain(now time.Time, q Query) []Removal {
	out := make([]Removal, len(q.Clauses))
	for i, c := range q.Clauses {
		out[i].Clause = c.String()
	}
	for r := range b.rows(now) {
		failed, last := 0, 0
		for i := range q.Clauses {
			if !q.Clauses[i].accepts(r) {
				out[i].Removed++
				failed++
				last = i
			}
			if failed == 0 {
				out[i].Left++
			}
		}
		switch failed {
		case 0:
			for i := range out {
				out[i].Without++
			}
		case 1:
			out[last].Without++
		}
	}
	return out
}
