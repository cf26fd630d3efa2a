package network

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
)

func TestPeerKey(t *testing.T) {
	key := hostKey(t)
	want := souk.NodeKey(key.Public().(ed25519.PublicKey))
	p, err := PeerID(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := PeerKey(p); err != nil || got != want {
		t.Errorf("peerKey(PeerID(%s)) = %s, %v", want, got, err)
	}
	if h := testHost(t, key); h.ID() != p {
		t.Errorf("host id %s; want %s", h.ID(), p)
	}
	secp, err := peer.Decode("16Uiu2HAmTYkHhBmvg5SXSzMSAsaxYmmTWfXFqJLYq1xqA5tyuQCR")
	if err != nil {
		secp = "\x00\x02\x08\x02"
	}
	for name, p := range map[string]peer.ID{
		"empty":        "",
		"hashed":       "\x12\x20" + peer.ID(want[:]),
		"short":        p[:len(p)-1],
		"long":         p + "\x00",
		"other curve":  secp,
		"extra field":  "\x00\x26" + p[2:] + "\x18\x00",
		"not a digest": "souk",
	} {
		if got, err := PeerKey(p); !errors.Is(err, ErrPeer) {
			t.Errorf("%s: peerKey = %s, %v; want ErrPeer", name, got, err)
		}
	}
}

// hostKey and testHost are what networktest has for the packages above: it
// imports this one, whose own tests so cannot import it.
func hostKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testHost(t testing.TB, key ed25519.PrivateKey) host.Host {
	t.Helper()
	h, err := NewHost(HostConfig{Key: key, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}
