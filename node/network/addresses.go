package network

import (
	"fmt"

	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// ParseBootstrap reads multiaddresses that end in /p2p/ and a peer id; those of
// one peer become one entry.
func ParseBootstrap(addrs []string) ([]peer.AddrInfo, error) {
	parsed := make([]ma.Multiaddr, 0, len(addrs))
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("bootstrap address %q: %w", s, err)
		}
		if _, id := peer.SplitAddr(a); id == "" {
			return nil, fmt.Errorf("bootstrap address %q: it must end in /p2p/ and a peer id", s)
		} else if _, err := PeerKey(id); err != nil {
			return nil, fmt.Errorf("bootstrap address %q: %w", s, err)
		}
		parsed = append(parsed, a)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(parsed...)
	if err != nil {
		return nil, fmt.Errorf("bootstrap addresses: %w", err)
	}
	return infos, nil
}

// ParseAddrs reads the addresses of an offer; those that this node cannot read,
// or that name another peer, are left out.
func ParseAddrs(p peer.ID, addrs []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			continue
		}
		transport, id := peer.SplitAddr(a)
		if transport == nil || id != "" && id != p {
			continue
		}
		out = append(out, transport)
	}
	return out
}

// dialable is where p can be reached: what we dialled, and where it says that
// it listens.
func dialable(h host.Host, p peer.ID, c network.Conn) []ma.Multiaddr {
	var addrs []ma.Multiaddr
	if c != nil && c.Stat().Direction == network.DirOutbound {
		addrs = append(addrs, c.RemoteMultiaddr())
	}
	for _, a := range h.Peerstore().Addrs(p) {
		if !ma.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs[:min(len(addrs), maxAddresses)]
}

// Shareable lists the addresses that an offer names: at most eight, loopback
// only where there is nothing else.
func Shareable(h host.Host) []string {
	var far, near []string
	for _, a := range h.Addrs() {
		if manet.IsIPLoopback(a) {
			near = append(near, a.String())
		} else {
			far = append(far, a.String())
		}
	}
	return append(far, near...)[:min(8, len(far)+len(near))]
}
