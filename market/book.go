package market

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Config holds what a [Book] needs. A zero field takes its default.
type Config struct {
	MaxOffers      int                       // default 131072
	MaxPerProvider int                       // device classes of one provider; default 16
	Name           func(souk.NodeKey) string // how people write a key; default hex
	Score          func(souk.NodeKey) uint32 // reputation, 0 to 1000; default 0
	Evidence       Evidence                  // default: what the offer says of itself
	Every          time.Duration             // pause between offers of one provider; default [OfferEvery]
	Burst          int                       // offers of one provider at once; default [OfferBurst]
}

// Evidence says how well the devices of an offer are proved to this node. What an
// offer says of itself is a claim, as keys are free.
type Evidence func(*Offer) marketv1.Evidence

// Book keeps the newest live offer of each provider and class. It is not safe
// for concurrent use, not even to read: a match uses scratch space.
//
// What is known of a provider and class is a [lane] of the [segment] of the class,
// which is also what a match searches.
type Book struct {
	cfg       Config
	segments  map[string]*segment
	list      []*segment // the same, without order
	taken     int        // lanes in all of them
	providers map[souk.NodeKey]*provider
	fading    map[souk.NodeKey]struct{} // providers of which something is to be forgotten
	limiter   *Limiter
	rejects   map[Reason]uint64
	search    search
}

// provider is what the book remembers of one signer.
type provider struct {
	revoked  *Revocation // the newest; nil without one
	segments []*segment  // where it has lanes
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
	if cfg.Evidence == nil {
		cfg.Evidence = func(o *Offer) marketv1.Evidence { return o.Offer.Evidence }
	}
	return &Book{cfg: cfg, segments: map[string]*segment{}, providers: map[souk.NodeKey]*provider{}, fading: map[souk.NodeKey]struct{}{},
		limiter: NewLimiter(cfg.Every, cfg.Burst, cfg.MaxOffers), rejects: map[Reason]uint64{}}
}

// Put takes an offer from gossip. The error is a *[RejectError], and counted.
func (b *Book) Put(now time.Time, o *Offer) (Outcome, error) { return b.take(now, o, true) }

// Load takes an offer that this node asked a peer for, with the rest of that
// peer's book: it does not count against its provider's rate.
func (b *Book) Load(now time.Time, o *Offer) (Outcome, error) { return b.take(now, o, false) }

func (b *Book) take(now time.Time, o *Offer, limited bool) (Outcome, error) {
	s, at, known := b.find(o.Provider, o.Class)
	var l *lane
	if known {
		l = &s.lanes[at]
	}
	if e := b.judge(now, o, l, limited); e != nil {
		b.rejects[e.Reason]++
		return Refused, e
	}
	outcome := Replaced
	if !known {
		s, at = b.remember(o.Provider, o.Class)
	}
	if s.heads[at].offer == nil {
		outcome = Added
	}
	s.set(at, o)
	return outcome, nil
}

// find is the lane of a provider's class, if one is known.
func (b *Book) find(k souk.NodeKey, class string) (s *segment, at uint32, known bool) {
	if s = b.segments[class]; s == nil {
		return nil, 0, false
	}
	at, known = s.providers[k]
	return s, at, known
}

// judge says why o, whose lane is l or nil, cannot enter. A refused offer changes
// nothing but the count of refusals. The provider's token is taken last, so that only
// an offer that enters costs one.
func (b *Book) judge(now time.Time, o *Offer, l *lane, limited bool) *RejectError {
	if !now.Before(o.Expires) {
		return reject(Expired, "%s ago", now.Sub(o.Expires))
	}
	if l == nil || l.revoked {
		if e := b.judgeProvider(o, l == nil); e != nil {
			return e
		}
	}
	switch {
	case l != nil && l.epoch == o.Epoch && l.sequence == o.Sequence:
		return reject(Duplicate, "%d/%d", o.Epoch, o.Sequence)
	case l != nil && !newer(o.Epoch, o.Sequence, l.epoch, l.sequence):
		return reject(Stale, "%d/%d is known", l.epoch, l.sequence)
	}
	if limited {
		if wait := b.limiter.Allow(now, o.Provider); wait > 0 {
			return reject(Rate, "again in %s", wait)
		}
	}
	return nil
}

// judgeProvider says why o cannot enter because of what else is known of its
// provider, and of how much there is, if it needs a new lane.
func (b *Book) judgeProvider(o *Offer, fresh bool) *RejectError {
	p := b.providers[o.Provider]
	switch {
	case p != nil && p.revoked != nil && !newer(o.Epoch, o.Sequence, p.revoked.Epoch, p.revoked.Sequence):
		return reject(Revoked, "up to %d/%d", p.revoked.Epoch, p.revoked.Sequence)
	case fresh && p != nil && len(p.segments) >= b.cfg.MaxPerProvider:
		return reject(Full, "%d classes of this provider", len(p.segments))
	case fresh && b.taken >= b.cfg.MaxOffers:
		return reject(Full, "%d offers", b.taken)
	}
	return nil
}

// Seen tells whether (epoch, sequence) of this provider and class, or one after
// it, is known or was revoked: such an offer is not worth checking or passing on.
func (b *Book) Seen(k souk.NodeKey, class string, epoch, sequence uint64) bool {
	if p := b.providers[k]; p != nil && p.revoked != nil && !newer(epoch, sequence, p.revoked.Epoch, p.revoked.Sequence) {
		return true
	}
	s, at, known := b.find(k, class)
	return known && !newer(epoch, sequence, s.lanes[at].epoch, s.lanes[at].sequence)
}

// Revoke ends the offers that a revocation names, and keeps older ones from
// coming back. It returns those that ended. A revocation that changes nothing
// is refused as a duplicate or stale.
func (b *Book) Revoke(now time.Time, r *Revocation) ([]*Offer, error) {
	if e := b.judgeRevocation(now, r); e != nil {
		b.rejects[e.Reason]++
		return nil, e
	}
	p := b.provider(r.Provider)
	p.revoked = r
	b.fading[r.Provider] = struct{}{}
	var ended []*Offer
	for _, s := range p.segments {
		at := s.providers[r.Provider]
		l := &s.lanes[at]
		l.revoked = true
		if l.page != nil && !newer(l.epoch, l.sequence, r.Epoch, r.Sequence) {
			ended = append(ended, b.end(s, at))
		}
	}
	slices.SortFunc(ended, func(x, y *Offer) int { return cmp.Compare(x.Class, y.Class) })
	return ended, nil
}

func (b *Book) judgeRevocation(now time.Time, r *Revocation) *RejectError {
	p := b.providers[r.Provider]
	switch {
	case now.Sub(r.Issued) > OfferLife+Skew:
		return reject(Expired, "issued %s ago", now.Sub(r.Issued))
	case p == nil && len(b.providers) >= b.cfg.MaxOffers:
		return reject(Full, "%d providers", len(b.providers))
	case p == nil || p.revoked == nil || newer(r.Epoch, r.Sequence, p.revoked.Epoch, p.revoked.Sequence):
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
	for _, s := range b.list {
		for at := range s.heads {
			if t := &s.heads[at]; t.offer != nil && t.ends <= now.UnixMilli() {
				gone = append(gone, b.end(s, uint32(at)))
			}
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

// Of is the live offers of one provider.
func (b *Book) Of(now time.Time, k souk.NodeKey) (offers []*Offer) {
	p := b.providers[k]
	if p == nil {
		return nil
	}
	for _, s := range p.segments {
		if t := s.heads[s.providers[k]]; t.offer != nil && t.ends > now.UnixMilli() {
			offers = append(offers, t.offer)
		}
	}
	return offers
}

// Len counts the live offers.
func (b *Book) Len(now time.Time) (n int) {
	for _, s := range b.list {
		for i := range s.heads {
			if s.heads[i].ends > now.UnixMilli() {
				n++
			}
		}
	}
	return n
}

// Rejects is how often the book refused, by reason. What [OpenOffer] and
// [OpenRevocation] refused never reached it.
func (b *Book) Rejects() map[Reason]uint64 { return maps.Clone(b.rejects) }

// Evidence is how well the devices of an offer are proved to this node.
func (b *Book) Evidence(o *Offer) marketv1.Evidence { return knownEvidence(b.cfg.Evidence(o)) }

// Score is the reputation of a provider, 0 to 1000.
func (b *Book) Score(k souk.NodeKey) uint32 { return min(b.cfg.Score(k), 1000) }

// provider is what is remembered of k, which may be nothing yet.
func (b *Book) provider(k souk.NodeKey) *provider {
	p := b.providers[k]
	if p == nil {
		p = &provider{}
		b.providers[k] = p
	}
	return p
}

// remember gives a provider's class a lane.
func (b *Book) remember(k souk.NodeKey, class string) (*segment, uint32) {
	s := b.segments[class]
	if s == nil {
		s = &segment{class: class, slice: sliceWord(class), place: len(b.list), providers: map[souk.NodeKey]uint32{}}
		b.segments[class] = s
		b.list = append(b.list, s)
	}
	p, at := b.provider(k), s.open()
	p.segments = append(p.segments, s)
	s.providers[k] = at
	s.lanes[at].revoked = p.revoked != nil
	b.taken++
	return s, at
}

// end takes the offer out of a lane, and returns it.
func (b *Book) end(s *segment, at uint32) *Offer {
	o := s.heads[at].offer
	s.unset(at)
	s.lanes[at].forget = o.Issued.Add(OfferLife + Skew).UnixMilli()
	b.fading[o.Provider] = struct{}{}
	return o
}

// fade forgets what is known of k and cannot matter any more.
func (b *Book) fade(now time.Time, k souk.NodeKey) {
	p, ended := b.providers[k], false
	if p.revoked != nil && now.Sub(p.revoked.Issued) > OfferLife+Skew {
		p.revoked = nil
	}
	p.segments = slices.DeleteFunc(p.segments, func(s *segment) bool {
		at := s.providers[k]
		l := &s.lanes[at]
		l.revoked = p.revoked != nil
		if l.page != nil || !now.After(time.UnixMilli(l.forget)) {
			ended = ended || l.page == nil
			return false
		}
		b.forget(s, k)
		return true
	})
	if len(p.segments) == 0 && p.revoked == nil {
		delete(b.providers, k)
	}
	if !ended && p.revoked == nil {
		delete(b.fading, k)
	}
}

// forget frees the lane of k, and the room that is no longer needed.
func (b *Book) forget(s *segment, k souk.NodeKey) {
	s.close(s.providers[k])
	delete(s.providers, k)
	b.taken--
	switch n := len(s.providers); {
	case n == 0:
		last := b.list[len(b.list)-1]
		b.list[s.place], last.place = last, s.place
		b.list = slices.Delete(b.list, len(b.list)-1, len(b.list))
		delete(b.segments, s.class)
	case n < len(s.lanes)/4 && len(s.lanes) > fewOffers:
		s.compact()
	}
}
