package offers

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// netNode is the network part of a node, as node.New would wire it.
type netNode struct {
	key     ed25519.PrivateKey
	Host    host.Host
	streams *network.Streams
	book    *Book
	gossip  *Gossip
	sync    *Syncer
	clocks  *Clocks
	peers   *network.Peers
	traffic *traffic
	stop    func() // ends Run, waits, closes the host; may be called again
}

// startNode runs a node on a loopback host until the test ends. Changes to its
// peers' configuration are made by edit.
func startNode(t testing.TB, edit func(*network.PeersConfig)) *netNode {
	t.Helper()
	return startNodeAt(t, time.Now, edit)
}

// startNodeAt is startNode by the clock now.
func startNodeAt(t testing.TB, now func() time.Time, edit func(*network.PeersConfig)) *netNode {
	t.Helper()
	n := &netNode{key: networktest.NewKey(t), traffic: new(traffic)}
	n.Host = networktest.Loopback(t, n.key)
	log := slog.New(slog.DiscardHandler)
	n.streams = network.NewStreams(n.Host, log)
	n.book = NewBook(market.Config{}, now)
	n.clocks = NewClocks(log)
	n.gossip = NewGossip(GossipConfig{Host: n.Host, Book: n.book, Log: log, Tracer: n.traffic})
	n.sync = NewSyncer(SyncConfig{Host: n.Host, Streams: n.streams, Book: n.book, Gossip: n.gossip, Clocks: n.clocks, Rand: rand.New(rand.NewPCG(1, 1)), Log: log})
	cfg := network.PeersConfig{Host: n.Host, OnConnect: n.sync.Want, Rand: rand.New(rand.NewPCG(1, 2)), Log: log}
	if edit != nil {
		edit(&cfg)
	}
	n.peers = network.NewPeers(cfg)

	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{n.book.Run, n.gossip.Run, n.sync.Run, n.peers.Run} {
		g.Go(func() error { return run(ctx) })
	}
	var stopped atomic.Bool
	n.stop = func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		began := time.Now()
		if err := g.Wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("Run took %s to end", took)
		}
		n.Host.Close()
	}
	t.Cleanup(n.stop)
	return n
}

// reach is how others find n.
func (n *netNode) reach() peer.AddrInfo { return peer.AddrInfo{ID: n.Host.ID(), Addrs: n.Host.Addrs()} }

// connect dials other from n.
func (n *netNode) connect(t testing.TB, others ...*netNode) {
	t.Helper()
	for _, o := range others {
		if _, err := n.peers.Connect(t.Context(), o.Host.ID(), o.Host.Addrs()); err != nil {
			t.Fatal(err)
		}
	}
}

// meshed waits until n has others in its mesh of topic.
func (n *netNode) meshed(t testing.TB, topic string, others ...host.Host) {
	t.Helper()
	networktest.Eventually(t, "the mesh of "+topic, func() bool {
		for _, o := range others {
			if !n.traffic.inMesh(topic, o.ID()) {
				return false
			}
		}
		return true
	})
}

// offerOf is a good offer of class.
func offerOf(class string, sequence uint64) *marketv1.Offer {
	now := time.Now()
	return &marketv1.Offer{
		Class: class, Epoch: 1_700_000_000_000, Sequence: sequence,
		IssuedMs: now.UnixMilli(), ExpiresMs: now.Add(30 * time.Minute).UnixMilli(),
		Model: "NVIDIA " + class, MemoryBytes: 24 << 30, ComputeCap: 89, Count: 2, Free: 1, PriceAtomsPerHour: 400_000,
		Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, Evidence: marketv1.Evidence_EVIDENCE_NONE,
		CpuMilli: 4000, RamBytes: 8 << 30, DiskBytes: 10 << 30, Addresses: []string{"/ip4/127.0.0.1/udp/4001/quic-v1"},
	}
}

func seal(t testing.TB, key ed25519.PrivateKey, d souk.Domain, m proto.Message) []byte {
	t.Helper()
	payload, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Seal(key, d, payload)
}

func sealOffer(t testing.TB, key ed25519.PrivateKey, o *marketv1.Offer) []byte {
	t.Helper()
	return seal(t, key, souk.DomainOffer, o)
}

// publish sends an offer of n.
func (n *netNode) publish(t testing.TB, class string, sequence uint64) {
	t.Helper()
	if err := n.gossip.PublishOffer(t.Context(), class, sealOffer(t, n.key, offerOf(class, sequence))); err != nil {
		t.Fatal(err)
	}
}

// rogue is a peer that checks nothing of what it sends.
type rogue struct {
	host   host.Host
	topics map[string]*pubsub.Topic
}

func startRogue(t testing.TB, to *netNode) *rogue {
	t.Helper()
	r := &rogue{host: networktest.Loopback(t, networktest.NewKey(t)), topics: map[string]*pubsub.Topic{}}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, r.host, (&Gossip{}).options()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range gossipTopics() {
		topic, err := ps.Join(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topic.Relay(); err != nil {
			t.Fatal(err)
		}
		r.topics[name] = topic
	}
	if err := r.host.Connect(t.Context(), to.reach()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rogue) send(t testing.TB, topic string, data []byte) {
	t.Helper()
	if err := r.topics[topic].Publish(t.Context(), data); err != nil {
		t.Fatal(err)
	}
}
