package offers

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/market"
)

// maxClocks bounds the peers whose clocks are remembered: the median of as many
// says enough.
const maxClocks = 64

// Clocks compares this node's clock with those of the peers whose books it took.
// A node whose clock is wrong refuses every offer as over or not begun, and its
// market looks empty: this tells the two apart. Nothing is set or refused by it,
// so peers that lie about their clocks can only have it say something foolish.
type Clocks struct {
	log *slog.Logger

	mu    sync.Mutex // guards what follows
	ahead map[peer.ID]time.Duration
	wrong bool // what the log said last
}

// NewClocks has seen no peer yet.
func NewClocks(log *slog.Logger) *Clocks {
	return &Clocks{log: log, ahead: map[peer.ID]time.Duration{}}
}

// saw notes that our clock showed now when a message came in which p's clock
// showed theirs. Its way here makes us seem ahead by a moment: clocks count as
// different from [market.Skew].
func (c *Clocks) saw(p peer.ID, theirs, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.ahead[p]; !known && len(c.ahead) >= maxClocks {
		for other := range c.ahead {
			delete(c.ahead, other)
			break
		}
	}
	c.ahead[p] = now.Sub(theirs)
	ahead, peers := c.median()
	if wrong := ahead.Abs() > market.Skew; wrong != c.wrong {
		c.wrong = wrong
		if wrong {
			c.log.Warn("this machine's clock is not that of its peers: set it, or no offer holds", "ahead", ahead.Round(time.Second), "peers", peers)
		} else {
			c.log.Info("this machine's clock is that of its peers", "peers", peers)
		}
	}
}

// Difference is how far our clock is ahead of its peers', the median over those
// that said; negative: behind.
func (c *Clocks) Difference() (ahead time.Duration, peers int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.median()
}

// median is difference; the caller holds mu. Of two in the middle it takes the one
// nearer to ours: a doubt is not an alarm.
func (c *Clocks) median() (ahead time.Duration, peers int) {
	all := make([]time.Duration, 0, len(c.ahead))
	for _, d := range c.ahead {
		all = append(all, d)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0, 0
	}
	switch low, high := all[(len(all)-1)/2], all[len(all)/2]; {
	case low < 0 && high > 0:
		return 0, len(all)
	case low.Abs() < high.Abs():
		return low, len(all)
	default:
		return high, len(all)
	}
}
