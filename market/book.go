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
// for concurrent use.
//
// Offers live in slots, and the orderings over them hold slot numbers: a column
// or a bitmap over the slots can be added beside byPrice without moving an offer.
type Book struct {
	cfg       Config
	slots     []*Offer // nil where free
	free      []uint32 // free slots
	byPrice   []uint32 // slots of live offers, by price and then by when they came
	providers map[souk.NodeKey]*provider
	limiter   *Limiter
	rejects   map[Reason]uint64
	seen      int // classes remembered over all providers
}

// provider is what the book remembers of one signer.
type provider struct {
	classes map[string]*standing
	revoked *Revocation // the newest; nil without one
}

// standing is the newest that is known of one provider and class, kept after
// its offer ended, for as long as an older one could still be taken for live.
type standing struct {
	slot            int // -1 once the offer ended
	epoch, sequence uint64
	forget          time.Time
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
	return &Book{cfg: cfg, providers: map[souk.NodeKey]*provider{}, rejects: map[Reason]uint64{},
		limiter: NewLimiter(cfg.Every, cfg.Burst, cfg.MaxOffers)}
}

// Put takes an offer from gossip. The error is a *[RejectError], and counted.
func (b *Book) Put(now time.Time, o *Offer) (Outcome, error) { return b.take(now, o, true) }

// Load takes an offer that this node asked a peer for, with the rest of that
// peer's book: it does not count against its provider's rate.
func (b *Book) Load(now time.Time, o *Offer) (Outcome, error) { return b.take(now, o, false) }

func (b *Book) take(now time.Time, o *Offer, limited bool) (Outcome, error) {
	if e := b.judge(now, o, limited); e != nil {
		b.rejects[e.Reason]++
		return Refused, e
	}
	p := b.providers[o.Provider]
	if p == nil {
		p = &provider{classes: map[string]*standing{}}
		b.providers[o.Provider] = p
	}
	s, outcome := p.classes[o.Class], Replaced
	if s == nil {
		s = &standing{slot: -1}
		p.classes[o.Class] = s
		b.seen++
	}
	if s.slot < 0 {
		outcome = Added
	}
	b.drop(s)
	s.epoch, s.sequence, s.forget = o.Epoch, o.Sequence, o.Issued.Add(OfferLife+Skew)
	s.slot = b.insert(o)
	return outcome, nil
}

// judge says why o cannot enter. A refused offer leaves no trace but its count,
// and the provider's token is taken last, by an offer that enters.
func (b *Book) judge(now time.Time, o *Offer, limited bool) *RejectError {
	if !now.Before(o.Expires) {
		return reject(Expired, "%s ago", now.Sub(o.Expires))
	}
	p := b.providers[o.Provider]
	if p != nil && p.revoked != nil && !newer(o.Epoch, o.Sequence, p.revoked.Epoch, p.revoked.Sequence) {
		return reject(Revoked, "up to %d/%d", p.revoked.Epoch, p.revoked.Sequence)
	}
	var s *standing
	if p != nil {
		s = p.classes[o.Class]
	}
	switch {
	case s != nil && s.epoch == o.Epoch && s.sequence == o.Sequence:
		return reject(Duplicate, "%d/%d", o.Epoch, o.Sequence)
	case s != nil && !newer(o.Epoch, o.Sequence, s.epoch, s.sequence):
		return reject(Stale, "%d/%d is known", s.epoch, s.sequence)
	case s == nil && p != nil && len(p.classes) >= b.cfg.MaxPerProvider:
		return reject(Full, "%d classes of this provider", len(p.classes))
	case s == nil && b.seen >= b.cfg.MaxOffers:
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
	if p == nil {
		return false
	}
	if p.revoked != nil && !newer(epoch, sequence, p.revoked.Epoch, p.revoked.Sequence) {
		return true
	}
	s := p.classes[class]
	return s != nil && !newer(epoch, sequence, s.epoch, s.sequence)
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
	if p == nil {
		p = &provider{classes: map[string]*standing{}}
		b.providers[r.Provider] = p
	}
	p.revoked = r
	var ended []*Offer
	for _, class := range slices.Sorted(maps.Keys(p.classes)) {
		s := p.classes[class]
		if s.slot >= 0 && !newer(s.epoch, s.sequence, r.Epoch, r.Sequence) {
			ended = append(ended, b.slots[s.slot])
			b.drop(s)
		}
	}
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
// cannot matter any more.
func (b *Book) Expire(now time.Time) []*Offer {
	var gone []*Offer
	for k, p := range b.providers {
		for class, s := range p.classes {
			if s.slot >= 0 && !now.Before(b.slots[s.slot].Expires) {
				gone = append(gone, b.slots[s.slot])
				b.drop(s)
			}
			if s.slot < 0 && now.After(s.forget) {
				delete(p.classes, class)
				b.seen--
			}
		}
		if p.revoked != nil && now.Sub(p.revoked.Issued) > OfferLife+Skew {
			p.revoked = nil
		}
		if len(p.classes) == 0 && p.revoked == nil {
			delete(b.providers, k)
		}
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
	for _, slot := range b.byPrice {
		if now.Before(b.slots[slot].Expires) {
			n++
		}
	}
	return n
}

// Rejects is how often the book refused, by reason. What [OpenOffer] and
// [OpenRevocation] refused never reached it.
func (b *Book) Rejects() map[Reason]uint64 { return maps.Clone(b.rejects) }

// Score is the reputation of a provider, 0 to 1000.
func (b *Book) Score(k souk.NodeKey) uint32 { return min(b.cfg.Score(k), 1000) }

// insert puts o in a free slot and in the price order.
func (b *Book) insert(o *Offer) int {
	var slot uint32
	if n := len(b.free); n > 0 {
		slot, b.free = b.free[n-1], b.free[:n-1]
		b.slots[slot] = o
	} else {
		slot = uint32(len(b.slots))
		b.slots = append(b.slots, o)
	}
	i, _ := b.priceIndex(o)
	b.byPrice = slices.Insert(b.byPrice, i, slot)
	return int(slot)
}

// drop takes the offer of s out of its slot and of the price order.
func (b *Book) drop(s *standing) {
	if s.slot < 0 {
		return
	}
	i, _ := b.priceIndex(b.slots[s.slot])
	b.byPrice = slices.Delete(b.byPrice, i, i+1)
	b.slots[s.slot] = nil
	b.free = append(b.free, uint32(s.slot))
	s.slot = -1
}

// priceIndex is where o stands or would stand in the price order.
func (b *Book) priceIndex(o *Offer) (int, bool) {
	return slices.BinarySearchFunc(b.byPrice, o, func(slot uint32, o *Offer) int { return byPrice(b.slots[slot], o) })
}

// byPrice orders offers by price, then by provider and class, so that two nodes
// with the same offers list them alike.
func byPrice(x, y *Offer) int {
	return cmp.Or(cmp.Compare(x.PriceAtomsPerHour, y.PriceAtomsPerHour),
		bytes.Compare(x.Provider[:], y.Provider[:]), cmp.Compare(x.Class, y.Class))
}
