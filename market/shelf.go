package market

import (
	"cmp"
	"slices"
)

// fewOffers is how many offers of a class are looked at one by one: columns
// would take more room than they.
const fewOffers = 32

// shelf holds the live offers of one class. Each has a lane, which stands for
// it in every slice and as a bit in every bitmap of the shelf, from when it
// comes until it ends.
type shelf struct {
	class   string
	place   int // in the book's list of shelves
	lanes   []lane
	prices  []uint64
	ends    []int64  // Unix milliseconds; 0 where the lane is free
	free    []uint32 // lanes that nothing stands in
	live    []uint64 // lanes that something stands in
	columns columns  // none while there were few offers
	pages   []*page  // by price: no offer of a page costs more than one of the next
	lows    []uint64 // for each page, what its offers cost at least; the first is 0
}

// lane is an offer on a shelf. A free one is zero.
type lane struct {
	facts
	offer   *Offer
	page    *page
	at      uint32 // place in the page
	listing uint32
}

// page holds the lanes of offers of about one price, in no order.
type page struct {
	n     int
	lanes [pageSize]uint32
}

const (
	pageSize  = 64
	smallPage = pageSize / 4     // below this a page looks for a neighbour to join
	joinPages = 3 * pageSize / 4 // and joins one if together they are no more than this
)

// len counts the live offers.
func (s *shelf) len() int { return len(s.lanes) - len(s.free) }

// enter gives the offer of a listing a lane.
func (s *shelf) enter(listing uint32, o *Offer) uint32 {
	var at uint32
	if n := len(s.free); n > 0 {
		at, s.free = s.free[n-1], s.free[:n-1]
	} else {
		at = uint32(len(s.lanes))
		s.lanes, s.prices, s.ends = append(s.lanes, lane{}), append(s.prices, 0), append(s.ends, 0)
		if at%64 == 0 {
			s.live = append(s.live, 0)
		}
		s.fit()
	}
	s.lanes[at].listing = listing
	s.live[at/64] |= 1 << (at % 64)
	s.prices[at] = o.PriceAtomsPerHour
	s.stand(at)
	s.set(at, o)
	return at
}

// fit gives the shelf columns once they pay, and room in them for its lanes.
func (s *shelf) fit() {
	switch c := &s.columns; {
	case c.width > 0 && c.width < len(s.live):
		c.widen()
	case c.width == 0 && len(s.lanes) > fewOffers:
		*c = newColumns(len(s.live))
		for i := range s.lanes {
			if l := &s.lanes[i]; l.offer != nil {
				l.region = c.settle(l.offer.Region)
				c.change(uint32(i), new(facts), &l.facts)
			}
		}
	}
}

// set puts an offer in a lane that is taken.
func (s *shelf) set(at uint32, o *Offer) {
	l, f := &s.lanes[at], factsOf(o)
	if s.columns.width > 0 {
		f.region = s.columns.settle(o.Region)
		s.columns.change(at, &l.facts, &f)
	}
	if price := f.number[ofPrice]; s.prices[at] != price {
		s.unstand(at)
		s.prices[at] = price
		s.stand(at)
	}
	s.ends[at] = o.Expires.UnixMilli()
	l.facts, l.offer = f, o
}

// leave frees a lane.
func (s *shelf) leave(at uint32) {
	if s.columns.width > 0 {
		s.columns.change(at, &s.lanes[at].facts, new(facts))
	}
	s.unstand(at)
	s.live[at/64] &^= 1 << (at % 64)
	s.lanes[at], s.prices[at], s.ends[at] = lane{}, 0, 0
	s.free = append(s.free, at)
}

// pageOf is the last page whose offers cost price at least.
func (s *shelf) pageOf(price uint64) int {
	low, high := 0, len(s.lows) // the first costs 0 at least
	for high-low > 1 {
		if mid := int(uint(low+high) / 2); s.lows[mid] <= price {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// stand puts a lane on the page of its price.
func (s *shelf) stand(at uint32) {
	if len(s.pages) == 0 {
		s.pages, s.lows = append(s.pages, new(page)), append(s.lows, 0)
	}
	i := s.pageOf(s.prices[at])
	if s.pages[i].n == pageSize {
		s.split(i)
		i = s.pageOf(s.prices[at])
	}
	s.put(s.pages[i], at)
}

func (s *shelf) put(p *page, at uint32) {
	s.lanes[at].page, s.lanes[at].at = p, uint32(p.n)
	p.lanes[p.n] = at
	p.n++
}

// split moves the dearer half of a full page to a new one behind it.
func (s *shelf) split(i int) {
	p, dear := s.pages[i], new(page)
	slices.SortFunc(p.lanes[:], func(a, b uint32) int { return cmp.Compare(s.prices[a], s.prices[b]) })
	p.n = 0
	for k, at := range p.lanes {
		if k < pageSize/2 {
			s.put(p, at)
		} else {
			s.put(dear, at)
		}
	}
	s.pages = slices.Insert(s.pages, i+1, dear)
	s.lows = slices.Insert(s.lows, i+1, s.prices[dear.lanes[0]])
}

// unstand takes a lane off its page. A page that has become small joins a
// neighbour, so that two pages side by side hold that many offers at least.
func (s *shelf) unstand(at uint32) {
	p := s.lanes[at].page
	p.n--
	last := p.lanes[p.n]
	p.lanes[s.lanes[at].at] = last
	s.lanes[last].at = s.lanes[at].at
	if p.n >= smallPage {
		return
	}
	i := s.pageOf(s.prices[at])
	for s.pages[i] != p { // before it, if pages of one price follow each other
		i--
	}
	if i+1 < len(s.pages) {
		s.join(i)
	}
	if i > 0 {
		s.join(i - 1)
	}
}

// join moves the offers of page i+1 to page i if both are small.
func (s *shelf) join(i int) {
	p, next := s.pages[i], s.pages[i+1]
	if p.n+next.n > joinPages {
		return
	}
	for _, at := range next.lanes[:next.n] {
		s.put(p, at)
	}
	s.pages, s.lows = slices.Delete(s.pages, i+1, i+2), slices.Delete(s.lows, i+1, i+2)
}
