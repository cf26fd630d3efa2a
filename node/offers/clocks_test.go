package offers

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/node/network/networktest"
)

func TestClocks(t *testing.T) {
	const hour = time.Hour
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		ahead []time.Duration // of ours before each peer's
		want  time.Duration
	}{
		{"nobody", nil, 0},
		{"one", []time.Duration{hour}, hour},
		{"behind", []time.Duration{-hour}, -hour},
		{"most decide", []time.Duration{0, hour, time.Second}, time.Second},
		{"two that differ", []time.Duration{hour, 0}, 0},
		{"two that differ the other way", []time.Duration{-hour, 0}, 0},
		{"two on either side", []time.Duration{-hour, hour}, 0},
		{"two liars of five", []time.Duration{-50 * hour, 70 * hour, 0, 0, 0}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := NewClocks(slog.New(slog.DiscardHandler))
			for i, d := range tt.ahead {
				p := peer.ID(fmt.Sprint(i))
				c.saw(p, now.Add(7*hour), now) // what a peer says later counts
				c.saw(p, now.Add(-d), now)
			}
			if got, peers := c.Difference(); got != tt.want || peers != len(tt.ahead) {
				t.Errorf("difference = %s of %d peers; want %s", got, peers, tt.want)
			}
		})
	}
	c := NewClocks(slog.New(slog.DiscardHandler))
	for i := range 3 * maxClocks {
		c.saw(peer.ID(fmt.Sprint(i)), now, now)
	}
	if _, peers := c.Difference(); peers != maxClocks {
		t.Errorf("%d clocks are remembered; want %d", peers, maxClocks)
	}
}

// A node whose clock is wrong by an hour takes no offer, and knows why; those
// whose clocks are right are not misled by it.
func TestWrongClock(t *testing.T) {
	hub := startNode(t, nil)
	right := startNode(t, nil)
	hub.publish(t, "CPU", 1)
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		wrong := startNodeAt(t, func() time.Time { return time.Now().Add(off) }, nil)
		wrong.connect(t, hub, right)
		networktest.Eventually(t, "word of both clocks", func() bool {
			ahead, peers := wrong.clocks.Difference()
			return peers == 2 && (ahead-off).Abs() < 10*time.Second
		})
		if n := wrong.book.Len(); n != 0 {
			t.Errorf("off by %s: %d offers in the book", off, n)
		}
	}
	right.connect(t, hub)
	networktest.Eventually(t, "word of three clocks", func() bool { _, peers := right.clocks.Difference(); return peers == 3 })
	if ahead, _ := right.clocks.Difference(); ahead.Abs() > 10*time.Second {
		t.Errorf("the right clock is said to be %s ahead", ahead)
	}
}
