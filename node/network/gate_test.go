package network

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestStrangersShareRunStreams opens more run streams from keys without a lease
// than they may hold, and says nothing on them: who has a lease still attaches.
func TestStrangersShareRunStreams(t *testing.T) {
	g := &gate{lim: RunLimits, perPeer: map[peer.ID]int{}}
	g.lim.Known = func(p peer.ID) bool { return p == "client" }
	var leaves []func()
	for i := range 4 * RunLimits.PerPeer {
		if leave, reason := g.enter(peer.ID("stranger " + string(rune('a'+i%4)))); reason == "" {
			leaves = append(leaves, leave)
		}
	}
	if len(leaves) != RunLimits.Strangers {
		t.Errorf("strangers hold %d run streams, at most %d", len(leaves), RunLimits.Strangers)
	}
	for i := range RunLimits.PerPeer + 1 {
		leave, reason := g.enter("client")
		if (reason == "") != (i < RunLimits.PerPeer) {
			t.Errorf("stream %d of a client: %q", i, reason)
		}
		if leave != nil {
			leaves = append(leaves, leave)
		}
	}
	for _, leave := range leaves {
		leave()
	}
	if g.total != 0 || g.strangers != 0 || len(g.perPeer) != 0 {
		t.Errorf("after all left there are %d, %d strangers, %d peers", g.total, g.strangers, len(g.perPeer))
	}
}
