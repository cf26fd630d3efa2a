package offers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	syncv1 "github.com/souk-market/souk/proto/souk/sync/v1"
	"github.com/souk-market/souk/proto/wire"
)

const (
	// maxPulls is how many books are taken from peers at once.
	maxPulls = 4
	// A book of at most smallBook offers may be taken from one peer again after
	// pullSoon, as when it was restarted; a larger one after pullEvery.
	smallBook           = 4096
	pullSoon, pullEvery = 10 * time.Second, time.Minute
	// meshTime is when a new peer is surely in the mesh. Until then messages pass
	// it by: a small book is taken a second time, and then nothing is missed.
	meshTime = 3 * time.Second
	// pullRetry is the wait after a first failure; it doubles, up to pullTries.
	pullRetry = 5 * time.Second
	pullTries = 6
	// resyncFirst and resyncLast bound how often one peer is asked again: soon
	// after the start, when messages may have been missed while the mesh formed,
	// then seldom. What gossip lost is healed so.
	resyncFirst, resyncLast = time.Minute, 15 * time.Minute
	// pullQueue bounds peers that wait to be asked; past it new ones are
	// dropped, and the timer will find them.
	pullQueue = 256

	// maxRelayed bounds the news of one book that is told to the other peers. Few
	// are: a provider's first offers, which it published before it knew anybody.
	// Who joins with an empty book has nothing to tell.
	maxRelayed = 128

	// servesPerPeer is how often one peer may take our book in pullEvery.
	servesPerPeer = 8
	// maxServed bounds the peers whose takings are remembered.
	maxServed = 4096
	// maxBadOffers is how many offers that no honest peer holds may come in one
	// book before the rest is not read.
	maxBadOffers = 8
)

var (
	errSyncTooOften = errors.New("the book was taken too often")
	errSyncTooMuch  = fmt.Errorf("more than %d offers: %w", network.MaxSyncOffers, wire.ErrTooLarge)
	errSyncHostile  = errors.New("too many offers that no honest peer holds")
)

// SyncConfig holds what a syncer needs.
type SyncConfig struct {
	Host    host.Host
	Streams *network.Streams
	Book    *Book
	Gossip  gossiper
	Clocks  *Clocks       // is told what the clocks of peers show
	Rand    *rand.Rand    // spreads retries; belongs to the syncer once Run starts
	Within  time.Duration // for one book; default 30s
	Log     *slog.Logger
}

// gossiper is what a syncer needs of gossip: books and gossip together leave no
// gap in which an offer is missed.
type gossiper interface {
	// Follows waits, a moment at most, until p gets what we publish.
	Follows(ctx context.Context, p peer.ID)
	// Relay sends on an offer that we did not get by gossip.
	Relay(ctx context.Context, o *market.Offer) error
}

// Syncer takes whole books from peers, so that a node that starts last sees
// every offer, and gives its own to those who ask.
type Syncer struct {
	cfg       SyncConfig
	want      chan peer.ID
	maxOffers int // of one book

	mu     sync.Mutex // guards served
	served map[peer.ID]served
}

// served is how often a peer took our book since a time.
type served struct {
	since time.Time
	n     int
}

// NewSyncer starts nothing.
func NewSyncer(cfg SyncConfig) *Syncer {
	cfg.Within = cmp.Or(cfg.Within, network.SyncLimits.Deadline)
	return &Syncer{cfg: cfg, want: make(chan peer.ID, pullQueue), maxOffers: network.MaxSyncOffers, served: map[peer.ID]served{}}
}

// Want asks for the book of p, soon. It does not wait.
func (s *Syncer) Want(p peer.ID) {
	select {
	case s.want <- p:
	default:
		s.cfg.Log.Debug("sync queue is full", "peer", p)
	}
}

// pulled is the end of one asking.
type pulled struct {
	peer peer.ID
	took syncReport
	err  error
}

// Run serves the book and takes those of wanted peers until ctx ends.
func (s *Syncer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.cfg.Streams.Handle(ctx, network.SyncProtocol, network.SyncLimits.In(s.cfg.Within), s.serve)()

	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel() // before the wait
	done := make(chan pulled, maxPulls)
	state := pulls{peers: map[peer.ID]*pull{}}
	resync := resyncFirst
	again := time.NewTimer(resync)
	defer again.Stop()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, p := range state.due(time.Now()) {
			workers.Go(func() {
				took, err := s.pull(ctx, p)
				done <- pulled{p, took, err} // has room for every worker
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case p := <-s.want:
			state.want(p, true, time.Now())
		case d := <-done:
			s.finished(&state, d)
		case <-tick.C:
		case <-again.C:
			state.forget(func(p peer.ID) bool { return s.cfg.Host.Network().Connectedness(p) == p2pnet.Connected })
			if p, ok := state.pick(s.cfg.Rand); ok {
				state.want(p, false, time.Now())
			}
			resync = min(2*resync, resyncLast)
			again.Reset(resync/2 + time.Duration(s.cfg.Rand.Int64N(int64(resync))))
		}
	}
}

// finished notes the end of an asking, and asks again later if it failed.
func (s *Syncer) finished(state *pulls, d pulled) {
	now := time.Now()
	p := state.peers[d.peer]
	p.running = false
	state.running--
	small := d.took.Offers <= smallBook
	switch {
	case d.err == nil && p.fresh && small:
		p.fresh, p.tries, p.next = false, 0, now.Add(pullSoon)
		p.due = now.Add(meshTime)
	case d.err == nil && small:
		p.fresh, p.tries, p.next = false, 0, now.Add(pullSoon)
	case d.err == nil:
		p.fresh, p.tries, p.next = false, 0, now.Add(pullEvery)
	case errors.Is(d.err, errSyncHostile), errors.Is(d.err, errSyncTooMuch), p.tries+1 >= pullTries:
		s.cfg.Log.Warn("book not taken from peer", "peer", d.peer, "err", d.err)
		p.fresh, p.tries, p.next = false, 0, now.Add(pullEvery)
		return
	default:
		s.cfg.Log.Debug("book not taken from peer, trying again", "peer", d.peer, "err", d.err)
		wait := pullRetry << p.tries
		p.tries++
		p.due = now.Add(wait/2 + time.Duration(s.cfg.Rand.Int64N(int64(wait))))
		return
	}
	s.cfg.Log.Debug("book taken from peer", "peer", d.peer, "offers", d.took.Offers, "new", d.took.Added)
}

// syncReport is what one book brought.
type syncReport struct {
	Offers int       // in the book
	Added  int       // that were news
	Bad    int       // that no honest peer holds
	Clock  time.Time // what the peer's clock showed; zero: it did not say
	Ours   time.Time // what ours showed then
}

// pull takes the book of one peer.
func (s *Syncer) pull(ctx context.Context, p peer.ID) (took syncReport, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Within)
	defer cancel()
	st, release, err := network.OpenStream(ctx, s.cfg.Host, p, network.SyncProtocol)
	if err != nil {
		return took, err
	}
	defer release()
	if err := wire.Write(st, &syncv1.SyncRequest{}); err != nil {
		return took, fmt.Errorf("ask for the book: %w", err)
	}
	closed := st.CloseWrite() // an error where a short book came first and closed the stream
	var news []*market.Offer
	took, err = s.read(st, func(o *market.Offer) {
		if len(news) < maxRelayed {
			news = append(news, o)
		}
	})
	for _, o := range news { // also of a book that broke off: they are in ours
		if err := s.cfg.Gossip.Relay(ctx, o); err != nil {
			s.cfg.Log.Debug("relay offer", "peer", p, "err", err)
			break
		}
	}
	if !took.Clock.IsZero() {
		s.cfg.Clocks.saw(p, took.Clock, took.Ours)
	}
	if err != nil {
		return took, fmt.Errorf("read the book: %w", errors.Join(ctx.Err(), err, closed))
	}
	st.Close()
	return took, nil
}

// Read takes in the pages of a book until the stream ends, and calls news with
// each offer that was not known.
func (s *Syncer) read(r io.Reader, news func(*market.Offer)) (took syncReport, err error) {
	pages := wire.NewReader(r, network.MaxSyncPageBytes)
	for {
		var page syncv1.SyncPage
		if err := pages.Read(&page); err == io.EOF {
			return took, nil
		} else if err != nil {
			return took, err
		}
		if took.Clock.IsZero() && page.NowMs > 0 && page.NowMs < maxPeerClock {
			took.Clock, took.Ours = time.UnixMilli(page.NowMs), s.cfg.Book.now()
		}
		if took.Offers += len(page.Offers); took.Offers > s.maxOffers {
			return took, errSyncTooMuch
		}
		for _, o := range s.verify(page.Offers) {
			if o.err == nil {
				o.err = s.cfg.Book.add(o.offer, (*market.Book).Load)
			}
			switch reason := rejectReason(o.err); {
			case o.err == nil:
				took.Added++
				news(o.offer)
			case reason == market.Oversized || reason == market.Signature || reason == market.Malformed:
				took.Bad++
			}
		}
		if took.Bad > maxBadOffers {
			return took, errSyncHostile
		}
	}
}

// opened is an offer of a page, or why it was refused.
type opened struct {
	offer *market.Offer
	err   error
}

// verify checks the signatures of a page on all processors: it is what a late
// joiner waits for.
func (s *Syncer) verify(envelopes [][]byte) []opened {
	out := make([]opened, len(envelopes))
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	for w := range n {
		wg.Go(func() {
			for i := w; i < len(envelopes); i += n {
				out[i].offer, out[i].err = s.cfg.Book.open(envelopes[i])
			}
		})
	}
	wg.Wait()
	return out
}

// serve sends our book to a peer that asks.
func (s *Syncer) serve(ctx context.Context, st p2pnet.Stream) error {
	p := st.Conn().RemotePeer()
	if !s.admit(p, time.Now()) {
		return errSyncTooOften
	}
	var req syncv1.SyncRequest
	if err := wire.NewReader(st, network.MaxSyncRequestBytes).Read(&req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	s.cfg.Gossip.Follows(ctx, p) // then what is not in this copy of the book reaches p by gossip
	offers := s.cfg.Book.Offers()
	if n := int(min(req.Limit, network.MaxSyncOffers)); n > 0 && n < len(offers) {
		offers = offers[:n]
	}
	return writeBook(st, offers[:min(len(offers), network.MaxSyncOffers)], s.cfg.Book.now)
}

// maxPeerClock keeps a peer's clock where a difference to it is a duration: the
// year 2100, in Unix milliseconds.
const maxPeerClock = 4_102_444_800_000

// writeBook sends offers in pages that fit their bound, at least one: an empty
// book tells the time too.
func writeBook(w io.Writer, offers []*market.Offer, now func() time.Time) error {
	const overhead = 4   // of an offer in a page: its tag and length
	const clockSize = 11 // of the time in a page
	for first := true; first || len(offers) > 0; first = false {
		page, size := &syncv1.SyncPage{NowMs: now().UnixMilli()}, clockSize
		for _, o := range offers {
			if size += len(o.Envelope) + overhead; size > network.MaxSyncPageBytes {
				break
			}
			page.Offers = append(page.Offers, o.Envelope)
		}
		if err := wire.Write(w, page); err != nil {
			return fmt.Errorf("send page: %w", err)
		}
		offers = offers[len(page.Offers):]
	}
	return nil
}

// admit counts that p takes our book, and refuses it past servesPerPeer.
func (s *Syncer) admit(p peer.ID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, known := s.served[p]; known && now.Sub(e.since) >= pullEvery {
		delete(s.served, p)
	}
	e, known := s.served[p]
	if !known && len(s.served) >= maxServed {
		maps.DeleteFunc(s.served, func(_ peer.ID, e served) bool { return now.Sub(e.since) >= pullEvery })
		if len(s.served) >= maxServed {
			return false
		}
	}
	if !known {
		e.since = now
	}
	e.n++
	s.served[p] = e
	return e.n <= servesPerPeer
}
