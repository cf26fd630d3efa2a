// Package offers keeps a node's view of the market: the book of offers, the
// gossip that fills it, and the exchange of whole books with single peers.
//
// An offer enters the book only after its signature and bounds were checked,
// whichever way it came, and what no honest peer sends is counted.
package offers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
)

const (
	// sweepEvery is how often offers whose time is over leave the book.
	sweepEvery = time.Second
	// watchBuffer is how many changes a watcher may lag behind; then the oldest
	// are dropped and counted, so that a slow reader costs nobody else anything.
	watchBuffer = 256
	// maxWatchers bounds how many may watch at once.
	maxWatchers = 256
)

// errWatchers is returned when too many watch the book already.
var errWatchers = errors.New("too many watchers of the book")

// Change is one change of the book: an offer came or was replaced, or it
// ended by its time or by its signer.
type Change struct {
	Offer *market.Offer // shared: not to be changed
	Ended bool
}

// Book is the market's book for many goroutines at once: gossip and sync fill
// it, the roles and the API read it. Bytes are verified before its lock is taken.
type Book struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	b        *market.Book
	refused  map[market.Reason]uint64 // by the functions that open envelopes
	watchers map[chan Change]struct{}
	dropped  uint64 // changes that slow watchers did not see
}

// NewBook keeps offers as cfg says, by the clock now. It starts nothing: Run sweeps.
func NewBook(cfg market.Config, now func() time.Time) *Book {
	return &Book{now: now, b: market.NewBook(cfg), refused: map[market.Reason]uint64{}, watchers: map[chan Change]struct{}{}}
}

// Run takes offers out whose time is over, until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			b.mu.Lock()
			b.ended(b.b.Expire(b.now()))
			b.mu.Unlock()
		}
	}
}

// Put verifies an offer and takes it in. The error is a [*market.RejectError],
// and the book then has not changed.
func (b *Book) Put(envelope []byte) (*market.Offer, error) {
	o, err := b.open(envelope)
	if err != nil {
		return nil, err
	}
	return o, b.add(o, (*market.Book).Put)
}

// PutSnapshot is Put without the limit on how often one provider may offer: a
// snapshot holds the last offer of each of its classes at once. Our own offers
// are put so too, since we pace ourselves.
func (b *Book) PutSnapshot(envelope []byte) (*market.Offer, error) {
	o, err := b.open(envelope)
	if err != nil {
		return nil, err
	}
	return o, b.add(o, (*market.Book).Load)
}

// open verifies the envelope of an offer and counts why it was refused.
func (b *Book) open(envelope []byte) (*market.Offer, error) {
	o, err := market.OpenOffer(envelope, b.now())
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return nil, b.refuse(err)
	}
	return o, nil
}

// add takes a verified offer in, by Put or Load of the market's book, which
// count refusals themselves.
func (b *Book) add(o *market.Offer, put func(*market.Book, time.Time, *market.Offer) (market.Outcome, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := put(b.b, b.now(), o); err != nil {
		return err
	}
	b.tell(Change{Offer: o})
	return nil
}

// Revoke verifies a revocation and takes out what it ends. The error is a
// [*market.RejectError].
func (b *Book) Revoke(envelope []byte) error {
	now := b.now()
	r, err := market.OpenRevocation(envelope, now)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		return b.refuse(err)
	}
	gone, err := b.b.Revoke(now, r)
	if err != nil {
		return err
	}
	b.ended(gone)
	return nil
}

// Match is the live offers that meet q, best first.
func (b *Book) Match(q market.Query) []*market.Offer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Match(b.now(), q)
}

// Explain says what each clause of q rules out.
func (b *Book) Explain(q market.Query) []market.Removal {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Explain(b.now(), q)
}

// Offers is every live offer.
func (b *Book) Offers() []*market.Offer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Offers(b.now())
}

// Of is the live offers of one provider.
func (b *Book) Of(k souk.NodeKey) []*market.Offer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Of(b.now(), k)
}

// Len counts the live offers.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Len(b.now())
}

// Rejects counts what was refused, by reason.
func (b *Book) Rejects() map[market.Reason]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.b.Rejects()
	for r, n := range b.refused {
		out[r] += n
	}
	return out
}

// Dropped counts the changes that watchers were too slow to see.
func (b *Book) Dropped() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

// Watch sends every change from now on until ctx ends, and then closes the
// channel. A reader that lags by more than [watchBuffer] changes misses the
// oldest. To see the whole market, watch first, then read [book.Offers].
func (b *Book) Watch(ctx context.Context) (<-chan Change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.watchers) >= maxWatchers {
		return nil, errWatchers
	}
	c := make(chan Change, watchBuffer)
	b.watchers[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, c)
		close(c)
	})
	return c, nil
}

// ended tells watchers of offers that left. The caller holds mu.
func (b *Book) ended(gone []*market.Offer) {
	for _, o := range gone {
		b.tell(Change{Offer: o, Ended: true})
	}
}

// tell sends c to every watcher without waiting. The caller holds mu, and so is
// the only sender: after one is taken out, one fits.
func (b *Book) tell(c Change) {
	for w := range b.watchers {
		select {
		case w <- c:
			continue
		default:
		}
		select {
		case <-w:
			b.dropped++
		default: // its reader was faster
		}
		w <- c
	}
}

// refuse counts why an envelope was not opened. The caller holds mu.
func (b *Book) refuse(err error) error {
	if r, ok := errors.AsType[*market.RejectError](err); ok {
		b.refused[r.Reason]++
	}
	return err
}
