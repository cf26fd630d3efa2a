package network

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/souk-market/souk"
)

const (
	// connLow and connHigh are where the connection manager stops and starts
	// closing the connections that are worth least. A mesh needs a dozen.
	connLow, connHigh = 96, 160
	// connGrace is how long a new connection is left alone: long enough to
	// identify itself and to be protected.
	connGrace = 20 * time.Second
	// dialTimeout bounds one dial of all of a peer's addresses.
	dialTimeout = 10 * time.Second
)

// ErrPeer is returned for a peer id that is not an Ed25519 identity: no other
// kind can sign souk's messages.
var ErrPeer = errors.New("not the id of an Ed25519 key")

// HostConfig holds what a libp2p host needs.
type HostConfig struct {
	Key       ed25519.PrivateKey // the node's identity
	Listen    []string           // multiaddresses; default: any port of every interface, QUIC and TCP
	Transport libp2p.Option      // how to dial and listen; default QUIC v1 and TCP, a simulation brings its own
}

// NewHost opens a libp2p host that listens at once. Whoever called closes it.
//
// Nothing in it tries to be reached from behind a NAT, and it asks no peer what
// its address is.
func NewHost(cfg HostConfig) (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	if len(cfg.Listen) == 0 {
		cfg.Listen = []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/udp/0/quic-v1", "/ip6/::/tcp/0"}
	}
	if cfg.Transport == nil {
		cfg.Transport = libp2p.ChainOptions(libp2p.Transport(quic.NewTransport), libp2p.Transport(tcp.NewTCPTransport))
	}
	resources, err := newResourceManager()
	if err != nil {
		return nil, fmt.Errorf("resource manager: %w", err)
	}
	conns, err := connmgr.NewConnManager(connLow, connHigh, connmgr.WithGracePeriod(connGrace))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connection manager: %w", err), resources.Close())
	}
	h, err := libp2p.New(
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(cfg.Listen...),
		cfg.Transport,
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(conns),
		libp2p.UserAgent("souk"),
		libp2p.WithDialTimeout(dialTimeout),
		libp2p.DisableRelay(),
		libp2p.ForceReachabilityPublic(), // no autonat client
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.DisableMetrics(), // they would go to a global registry
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("libp2p host: %w", err), resources.Close(), conns.Close())
	}
	return h, nil
}

// newResourceManager limits what all peers together, and each one alone, can
// make this node hold: connections, streams, memory, file descriptors. Limits
// grow with the machine. Connections of one address prefix are capped, so that
// who has one network cannot be most of our peers; a laboratory behind one
// address still fits.
func newResourceManager() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()), rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: 16}, {PrefixLength: 24, ConnCount: 48}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: 16}, {PrefixLength: 48, ConnCount: 48}}))
}

// PeerKey is the node key inside a peer id, or [ErrPeer].
func PeerKey(p peer.ID) (k souk.NodeKey, err error) {
	pub, err := p.ExtractPublicKey()
	if err != nil || pub.Type() != crypto.Ed25519 {
		return k, fmt.Errorf("peer %q: %w", p, ErrPeer)
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != len(k) || !p.MatchesPublicKey(pub) {
		return k, fmt.Errorf("peer %q: %w", p, ErrPeer)
	}
	return souk.NodeKey(raw), nil
}

// PeerID is the peer id of a node key.
func PeerID(k souk.NodeKey) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(k[:])
	if err != nil {
		return "", fmt.Errorf("node key %s: %w", k, err)
	}
	p, err := peer.IDFromPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("node key %s: %w", k, err)
	}
	return p, nil
}
