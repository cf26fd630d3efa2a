package offers

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	syncv1 "github.com/souk-market/souk/proto/souk/sync/v1"
	"github.com/souk-market/souk/proto/wire"
)

// quietGossip is gossip of which nothing is heard.
type quietGossip struct{}

// Follows implements [gossiper].
func (quietGossip) Follows(context.Context, peer.ID) {}

// Relay implements [gossiper].
func (quietGossip) Relay(context.Context, *market.Offer) error { return nil }

// lyingSyncer is a syncer on a host of its own that lies when told to.
func lyingSyncer(t *testing.T, within time.Duration) (*Syncer, *networktest.Liar) {
	t.Helper()
	lies, log := &networktest.Liar{Host: networktest.Loopback(t, networktest.NewKey(t))}, slog.New(slog.DiscardHandler)
	return NewSyncer(SyncConfig{Host: lies, Streams: network.NewStreams(lies, log), Book: NewBook(market.Config{}, time.Now), Gossip: quietGossip{},
		Clocks: NewClocks(log), Rand: rand.New(rand.NewPCG(1, 1)), Within: within, Log: log}), lies
}

// TestLyingSync does every deed to the question for a book, and to its pages:
// whoever asked has an end in time and none but good offers, and whoever was asked
// counts what was wrong and then gives its book as before.
func TestLyingSync(t *testing.T) {
	const within = 2 * networktest.Slow * time.Second
	server, lies := lyingSyncer(t, within)
	for i := range 9 {
		if _, err := server.cfg.Book.PutSnapshot(sealOffer(t, networktest.NewKey(t), offerOf("CPU", uint64(i+1)))); err != nil {
			t.Fatal(err)
		}
	}
	lim := network.SyncLimits.In(within)
	lim.Concurrent = 2 * len(networktest.Deeds) // all at once
	stop := server.cfg.Streams.Handle(t.Context(), network.SyncProtocol, lim, server.serve)
	var wg sync.WaitGroup
	for i, byAsker := range []bool{true, false} {
		for k, what := range networktest.Deeds {
			if (i+k)%networktest.Slow != 0 {
				continue
			}
			d := &networktest.Deed{Protocol: network.SyncProtocol, Step: networktest.AnyFrame, Do: what.Do, Once: what.Once, Client: byAsker}
			wg.Go(func() { syncLie(t, server, lies, fmt.Sprintf("%s, asker %t", what.Name, byAsker), d) })
		}
	}
	wg.Wait()
	stop() // returns once no stream is served any more
	t.Logf("streams that did not end well: %v", server.cfg.Streams.Rejects())
	for _, reason := range []string{"deadline", "malformed", "oversized", "lost"} {
		if networktest.Slow == 1 && server.cfg.Streams.Rejects()[network.StreamReject{Protocol: network.SyncProtocol, Reason: reason}] == 0 {
			t.Errorf("no stream is counted as %s", reason)
		}
	}
}

// syncLie plays one row, and then an honest one.
func syncLie(t *testing.T, server *Syncer, lies *networktest.Liar, name string, d *networktest.Deed) {
	asker, mine := lyingSyncer(t, server.cfg.Within)
	at := peer.AddrInfo{ID: lies.ID(), Addrs: lies.Addrs()}
	if err := mine.Connect(t.Context(), at); err != nil {
		t.Error(err)
		return
	}
	if d.Client {
		mine.Lie(at.ID, d)
	} else {
		lies.Lie(mine.ID(), d)
	}
	began := time.Now()
	took, err := asker.pull(t.Context(), at.ID)
	book := asker.cfg.Book
	if since := time.Since(began); since > asker.cfg.Within+networktest.LateBy || took.Added != book.Len() || book.Len() > server.cfg.Book.Len() {
		t.Errorf("%s: %+v after %s, %v", name, took, since, err)
	}
	if !d.Happened() {
		t.Errorf("%s: was not done", name)
	}
	mine.Lie(at.ID, nil)
	lies.Lie(mine.ID(), nil)
	networktest.Eventually(t, "an honest book", func() bool { // while the last stream stands there is no second
		_, err := asker.pull(t.Context(), at.ID)
		return err == nil
	})
	if book.Len() != server.cfg.Book.Len() {
		t.Errorf("%s: %d offers of %d came in the end", name, book.Len(), server.cfg.Book.Len())
	}
}

// TestSyncUnread asks for a book again and again and reads none of it: each stream
// ends at its deadline, and holds no slot after it.
func TestSyncUnread(t *testing.T) {
	const within = networktest.Slow * time.Second / 2
	server, lies := lyingSyncer(t, within)
	for i := range 9 {
		if _, err := server.cfg.Book.PutSnapshot(sealOffer(t, networktest.NewKey(t), offerOf("CPU", uint64(i+1)))); err != nil {
			t.Fatal(err)
		}
	}
	stop := server.cfg.Streams.Handle(t.Context(), network.SyncProtocol, network.SyncLimits.In(within), func(ctx context.Context, st p2pnet.Stream) error {
		for { // a book larger than any that a test would sign
			if err := writeBook(st, server.cfg.Book.Offers(), time.Now); err != nil {
				return err
			}
		}
	})
	defer stop()
	_, mine := lyingSyncer(t, within)
	if err := mine.Connect(t.Context(), peer.AddrInfo{ID: lies.ID(), Addrs: lies.Addrs()}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		st, err := mine.NewStream(t.Context(), lies.ID(), network.SyncProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Write(st, new(syncv1.SyncRequest)); err != nil {
			t.Fatal(err)
		}
		had := server.cfg.Streams.Rejects()[network.StreamReject{Protocol: network.SyncProtocol, Reason: "deadline"}]
		networktest.Eventually(t, "the end of the stream", func() bool {
			return server.cfg.Streams.Rejects()[network.StreamReject{Protocol: network.SyncProtocol, Reason: "deadline"}] > had
		})
		st.Reset()
	}
}
