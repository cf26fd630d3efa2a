package network

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/souk-market/souk"
)

// Whatever multicast and peers tell, what is kept stays bounded, and what the
// owner wrote stays as it is.
func TestPeersBounds(t *testing.T) {
	own := peer.AddrInfo{ID: PeerOf(t), Addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}}
	h := testHost(t, hostKey(t))
	r := &peersRun{Peers: NewPeers(PeersConfig{Host: h, Bootstrap: []peer.AddrInfo{own}}), targets: map[peer.ID]*target{}}
	r.aim(target{info: own, bootstrap: true})
	many := slices.Repeat([]ma.Multiaddr{ma.StringCast("/ip4/192.0.2.2/tcp/2")}, 100)
	for range 2 * (maxRemembered + maxFound) {
		r.aim(target{info: peer.AddrInfo{ID: PeerOf(t), Addrs: many}, local: true})
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

func PeerOf(t *testing.T) peer.ID {
	t.Helper()
	p, err := PeerID(souk.NodeKey(hostKey(t)[32:]))
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

func TestParseAddresses(t *testing.T) {
	p, other := PeerOf(t).String(), PeerOf(t).String()
	infos, err := ParseBootstrap([]string{"/ip4/192.0.2.1/tcp/1/p2p/" + p, "/dns4/souk.example/udp/2/quic-v1/p2p/" + p, "/ip4/192.0.2.3/tcp/3/p2p/" + other})
	if err != nil || len(infos) != 2 || len(infos[0].Addrs)+len(infos[1].Addrs) != 3 {
		t.Errorf("parseBootstrap = %v, %v", infos, err)
	}
	for _, bad := range []string{"", "souk.example:1", "/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} {
		if _, err := ParseBootstrap([]string{bad}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("parseBootstrap(%q): %v; want an error that names it", bad, err)
		}
	}
	id, _ := peer.Decode(p)
	got := ParseAddrs(id, []string{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/2/p2p/" + p, "/ip4/192.0.2.1/tcp/3/p2p/" + other, "nonsense", "/p2p/" + p})
	if len(got) != 2 || got[1].String() != "/ip4/192.0.2.1/tcp/2" {
		t.Errorf("parseAddrs = %v", got)
	}
}
