package node

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
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

// Whatever multicast and peers tell, what is kept stays bounded, and what the
// owner wrote stays as it is.
func TestPeersBounds(t *testing.T) {
	own := peer.AddrInfo{ID: peerOf(t), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}}
	h := loopback(t, newKey(t))
	r := &peersRun{peers: newPeers(peersConfig{Host: h, Bootstrap: []peer.AddrInfo{own}}), targets: map[peer.ID]*target{}}
	r.aim(target{info: own, bootstrap: true})
	many := slices.Repeat([]ma.Multiaddr{ma.StringCast("/ip4/192.0.2.2/tcp/2")}, 100)
	for range 2 * (maxRemembered + maxFound) {
		r.aim(target{info: peer.AddrInfo{ID: peerOf(t), Addrs: many}, local: true})
	}
	r.aim(target{info: peer.AddrInfo{ID: own.ID, Addrs: many}, local: true})
	r.aim(target{info: peer.AddrInfo{ID: "no key", Addrs: many}})
	r.aim(target{info: peer.AddrInfo{ID: h.ID(), Addrs: many}})
	if n := len(r.targets); n != 1+maxRemembered+maxFound {
		t.Errorf("%d targets; want %d", n, 1+maxRemembered+maxFound)
	}
	for id, kept := range r.targets {
		if len(kept.info.Addrs) > maxAddresses {
			t.Errorf("%d addresses of one peer", len(kept.info.Addrs))
		}
		if id == own.ID && !kept.info.Addrs[0].Equal(own.Addrs[0]) {
			t.Errorf("the bootstrap peer is now at %s", kept.info.Addrs[0])
		}
	}
}

func peerOf(t *testing.T) peer.ID {
	t.Helper()
	p, err := keyPeer(souk.NodeKey(newKey(t)[32:]))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRedialWait(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	want := redialFirst
	for failures := 1; failures < 100; failures++ {
		for range 20 {
			if got := redialWait(failures, r); got < want/2 || got > want {
				t.Fatalf("after %d failures %s; want %s to %s", failures, got, want/2, want)
			}
		}
		want = min(2*want, redialLast)
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

func TestParseAddresses(t *testing.T) {
	p, other := peerOf(t).String(), peerOf(t).String()
	infos, err := parseBootstrap([]string{"/ip4/192.0.2.1/tcp/1/p2p/" + p, "/dns4/souk.example/udp/2/quic-v1/p2p/" + p, "/ip4/192.0.2.3/tcp/3/p2p/" + other})
	if err != nil || len(infos) != 2 || len(infos[0].Addrs)+len(infos[1].Addrs) != 3 {
		t.Errorf("parseBootstrap = %v, %v", infos, err)
	}
	for _, bad := range []string{"", "souk.example:1", "/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} {
		if _, err := parseBootstrap([]string{bad}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("parseBootstrap(%q): %v; want an error that names it", bad, err)
		}
	}
	id, _ := peer.Decode(p)
	got := parseAddrs(id, []string{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/2/p2p/" + p, "/ip4/192.0.2.1/tcp/3/p2p/" + other, "nonsense", "/p2p/" + p})
	if len(got) != 2 || got[1].String() != "/ip4/192.0.2.1/tcp/2" {
		t.Errorf("parseAddrs = %v", got)
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
