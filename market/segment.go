package market

import (
	"cmp"
	"slices"

	"github.com/souk-market/souk"
)

// fewOffers is how many offers of a class are looked at one by one: columns for so
// few would take more room than the offers.
const fewOffers = 32

// segment is the part of the book for one class. Each provider has a lane: an index
// into every slice and, while its offer is live, the place of a bit in the bitmaps.
type segment struct {
	class     string
	slice     string // of its devices, as queries write it
	place     int    // in the book's list of segments
	providers map[souk.NodeKey]uint32
	lanes     []lane
	heads     []head
	free      []uint32 // lanes that are nobody's
	live      []uint64 // lanes with a live offer
	metered   []uint64 // of these, those whose offer prices more than the time of its devices
	columns   columns  // none while there were few offers
	pages     []*page  // by price: no offer of a page costs more than one of the next
	lows      []uint64 // for each page, what its offers cost at least; the first is 0
}

// lane is the newest that is known of one provider and class, kept after its
// offer ended, for as long as an older one could still be taken for live.
type lane struct {
	epoch, sequence uint64
	page            *page  // nil once it ended
	forget          int64  // when, in Unix milliseconds, once it ended
	at              uint32 // place in the page
	revoked         bool   // whether there is a revocation of this provider
	facts
}

// head is what a match reads of a lane first. It is zero without a live offer.
type head struct {
	price uint64
	ends  int64 // Unix milliseconds
	offer *Offer
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

// open takes a lane for a provider that had none.
func (s *segment) open() (at uint32) {
	if n := len(s.free); n > 0 {
		at, s.free = s.free[n-1], s.free[:n-1]
		return at
	}
	at = uint32(len(s.lanes))
	s.lanes, s.heads = append(s.lanes, lane{}), append(s.heads, head{})
	if at%64 == 0 {
		s.live, s.metered = append(s.live, 0), append(s.metered, 0)
	}
	s.fit()
	return at
}

// close gives back a lane without an offer.
func (s *segment) close(at uint32) {
	s.lanes[at] = lane{}
	s.free = append(s.free, at)
}

// fit adds columns once there are more than fewOffers lanes, and widens them for new
// lanes.
func (s *segment) fit() {
	switch c := &s.columns; {
	case c.width > 0 && c.width < len(s.live):
		c.widen()
	case c.width == 0 && len(s.lanes) > fewOffers:
		*c = newColumns(len(s.live))
		for i := range s.lanes {
			if l := &s.lanes[i]; l.page != nil {
				l.region = c.addRegion(s.heads[i].offer.Region)
				c.change(uint32(i), new(facts), &l.facts)
			}
		}
	}
}

// set puts an offer in a lane, in the place of another or of none.
func (s *segment) set(at uint32, o *Offer) {
	l, f := &s.lanes[at], factsOf(o)
	if s.columns.width > 0 {
		f.region = s.columns.addRegion(o.Region)
		s.columns.change(at, &l.facts, &f)
	}
	s.heads[at] = head{o.PriceAtomsPerHour, o.Expires.UnixMilli(), o}
	s.metered[at/64] &^= 1 << (at % 64)
	if o.metersMore() {
		s.metered[at/64] |= 1 << (at % 64)
	}
	switch {
	case l.page == nil:
		s.live[at/64] |= 1 << (at % 64)
		s.addToPage(at)
	case l.number[ofPrice] != f.number[ofPrice]:
		s.removeFromPage(at, l.number[ofPrice])
		s.addToPage(at)
	}
	l.epoch, l.sequence, l.facts = o.Epoch, o.Sequence, f
}

// unset takes the offer out of a lane.
func (s *segment) unset(at uint32) {
	l := &s.lanes[at]
	if s.columns.width > 0 {
		s.columns.change(at, &l.facts, new(facts))
	}
	s.removeFromPage(at, l.number[ofPrice])
	s.live[at/64] &^= 1 << (at % 64)
	s.metered[at/64] &^= 1 << (at % 64)
	s.heads[at], l.page, l.facts = head{}, nil, facts{}
}

// compact shrinks a segment that had many more lanes to the room that those left need.
func (s *segment) compact() {
	old := *s
	*s = segment{class: old.class, slice: old.slice, place: old.place, providers: old.providers}
	for k, from := range old.providers {
		at, l := s.open(), &old.lanes[from]
		s.providers[k] = at
		s.lanes[at].epoch, s.lanes[at].sequence = l.epoch, l.sequence
		s.lanes[at].forget, s.lanes[at].revoked = l.forget, l.revoked
		if o := old.heads[from].offer; o != nil {
			s.set(at, o)
		}
	}
}

// pageOf is the last page whose offers cost price at least.
func (s *segment) pageOf(price uint64) int {
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

// addToPage puts a lane on the page of its price.
func (s *segment) addToPage(at uint32) {
	if len(s.pages) == 0 {
		s.pages, s.lows = append(s.pages, new(page)), append(s.lows, 0)
	}
	i := s.pageOf(s.heads[at].price)
	if s.pages[i].n == pageSize {
		s.split(i)
		i = s.pageOf(s.heads[at].price)
	}
	s.put(s.pages[i], at)
}

func (s *segment) put(p *page, at uint32) {
	s.lanes[at].page, s.lanes[at].at = p, uint32(p.n)
	p.lanes[p.n] = at
	p.n++
}

// split moves the dearer half of a full page to a new one behind it.
func (s *segment) split(i int) {
	p, dear := s.pages[i], new(page)
	slices.SortFunc(p.lanes[:], func(a, b uint32) int { return cmp.Compare(s.heads[a].price, s.heads[b].price) })
	p.n = 0
	for k, at := range p.lanes {
		if k < pageSize/2 {
			s.put(p, at)
		} else {
			s.put(dear, at)
		}
	}
	s.pages = slices.Insert(s.pages, i+1, dear)
	s.lows = slices.Insert(s.lows, i+1, s.heads[dear.lanes[0]].price)
}

// removeFromPage takes a lane off the page on which it is for price. A page that
// becomes small is joined with a neighbour, so that two pages side by side hold at
// least smallPage offers.
func (s *segment) removeFromPage(at uint32, price uint64) {
	p := s.lanes[at].page
	p.n--
	last := p.lanes[p.n]
	p.lanes[s.lanes[at].at] = last
	s.lanes[last].at = s.lanes[at].at
	if p.n >= smallPage {
		return
	}
	i := s.pageOf(price)
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
func (s *segment) join(i int) {
	p, next := s.pages[i], s.pages[i+1]
	if p.n+next.n > joinPages {
		return
	}
	for _, at := range next.lanes[:next.n] {
		s.put(p, at)
	}
	s.pages, s.lows = slices.Delete(s.pages, i+1, i+2), slices.Delete(s.lows, i+1, i+2)
}
