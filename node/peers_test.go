package node

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

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
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
	return func() bool { return n.host.Network().Connectedness(p) == network.Connected }
}

// The daemons of a market start in any order, and come and go.
func TestPeersRedial(t *testing.T) {
	key := newKey(t)
	h := loopback(t, key)
	first := peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}
	h.Close()
	n := startNode(t, func(c *peersConfig) { c.Bootstrap = []peer.AddrInfo{first} })
	for range 2 { // it starts late, and again after it went away
		h = loopback(t, key, first.Addrs[0].String())
		eventually(t, "the bootstrap peer", connected(n, h.ID()))
		h.Close()
		eventually(t, "its end", func() bool { return !connected(n, first.ID)() })
	}
}

// A node finds the peers it remembers without being told of one, and a peer
// that is not of souk is not remembered.
func TestPeersRemember(t *testing.T) {
	mem := new(memory)
	a := startNode(t, nil)
	stranger := loopback(t, newKey(t))
	b := startNode(t, func(c *peersConfig) {
		c.Bootstrap = []peer.AddrInfo{a.reach(), {ID: stranger.ID(), Addrs: stranger.Addrs()}}
		c.Load, c.Save = mem.load, mem.save
	})
	eventually(t, "both peers", func() bool { return connected(b, a.host.ID())() && connected(b, stranger.ID())() })
	eventually(t, "a record of the peer", func() bool { return mem.knows(a.host.ID()) })
	b.stop()
	if mem.knows(stranger.ID()) {
		t.Error("a peer that does not speak our protocols is remembered")
	}
	again := startNode(t, func(c *peersConfig) { c.Load, c.Save = mem.load, mem.save })
	eventually(t, "the remembered peer", connected(again, a.host.ID()))
}

func TestPeersLoadFails(t *testing.T) {
	broken := errors.New("broken")
	ps := newPeers(peersConfig{Host: loopback(t, newKey(t)), Load: func() ([]peer.AddrInfo, error) { return nil, broken },
		Rand: rand.New(rand.NewPCG(1, 4)), Log: slog.New(slog.DiscardHandler)})
	if err := ps.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run: %v; want %v", err, broken)
	}
}

func TestConnect(t *testing.T) {
	a, b := startNode(t, nil), startNode(t, nil)
	rtt, err := a.peers.Connect(t.Context(), b.host.ID(), b.host.Addrs())
	if err != nil || rtt <= 0 || rtt > 5*time.Second {
		t.Errorf("Connect = %s, %v", rtt, err)
	}
	if _, err := a.peers.Connect(t.Context(), b.host.ID(), nil); err != nil {
		t.Errorf("Connect again: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.peers.Connect(ctx, peerOf(t), b.host.Addrs()); err == nil {
		t.Error("connected to nobody")
	}
}

// Nodes on one local network need no bootstrap address.
func TestPeersFindEachOther(t *testing.T) {
	if !multicast(t) {
		t.Skip("no multicast on this machine")
	}
	edit := func(c *peersConfig) { c.MDNS = true }
	a, b := startNode(t, edit), startNode(t, edit)
	eventually(t, "the peer on the same network", connected(a, b.host.ID()))
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
	edit := func(c *peersConfig) { c.MDNS = true }
	a, b := startNode(t, edit), startNode(t, edit)
	defer a.stop()
	defer b.stop()
	b.connect(t, a)
	a.publish(t, "CPU", 1)
	eventually(t, "the offer", func() bool { return b.book.Len() == 1 })
	// The last word of a node that stops is heard.
	b.meshed(t, revokeTopic, a.host)
	gone := seal(t, a.key, souk.DomainRevoke, &marketv1.Revocation{Epoch: offerOf("X", 1).Epoch, Sequence: 1, IssuedMs: time.Now().UnixMilli()})
	if err := a.gossip.PublishRevocation(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	a.stop()
	eventually(t, "the end of the offer", func() bool { return b.book.Len() == 0 })
	b.stop()
}
