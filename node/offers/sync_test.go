package offers

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	syncv1 "github.com/souk-market/souk/proto/souk/sync/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// A node that starts last sees every offer, whoever it meets first.
func TestSyncLateJoiner(t *testing.T) {
	var old []*netNode
	for range 3 {
		old = append(old, startNode(t, nil))
	}
	old[1].connect(t, old[0], old[2])
	classes := []string{"CPU", "RTX_4090", "H100", "L40S"}
	for _, n := range old {
		for i, class := range classes {
			n.publish(t, class, uint64(i+1))
		}
	}
	networktest.Eventually(t, "all offers at the first", func() bool { return old[0].book.Len() == 3*len(classes) })

	late := startNode(t, func(c *network.PeersConfig) { c.Bootstrap = []peer.AddrInfo{old[0].reach()} })
	networktest.Eventually(t, "all offers at the late node", func() bool { return late.book.Len() == 3*len(classes) })
	for _, n := range old {
		for _, class := range classes {
			if !slices.ContainsFunc(late.book.Offers(), func(o *market.Offer) bool {
				p, err := network.PeerID(o.Provider)
				return err == nil && p == n.Host.ID() && o.Class == class
			}) {
				t.Errorf("no offer of %s by %s", class, n.Host.ID())
			}
		}
	}
	if rejects := late.book.Rejects(); len(rejects) != 0 {
		t.Errorf("the late node refused %v", rejects)
	}
}

// A provider that published before it knew anybody is heard by those its first
// peer knows.
func TestSyncTellsOthers(t *testing.T) {
	hub, client, provider := startNode(t, nil), startNode(t, nil), startNode(t, nil)
	hub.connect(t, client)
	hub.meshed(t, offerTopic("CPU"), client.Host)
	provider.publish(t, "CPU", 1)
	provider.connect(t, hub)
	networktest.Eventually(t, "the offer at the client", func() bool { return client.book.Len() == 1 })
}

// Nodes that start together, each knowing one other, and publish before any
// mesh has formed, soon all see all.
func TestSyncAllAtOnce(t *testing.T) {
	const n = 8
	nodes := []*netNode{startNode(t, nil)}
	for i := range n - 1 {
		first := nodes[i/2].reach() // a tree
		nodes = append(nodes, startNode(t, func(c *network.PeersConfig) { c.Bootstrap = []peer.AddrInfo{first} }))
	}
	for _, node := range nodes {
		node.publish(t, "CPU", 1)
	}
	for i, node := range nodes {
		networktest.Eventually(t, fmt.Sprintf("every offer at node %d", i), func() bool { return node.book.Len() == n })
	}
}

func newTestSyncer() *Syncer {
	return NewSyncer(SyncConfig{Book: NewBook(market.Config{}, time.Now), Rand: rand.New(rand.NewPCG(1, 3)), Log: slog.New(slog.DiscardHandler)})
}

func TestSyncReadsWhatItWrites(t *testing.T) {
	from, to := newTestSyncer(), newTestSyncer()
	const providers = 120
	for i := range providers {
		key := networktest.NewKey(t)
		for j := range 10 { // more than one provider may offer at once by gossip
			if _, err := from.cfg.Book.PutSnapshot(sealOffer(t, key, offerOf(fmt.Sprintf("GPU_%d", j), uint64(i*10+j+1)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	var b bytes.Buffer
	if err := writeBook(&b, from.cfg.Book.Offers(), time.Now); err != nil {
		t.Fatal(err)
	}
	pages := 0
	for r := wire.NewReader(bytes.NewReader(b.Bytes()), network.MaxSyncPageBytes); ; pages++ {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	took, err := to.read(&b, unheard)
	if (took.Ours.Sub(took.Clock)).Abs() > market.Skew {
		t.Errorf("the peer's clock showed %s, ours %s", took.Clock, took.Ours)
	}
	took.Clock, took.Ours = time.Time{}, time.Time{}
	if want := (syncReport{Offers: providers * 10, Added: providers * 10}); err != nil || took != want {
		t.Errorf("read = %+v, %v; want %+v", took, err, want)
	}
	if pages < 2 {
		t.Errorf("%d pages; want several", pages)
	}
}

func page(t testing.TB, offers ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := wire.Write(&b, &syncv1.SyncPage{Offers: offers}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// testSyncOffers keeps a test from verifying [MaxSyncOffers] signatures.
const testSyncOffers = 1000

func unheard(*market.Offer) {}

func TestSyncRefuses(t *testing.T) {
	good := func() []byte { return sealOffer(t, networktest.NewKey(t), offerOf("CPU", 1)) }
	forged := func() []byte { o := good(); o[len(o)-1] ^= 1; return o }
	old := offerOf("CPU", 1)
	old.IssuedMs, old.ExpiresMs = time.Now().Add(-30*time.Minute).UnixMilli(), time.Now().Add(-time.Minute).UnixMilli()
	same := good()
	key := networktest.NewKey(t)
	first, later := sealOffer(t, key, offerOf("CPU", 1)), sealOffer(t, key, offerOf("CPU", 2))
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  syncReport
		err   error
	}{
		{"nothing", nil, syncReport{}, nil},
		{"an empty page", page(t), syncReport{}, nil},
		{"one bad among good ones", page(t, good(), forged(), good()), syncReport{Offers: 3, Added: 2, Bad: 1}, nil},
		{"the same twice", page(t, same, same), syncReport{Offers: 2, Added: 1}, nil},
		{"the same page again", slices.Repeat(page(t, same), 3), syncReport{Offers: 3, Added: 1}, nil},
		{"the later first", slices.Concat(page(t, later), page(t, first)), syncReport{Offers: 2, Added: 1}, nil},
		{"one that ended", page(t, sealOffer(t, networktest.NewKey(t), old)), syncReport{Offers: 1}, nil},
		{"many bad ones", bytes.Repeat(page(t, forged()), 100), syncReport{Offers: maxBadOffers + 1, Bad: maxBadOffers + 1}, errSyncHostile},
		{"too many", bytes.Repeat(page(t, slices.Repeat([][]byte{same}, 100)...), testSyncOffers/100+1),
			syncReport{Offers: testSyncOffers + 100, Added: 1}, errSyncTooMuch},
		{"a page too large", binary.AppendUvarint(nil, network.MaxSyncPageBytes+1), syncReport{}, wire.ErrTooLarge},
		{"half a page", page(t, good())[:40], syncReport{}, io.ErrUnexpectedEOF},
		{"no page", []byte("\x03abc"), syncReport{}, proto.Error},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestSyncer()
			s.maxOffers = testSyncOffers
			got, err := s.read(bytes.NewReader(tt.bytes), unheard)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("read = %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// The book is given to one peer a few times a minute, and to a few at once.
func TestSyncAdmit(t *testing.T) {
	s, now := newTestSyncer(), time.Unix(1_700_000_000, 0)
	for i := range servesPerPeer + 2 {
		if got, want := s.admit("a", now), i < servesPerPeer; got != want {
			t.Errorf("taking %d admitted: %t; want %t", i, got, want)
		}
	}
	if !s.admit("b", now) {
		t.Error("another peer was refused")
	}
	if !s.admit("a", now.Add(pullEvery)) {
		t.Error("refused after a minute")
	}
	for i := range maxServed + 100 {
		s.admit(peer.ID(fmt.Sprint(i)), now)
	}
	if len(s.served) > maxServed {
		t.Errorf("%d peers remembered; want at most %d", len(s.served), maxServed)
	}
}

func TestSyncPulls(t *testing.T) {
	now := time.Now()
	s, state := newTestSyncer(), pulls{peers: map[peer.ID]*pull{}}
	for i := range 2 * maxPulls {
		state.want(peer.ID(fmt.Sprint(i)), true, now)
	}
	started := state.due(now)
	if len(started) != maxPulls || len(state.due(now)) != 0 {
		t.Fatalf("%d started; want %d at once", len(started), maxPulls)
	}
	for _, tt := range []struct {
		name   string
		wanted bool // it was connected just now
		end    pulled
		again  time.Duration // by itself; 0: not
		next   time.Duration // when it may be asked again
	}{
		{"a small book of a new peer", true, pulled{took: syncReport{Offers: 9}}, meshTime, pullSoon},
		{"the same, once in the mesh", false, pulled{took: syncReport{Offers: 9}}, 0, pullSoon},
		{"a large book", true, pulled{took: syncReport{Offers: smallBook + 1}}, 0, pullEvery},
		{"a hostile peer", true, pulled{err: errSyncHostile}, 0, pullEvery},
	} {
		entry := state.peers[started[0]]
		*entry = pull{running: true, fresh: tt.wanted}
		tt.end.peer = started[0]
		s.finished(&state, tt.end)
		state.running++ // for the next case
		near := func(what string, got time.Time, want time.Duration) {
			if d := time.Until(got); want == 0 && !got.IsZero() || want > 0 && (d > want || d < want-time.Second) {
				t.Errorf("%s: %s in %s; want %s", tt.name, what, d, want)
			}
		}
		near("asked again", entry.due, tt.again)
		near("may be asked", entry.next, tt.next)
		*entry = pull{next: entry.next, running: true}
		state.want(started[0], true, time.Now())
		near("connected again, asked", entry.due, tt.next)
	}
	// One fails: it is tried again, later each time, and then left.
	p := state.peers[started[1]]
	for i := range pullTries {
		p.running, p.due = true, time.Time{}
		s.finished(&state, pulled{peer: started[1], err: io.ErrUnexpectedEOF})
		if i == pullTries-1 {
			break
		}
		if wait, least := time.Until(p.due), pullRetry<<i/2; wait < least-time.Second || wait > 3*least {
			t.Errorf("failure %d: again in %s; want %s to %s", i+1, wait, least, 3*least)
		}
	}
	if !p.due.IsZero() {
		t.Error("still tried after the last time")
	}
	state.forget(func(peer.ID) bool { return false })
	for p, e := range state.peers {
		if !e.running {
			t.Errorf("peer %s is still known", p)
		}
	}
}

// A peer that sends no end to its book is left at the deadline or with Run.
func TestSyncSilentPeer(t *testing.T) {
	n := startNode(t, nil)
	silent := network.NewStreams(networktest.Loopback(t, networktest.NewKey(t)), slog.New(slog.DiscardHandler))
	asked := make(chan struct{}, 1)
	stop := silent.Handle(t.Context(), network.SyncProtocol, network.SyncLimits, func(ctx context.Context, st p2pnet.Stream) error {
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	defer stop()
	if err := silent.Host.Connect(t.Context(), n.reach()); err != nil {
		t.Fatal(err)
	}
	<-asked
	n.stop() // checks that Run ends in time
}

func FuzzSyncPages(f *testing.F) {
	good := sealOffer(f, networktest.NewKey(f), offerOf("CPU", 1))
	f.Add(page(f, good))
	f.Add(page(f, good, nil, good[:9]))
	f.Add(append(page(f), 0xff, 0xff, 0xff, 0xff, 0x7f))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newTestSyncer()
		took, err := s.read(bytes.NewReader(b), unheard)
		if took.Added > took.Offers || took.Added != s.cfg.Book.Len() || took.Offers > len(b) {
			t.Errorf("%+v of %d bytes, book of %d, %v", took, len(b), s.cfg.Book.Len(), err)
		}
		// What was taken in can be given on, and is then the same.
		var out bytes.Buffer
		if err := writeBook(&out, s.cfg.Book.Offers(), time.Now); err != nil {
			t.Fatal(err)
		}
		if again, err := newTestSyncer().read(&out, unheard); err != nil || again.Added != took.Added {
			t.Errorf("given on: %+v, %v; want %d", again, err, took.Added)
		}
	})
}

func FuzzSyncRequest(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{2, 8, 5})
	f.Add([]byte{7, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		var req, again syncv1.SyncRequest
		if err := wire.NewReader(bytes.NewReader(b), network.MaxSyncRequestBytes).Read(&req); err != nil {
			return
		}
		out, err := proto.Marshal(&req)
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(out, &again); err != nil || !proto.Equal(&req, &again) {
			t.Errorf("%v became %v, %v", &req, &again, err)
		}
	})
}

// The payload is signed, so that what is behind the signature is reached.
func FuzzRevocation(f *testing.F) {
	key := networktest.NewKey(f)
	f.Add([]byte{})
	f.Add([]byte{8, 1, 16, 1, 24, 1})
	f.Add([]byte{8, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31, 16, 9, 24, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31})
	f.Fuzz(func(t *testing.T, payload []byte) {
		book := NewBook(market.Config{}, time.Now)
		envelope := wire.Seal(key, souk.DomainRevoke, payload)
		if err := book.Revoke(payload); err == nil {
			t.Error("a revocation that nobody signed was taken")
		}
		if err := book.Revoke(envelope); err != nil {
			return
		}
		// It is in force, and known: the same is refused from now on.
		offer := offerOf("CPU", 1)
		offer.Epoch = 1
		if _, err := book.PutSnapshot(sealOffer(t, key, offer)); rejectReason(err) != market.Revoked {
			t.Errorf("an offer of the first epoch: %v; want it revoked", err)
		}
		if err := book.Revoke(envelope); err == nil {
			t.Error("taken twice")
		}
	})
}
