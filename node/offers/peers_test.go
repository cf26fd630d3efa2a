package offers

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"go.uber.org/goleak"
)

// memory is a record of peers.
type memory struct {
	mu    sync.Mutex // guards infos
	infos []peer.AddrInfo
}

func (m *memory) load() ([]peer.AddrInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.infos), nil
}

func (m *memory) save(infos []peer.AddrInfo) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.infos = infos
	return nil
}

func (m *memory) knows(p peer.ID) bool {
	infos, _ := m.load()
	return slices.ContainsFunc(infos, func(i peer.AddrInfo) bool { return i.ID == p && len(i.Addrs) > 0 })
}

func connected(n *netNode, p peer.ID) func() bool {
	return func() bool { return n.Host.Network().Connectedness(p) == p2pnet.Connected }
}

// The daemons of a market start in any order, and come and go.
func TestPeersRedial(t *testing.T) {
	key := networktest.NewKey(t)
	h := networktest.Loopback(t, key)
	first := peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}
	h.Close()
	n := startNode(t, func(c *network.PeersConfig) { c.Bootstrap = []peer.AddrInfo{first} })
	for range 2 { // it starts late, and again after it went away
		h = networktest.Loopback(t, key, first.Addrs[0].String())
		networktest.Eventually(t, "the bootstrap peer", connected(n, h.ID()))
		h.Close()
		networktest.Eventually(t, "its end", func() bool { return !connected(n, first.ID)() })
	}
}

// A node finds the peers it remembers without being told of one, and a peer
// that is not of souk is not remembered.
func TestPeersRemember(t *testing.T) {
	mem := new(memory)
	a := startNode(t, nil)
	stranger := networktest.Loopback(t, networktest.NewKey(t))
	b := startNode(t, func(c *network.PeersConfig) {
		c.Bootstrap = []peer.AddrInfo{a.reach(), {ID: stranger.ID(), Addrs: stranger.Addrs()}}
		c.Load, c.Save = mem.load, mem.save
	})
	networktest.Eventually(t, "both peers", func() bool { return connected(b, a.Host.ID())() && connected(b, stranger.ID())() })
	networktest.Eventually(t, "a record of the peer", func() bool { return mem.knows(a.Host.ID()) })
	b.stop()
	if mem.knows(stranger.ID()) {
		t.Error("a peer that does not speak our protocols is remembered")
	}
	again := startNode(t, func(c *network.PeersConfig) { c.Load, c.Save = mem.load, mem.save })
	networktest.Eventually(t, "the remembered peer", connected(again, a.Host.ID()))
}

func TestPeersLoadFails(t *testing.T) {
	broken := errors.New("broken")
	ps := network.NewPeers(network.PeersConfig{Host: networktest.Loopback(t, networktest.NewKey(t)), Load: func() ([]peer.AddrInfo, error) { return nil, broken },
		Rand: rand.New(rand.NewPCG(1, 4)), Log: slog.New(slog.DiscardHandler)})
	if err := ps.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run: %v; want %v", err, broken)
	}
}

func TestConnect(t *testing.T) {
	a, b := startNode(t, nil), startNode(t, nil)
	rtt, err := a.peers.Connect(t.Context(), b.Host.ID(), b.Host.Addrs())
	if err != nil || rtt <= 0 || rtt > 5*time.Second {
		t.Errorf("Connect = %s, %v", rtt, err)
	}
	if _, err := a.peers.Connect(t.Context(), b.Host.ID(), nil); err != nil {
		t.Errorf("Connect again: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.peers.Connect(ctx, peerOf(t), b.Host.Addrs()); err == nil {
		t.Error("connected to nobody")
	}
}

// Nodes on one local network need no bootstrap address.
func TestPeersFindEachOther(t *testing.T) {
	if !multicast(t) {
		t.Skip("no multicast on this machine")
	}
	edit := func(c *network.PeersConfig) { c.MDNS = true }
	a, b := startNode(t, edit), startNode(t, edit)
	networktest.Eventually(t, "the peer on the same network", connected(a, b.Host.ID()))
}

// multicast tells whether this machine hears what it sends to a group.
func multicast(t *testing.T) bool {
	t.Helper()
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 53535}
	in, err := net.ListenMulticastUDP("udp4", nil, group)
	if err != nil {
		return false
	}
	defer in.Close()
	out, err := net.DialUDP("udp4", nil, group)
	if err != nil {
		return false
	}
	defer out.Close()
	in.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := out.Write([]byte("souk")); err != nil {
		return false
	}
	_, err = in.Read(make([]byte, 16))
	return err == nil
}

// Two nodes trade offers; once both have ended nothing of them is left.
func TestRunLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	edit := func(c *network.PeersConfig) { c.MDNS = true }
	a, b := startNode(t, edit), startNode(t, edit)
	defer a.stop()
	defer b.stop()
	b.connect(t, a)
	a.publish(t, "CPU", 1)
	networktest.Eventually(t, "the offer", func() bool { return b.book.Len() == 1 })
	// The last word of a node that stops is heard.
	b.meshed(t, revokeTopic, a.Host)
	gone := seal(t, a.key, souk.DomainRevoke, &marketv1.Revocation{Epoch: offerOf("X", 1).Epoch, Sequence: 1, IssuedMs: time.Now().UnixMilli()})
	if err := a.gossip.PublishRevocation(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	a.stop()
	networktest.Eventually(t, "the end of the offer", func() bool { return b.book.Len() == 0 })
	b.stop()
}

// peerOf is the id of a peer that nobody runs.
func peerOf(t *testing.T) peer.ID {
	t.Helper()
	p, err := network.PeerID(souk.NodeKey(networktest.NewKey(t)[32:]))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
