package market

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/souk-market/souk"
)

// Config holds what a [Book] needs. A zero field takes its default.
type Config struct {
	MaxOffers      int                       // default 131072
	MaxPerProvider int                       // device classes of one provider; default 16
	Name           func(souk.NodeKey) string // how people write a key; default hex
	Score          func(souk.NodeKey) uint32 // reputation, 0 to 1000; default 0
	Every          time.Duration             // pause between offers of one provider; default [OfferEvery]
	Burst          int                       // offers of one provider at once; default [OfferBurst]
}

// Book keeps the newest live offer of each provider and class. It is not safe
// for concurrent use, not even to read: a match uses scratch space.
//
// What is known of a provider and class is a [listing]; the live offers of a
// class stand on a [shelf], which is what a match searches.
type Book struct {
	cfg       Config
	listings  []listing // the first stands for none
	spare     uint32    // the first listing not in use
	seen      int       // listings in use
	providers map[souk.NodeKey]provider
	fading    map[souk.NodeKey]struct{} // providers of which something is to be forgotten
	shelves   map[string]*shelf         // those with offers
	list      []*shelf                  // the same
	limiter   *Limiter
	rejects   map[Reason]uint64
	search    search
}

// provider is what the book remembers of one signer.
type provider struct {
	revoked *Revocation // the newest; nil without one
	first   uint32      // listing; 0 without one
	classes int32       // how many listings follow each other from the first
}

// listing is the newest that is known of one provider and class, kept after
// its offer ended, for as long as an older one could still be taken for live.
type listing struct {
	class           string
	epoch, sequence uint64
	forget          time.Time // once its offer ended
	shelf           *shelf    // that its offer stands on; nil once it ended
	lane            uint32
	next            uint32 // of the same provider, or spare; 0 for none
}

// Outcome is what an accepted offer did to the book.
type Outcome uint8

// The outcomes of [Book.Put]. The zero one comes with an error.
const (
	Refused Outcome = iota
	Added
	Replaced
)

// NewBook returns an empty book.
func NewBook(cfg Config) *Book {
	cfg.MaxOffers = cmp.Or(cfg.MaxOffers, 1<<17)
	cfg.MaxPerProvider = cmp.Or(cfg.MaxPerProvider, 16)
	cfg.Every = cmp.Or(cfg.Every, OfferEvery)
	cfg.Burst = cmp.Or(cfg.Burst, OfferBurst)
	if cfg.Name == nil {
		cfg.Name = souk.NodeKey.String
	}
	if cfg.Score == nil {
		cfg.Score = func(souk.NodeKey) uint32 { return 0 }
	}
	return &Book{cfg: cfg, listings: make([]listing, 1), providers: map[souk.NodeKey]provider{}, fading: map[souk.NodeKey]struct{}{},
		shelves: map[string]*shelf{}, limiter: NewLimiter(cfg.Every, cfg.Burst, cfg.MaxOffers), rejects: map[Reason]uint64{}}
}

// Put takes an offer from gossip. The error is a *[RejectError], and counted.
func (b *Book) Put(now time.Time, o *Offer) (Outcome, error) { return b.take(now, o, true) }

// Load takes an offer that this node asked a peer for, with the rest of that
// peer's book: it does not count against its provider's rate.
func (b *Book) Load(now time.Time, o *Offer) (Outcome, error) { return b.take(now, o, false) }

func (b *Book) take(now time.Time, o *Offer, limited bool) (Outcome, error) {
	p := b.providers[o.Provider]
	at := b.find(p, o.Class)
	if e := b.judge(now, o, p, at, limited); e != nil {
		b.rejects[e.Reason]++
		return Refused, e
	}
	if at == 0 {
		at = b.remember(o.Provider, p, o.Class)
	}
	l := &b.listings[at]
	l.epoch, l.sequence = o.Epoch, o.Sequence
	if l.shelf != nil {
		l.shelf.set(l.lane, o)
		return Replaced, nil
	}
	b.shelve(at, o)
	return Added, nil
}

// find is the listing of a provider's class, 0 if there is none.
func (b *Book) find(p provider, class string) uint32 {
	at := p.first
	for at != 0 && b.listings[at].class != class {
		at = b.listings[at].next
	}
	return at
}

// judge says why o, of provider p and listing at, cannot enter. A refused offer
// leaves no trace but its count, and the provider's token is taken last, by an
// offer that enters.
func (b *Book) judge(now time.Time, o *Offer, p provider, at uint32, limited bool) *RejectError {
	if !now.Before(o.Expires) {
		return reject(Expired, "%s ago", now.Sub(o.Expires))
	}
	if p.revoked != nil && !newer(o.Epoch, o.Sequence, p.revoked.Epoch, p.revoked.Sequence) {
		return reject(Revoked, "up to %d/%d", p.revoked.Epoch, p.revoked.Sequence)
	}
	l := &b.listings[at]
	switch {
	case at != 0 && l.epoch == o.Epoch && l.sequence == o.Sequence:
		return reject(Duplicate, "%d/%d", o.Epoch, o.Sequence)
	case at != 0 && !newer(o.Epoch, o.Sequence, l.epoch, l.sequence):
		return reject(Stale, "%d/%d is known", l.epoch, l.sequence)
	case at == 0 && int(p.classes) >= b.cfg.MaxPerProvider:
		return reject(Full, "%d classes of this provider", p.classes)
	case at == 0 && b.seen >= b.cfg.MaxOffers:
		return reject(Full, "%d offers", b.seen)
	}
	if limited {
		if wait := b.limiter.Allow(now, o.Provider); wait > 0 {
			return reject(Rate, "again in %s", wait)
		}
	}
	return nil
}

// Seen tells whether (epoch, sequence) of this provider and class, or one after
// it, is known or was revoked: such an offer is not worth checking or passing on.
func (b *Book) Seen(k souk.NodeKey, class string, epoch, sequence uint64) bool {
	p := b.providers[k]
	if p.revoked != nil && !newer(epoch, sequence, p.revoked.Epoch, p.revoked.Sequence) {
		return true
	}
	at := b.find(p, class)
	return at != 0 && !newer(epoch, sequence, b.listings[at].epoch, b.listings[at].sequence)
}

// Revoke ends the offers that a revocation names, and keeps older ones from
// coming back. It returns those that ended. A revocation that changes nothing
// is refused as a duplicate or stale.
func (b *Book) Revoke(now time.Time, r *Revocation) ([]*Offer, error) {
	if e := b.judgeRevocation(now, r); e != nil {
		b.rejects[e.Reason]++
		return nil, e
	}
	p := b.providers[r.Provider]
	p.revoked = r
	b.providers[r.Provider] = p
	b.fading[r.Provider] = struct{}{}
	var ended []*Offer
	for at := p.first; at != 0; at = b.listings[at].next {
		if l := &b.listings[at]; l.shelf != nil && !newer(l.epoch, l.sequence, r.Epoch, r.Sequence) {
			ended = append(ended, b.end(l))
		}
	}
	slices.SortFunc(ended, func(x, y *Offer) int { return cmp.Compare(x.Class, y.Class) })
	return ended, nil
}

func (b *Book) judgeRevocation(now time.Time, r *Revocation) *RejectError {
	p, known := b.providers[r.Provider]
	switch {
	case now.Sub(r.Issued) > OfferLife+Skew:
		return reject(Expired, "issued %s ago", now.Sub(r.Issued))
	case !known && len(b.providers) >= b.cfg.MaxOffers:
		return reject(Full, "%d providers", len(b.providers))
	case p.revoked == nil || newer(r.Epoch, r.Sequence, p.revoked.Epoch, p.revoked.Sequence):
		return nil
	case r.Epoch == p.revoked.Epoch && r.Sequence == p.revoked.Sequence:
		return reject(Duplicate, "%d/%d", r.Epoch, r.Sequence)
	default:
		return reject(Stale, "%d/%d is known", p.revoked.Epoch, p.revoked.Sequence)
	}
}

// Expire ends the offers whose time is over and returns them, and forgets what
// cannot matter any more. It reads the end of every offer, but no more of those
// that stay.
func (b *Book) Expire(now time.Time) []*Offer {
	var gone []*Offer
	for i := len(b.list) - 1; i >= 0; i-- { // a shelf that empties gives its place to a later one
		s := b.list[i]
		for at, end := range s.ends {
			if end != 0 && end <= now.UnixMilli() {
				gone = append(gone, b.end(&b.listings[s.lanes[at].listing]))
			}
		}
	}
	for _, s := range b.list {
		if len(s.lanes) > 2*fewOffers && s.len() < len(s.lanes)/4 {
			b.compact(s)
		}
	}
	for k := range b.fading {
		b.fade(now, k)
	}
	b.limiter.Forget(now)
	slices.SortFunc(gone, func(x, y *Offer) int {
		return cmp.Or(x.Expires.Compare(y.Expires), bytes.Compare(x.Provider[:], y.Provider[:]), cmp.Compare(x.Class, y.Class))
	})
	return gone
}

// Offers is every live offer, cheapest first.
func (b *Book) Offers(now time.Time) []*Offer { return b.Match(now, Query{}) }

// Len counts the live offers.
func (b *Book) Len(now time.Time) (n int) {
	for _, s := range b.list {
		for _, end := range s.ends {
			if end > now.UnixMilli() {
				n++
			}
		}
	}
	return n
}

// Rejects is how often the book refused, by reason. What [OpenOffer] and
// [OpenRevocation] refused never reached it.
func (b *Book) Rejects() map[Reason]uint64 { return maps.Clone(b.rejects) }

// Score is the reputation of a provider, 0 to 1000.
func (b *Book) Score(k souk.NodeKey) uint32 { return min(b.cfg.Score(k), 1000) }

// remember begins the listing of a provider's class.
func (b *Book) remember(k souk.NodeKey, p provider, class string) uint32 {
	at := b.spare
	if at != 0 {
		b.spare = b.listings[at].next
	} else {
		at = uint32(len(b.listings))
		b.listings = append(b.listings, listing{})
	}
	b.listings[at] = listing{class: class, next: p.first}
	p.first = at
	p.classes++
	b.providers[k] = p
	b.seen++
	return at
}

// shelve puts an offer on the shelf of its class, for its listing.
func (b *Book) shelve(at uint32, o *Offer) {
	l := &b.listings[at]
	s := b.shelves[l.class]
	if s == nil {
		s = &shelf{class: l.class, place: len(b.list)}
		b.shelves[s.class] = s
		b.list = append(b.list, s)
	}
	l.shelf, l.lane = s, s.enter(at, o)
}

// end takes the offer of a listing off its shelf, and returns it.
func (b *Book) end(l *listing) *Offer {
	s := l.shelf
	o := s.lanes[l.lane].offer
	s.leave(l.lane)
	if s.len() == 0 {
		last := b.list[len(b.list)-1]
		b.list[s.place], last.place = last, s.place
		b.list = slices.Delete(b.list, len(b.list)-1, len(b.list))
		delete(b.shelves, s.class)
	}
	l.shelf, l.forget = nil, o.Issued.Add(OfferLife+Skew)
	b.fading[o.Provider] = struct{}{}
	return o
}

// compact gives a shelf that was much fuller the room that its offers need.
func (b *Book) compact(old *shelf) {
	s := &shelf{class: old.class, place: old.place}
	b.list[s.place], b.shelves[s.class] = s, s
	for i := range old.lanes {
		if at := &old.lanes[i]; at.offer != nil {
			b.shelve(at.listing, at.offer)
		}
	}
}

// fade forgets what is known of k and cannot matter any more.
func (b *Book) fade(now time.Time, k souk.NodeKey) {
	p, more := b.providers[k], false
	for link := &p.first; *link != 0; {
		at := *link
		switch l := &b.listings[at]; {
		case l.shelf == nil && now.After(l.forget):
			*link = l.next
			*l = listing{next: b.spare}
			b.spare = at
			p.classes--
			b.seen--
			continue
		case l.shelf == nil:
			more = true
		}
		link = &b.listings[at].next
	}
	if p.revoked != nil && now.Sub(p.revoked.Issued) > OfferLife+Skew {
		p.revoked = nil
	}
	if p.first == 0 && p.revoked == nil {
		delete(b.providers, k)
	} else {
		b.providers[k] = p
	}
	if !more && p.revoked == nil {
		delete(b.fading, k)
	}
}
