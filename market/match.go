package market

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Match is the live offers that q accepts, in its order and up to its limit.
// Offers that are equal in that order come cheapest first, best score first,
// and then by provider and class, so that two nodes with the same offers list
// them alike.
func (b *Book) Match(now time.Time, q Query) []*Offer { return b.AppendMatch(nil, now, q) }

// AppendMatch is [Book.Match] that adds to offers. After some matches it
// allocates nothing where offers has room.
func (b *Book) AppendMatch(offers []*Offer, now time.Time, q Query) []*Offer {
	if q.Together > 0 {
		return b.appendTogether(offers, now, q)
	}
	m := &b.search
	m.begin(b, now, q)
	if words, ok := q.models(); ok {
		for _, w := range words {
			if s := b.segments[w]; s != nil {
				m.segment(s)
			}
		}
	} else {
		for _, s := range b.list {
			m.segment(s)
		}
	}
	slices.SortFunc(m.found, m.compare)
	for _, h := range m.found {
		offers = append(offers, h.offer)
	}
	m.end()
	return offers
}

// search is one match under way. The book keeps it for its space.
type search struct {
	book    *Book
	now     int64 // Unix milliseconds
	order   []SortKey
	limit   int
	usage   Usage
	byPrice bool   // whether the order starts with the lowest price
	highest uint64 // what costs more is not looked for
	steps   []step

	// The segment that is searched.
	sets  [][]uint64 // what each offer is in that the query accepts
	more  bool       // whether that is not all that its columns tell
	lanes []uint64   // where offers can be
	none  []uint64   // no lanes
	check []*Clause  // what the columns do not decide

	// What was found, and with a limit the best of it: a heap with the worst at
	// the top.
	found []hit
}

// step is a clause, and where a number's bounds lie in its columns.
type step struct {
	Clause
	low, high int  // buckets
	exact     bool // whether the bounds are those of the buckets
}

type hit struct {
	price uint64 // what one device costs for one hour, with all that is expected beside its time
	offer *Offer
	lane  *lane
}

func (m *search) begin(b *Book, now time.Time, q Query) {
	m.book, m.now, m.order, m.limit, m.usage = b, now.UnixMilli(), q.Order, q.Limit, q.Usage
	m.byPrice = len(q.Order) == 0 || q.Order[0].field.fact == ofPrice && !q.Order[0].Descending
	m.highest = math.MaxUint64
	m.sets = slices.Grow(m.sets[:0], len(q.Clauses)+6) // one a clause, and what intersect adds
	for _, c := range q.Clauses {
		s := step{Clause: c}
		switch f := c.field.fact; {
		case c.negate:
		case f == ofPrice:
			m.highest = min(m.highest, c.max)
			s.exact, s.high = c.min == 0, buckets-1 // the highest of all clauses does it
		case f < sizes:
			s.low, s.high = bucket(f, c.min), bucket(f, c.max)
			s.exact = edge(f, c.min) && (c.max == math.MaxUint64 || edge(f, c.max+1))
		}
		m.steps = append(m.steps, s)
	}
}

// end drops the references to what was searched, and keeps the space.
func (m *search) end() {
	clear(m.found)
	clear(m.steps)
	clear(m.sets)
	m.order, m.usage, m.steps, m.found = nil, nil, m.steps[:0], m.found[:0]
}

// models is what the first clause that names classes names.
func (q *Query) models() ([]string, bool) {
	for i := range q.Clauses {
		if c := &q.Clauses[i]; c.field.fact == ofClass && !c.negate {
			return c.words, true
		}
	}
	return nil, false
}

// segment looks for offers in s, in the lanes that its columns leave. A few lanes
// are all looked at; many are looked at by price, until the limit is full and
// the rest is dearer.
func (m *search) segment(s *segment) {
	n := m.narrow(s)
	if n == 0 {
		return
	}
	if !m.byPrice || m.limit == 0 || n*n < m.limit*len(s.lanes)/64 {
		for i, w := range m.lanes {
			for ; w != 0; w &= w - 1 {
				m.look(s, uint32(i*64+bits.TrailingZeros64(w)))
			}
		}
		return
	}
	for i, p := range s.pages {
		if s.lows[i] > m.highest {
			return
		}
		for _, at := range p.lanes[:p.n] {
			if m.lanes[at/64]>>(at%64)&1 != 0 {
				m.look(s, at)
			}
		}
	}
}

// narrow sets the lanes in which there can be offers that the query accepts,
// and counts them.
func (m *search) narrow(s *segment) int {
	c := &s.columns
	m.sets, m.check, m.more = m.sets[:0], m.check[:0], false
	for i := range m.steps {
		t := &m.steps[i]
		if f := t.field.fact; f == ofClass || f == ofSlice {
			word := s.class
			if f == ofSlice {
				word = s.slice
			}
			if slices.Contains(t.words, word) == t.negate {
				return 0
			}
		} else if !m.use(c, t) {
			m.check = append(m.check, &t.Clause)
		}
	}
	if len(m.sets) == 0 {
		m.sets = append(m.sets, s.live) // a lane that is in a column is live
	}
	for len(m.none) < len(s.live) {
		m.none = append(m.none, 0)
	}
	dearer := m.none
	if b := bucket(ofPrice, m.highest); c.width > 0 && b < buckets-1 {
		dearer = c.from(ofPrice, b+1)
	}
	m.lanes = slices.Grow(m.lanes[:0], len(s.live))[:len(s.live)]
	n := intersect(m.lanes, m.sets, dearer)
	if m.more && n > 0 {
		n = m.narrowMore(c)
	}
	return n
}

// use adds the column of a clause to the sets, and tells whether the columns
// decide it, so that no offer need be asked.
func (m *search) use(c *columns, t *step) bool {
	f := t.field.fact
	switch {
	case f == ofPrice && !t.negate:
		return t.exact
	case c.width == 0 || t.negate || f == ofEvidence || f == ofScore || f == ofProvider || f == ofExtension || f == ofSlice:
		return false
	case f < sizes:
		if t.low > 0 {
			m.sets = append(m.sets, c.from(f, t.low))
		}
		m.more = m.more || t.high < buckets-1
		return t.exact
	case len(t.words) == 1:
		set, alone := c.of(f, t.words[0])
		m.sets = append(m.sets, set)
		return alone
	}
	m.more = true
	for _, w := range t.words {
		if _, alone := c.of(f, w); !alone {
			return false
		}
	}
	return true
}

// narrowMore narrows the lanes by what is not one column: upper bounds, and lists
// of words.
func (m *search) narrowMore(c *columns) (n int) {
	for i := range m.steps {
		t := &m.steps[i]
		f := t.field.fact
		switch {
		case t.negate:
		case f < sizes && t.high < buckets-1:
			n = remove(m.lanes, c.from(f, t.high+1))
		case (f == ofRegion || f == ofRunner) && len(t.words) > 1:
			m.sets = m.sets[:0]
			for _, w := range t.words {
				set, _ := c.of(f, w)
				m.sets = append(m.sets, set)
			}
			n = keepAny(m.lanes, m.sets)
		}
	}
	return n
}

// look takes the offer of a lane if the query accepts it and it is good enough.
func (m *search) look(s *segment, at uint32) {
	t := &s.heads[at]
	if t.price > m.highest || t.ends <= m.now {
		return
	}
	h := hit{t.price, t.offer, &s.lanes[at]}
	if m.usage != nil && s.metered[at/64]>>(at%64)&1 != 0 {
		h.price = t.offer.effective(m.usage)
	}
	for _, c := range m.check {
		if !c.accepts(row{h.lane, h.offer, m.book}) {
			return
		}
	}
	switch {
	case m.limit == 0 || len(m.found) < m.limit:
		m.found = append(m.found, h)
		if len(m.found) == m.limit {
			for i := m.limit/2 - 1; i >= 0; i-- {
				m.sink(i)
			}
		}
	case m.compare(h, m.found[0]) < 0:
		m.found[0] = h
		m.sink(0)
	}
	if m.byPrice && len(m.found) == m.limit {
		m.highest = min(m.highest, m.found[0].price)
	}
}

// sink moves a hit down the heap until none below it is worse.
func (m *search) sink(i int) {
	for {
		worst := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.found); child++ {
			if m.compare(m.found[child], m.found[worst]) > 0 {
				worst = child
			}
		}
		if worst == i {
			return
		}
		m.found[i], m.found[worst] = m.found[worst], m.found[i]
		i = worst
	}
}

// compare orders hits as the query wants them. No two are equal.
func (m *search) compare(x, y hit) int {
	if m.byPrice && x.price != y.price {
		return cmp.Compare(x.price, y.price)
	}
	a, b := row{x.lane, x.offer, m.book}, row{y.lane, y.offer, m.book}
	for _, k := range m.order {
		c := cmp.Compare(a.numberOf(k.field.fact), b.numberOf(k.field.fact))
		if k.field.fact == ofPrice {
			c = cmp.Compare(x.price, y.price)
		}
		if k.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	if c := cmp.Or(cmp.Compare(x.price, y.price), cmp.Compare(b.numberOf(ofScore), a.numberOf(ofScore))); c != 0 {
		return c
	}
	return cmp.Or(bytes.Compare(a.offer.Provider[:], b.offer.Provider[:]), cmp.Compare(a.offer.Class, b.offer.Class))
}

// Removal is what one clause of a query takes away.
type Removal struct {
	Clause  string // in the query grammar
	Removed int    // offers that the clause alone removes from the whole book
	Left    int    // offers left after this clause and those before it
	Without int    // offers that would be left if only this clause were dropped
}

// Explain says what each clause of q removes from the live offers. The clause to
// give up first is the one with the largest Without. It asks every offer. What the
// offers of a provider must have together comes last, as a clause of its own.
func (b *Book) Explain(now time.Time, q Query) []Removal {
	out := make([]Removal, len(q.Clauses))
	for i, c := range q.Clauses {
		out[i].Clause = c.String()
	}
	for _, s := range b.list {
		for i := range s.lanes {
			if t := &s.heads[i]; t.ends > now.UnixMilli() {
				explain(out, q.Clauses, row{&s.lanes[i], t.offer, b})
			}
		}
	}
	if q.Together > 0 {
		out = b.explainTogether(now, q, out)
	}
	return out
}

// explain adds one offer to what is said of each clause.
func explain(out []Removal, clauses []Clause, r row) {
	failed, last := 0, 0
	for i := range clauses {
		if !clauses[i].accepts(r) {
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
