package market

import (
	"time"

	"github.com/souk-market/souk"
)

// Limiter gives each key tokens at a steady pace, up to a burst. It remembers
// a bounded number of keys: at the bound, the one first seen is forgotten.
type Limiter struct {
	every time.Duration
	burst int
	max   int
	keys  map[souk.NodeKey]time.Time // when the key's bucket will be full again
	order []souk.NodeKey             // by first use, for forgetting
}

// NewLimiter lets each key act burst times at once and then once in every. It
// remembers at most max keys.
func NewLimiter(every time.Duration, burst, max int) *Limiter {
	return &Limiter{every: every, burst: burst, max: max, keys: map[souk.NodeKey]time.Time{}}
}

// Allow takes a token of k and returns 0, or returns how long k must wait for one.
func (l *Limiter) Allow(now time.Time, k souk.NodeKey) (wait time.Duration) {
	full, known := l.keys[k]
	if !known || full.Before(now) {
		full = now
	}
	// A bucket lacks one token for each pause that its refill still needs.
	full = full.Add(l.every)
	if wait = full.Sub(now) - time.Duration(l.burst)*l.every; wait > 0 {
		return wait
	}
	if !known {
		if len(l.order) >= l.max {
			delete(l.keys, l.order[0])
			l.order = l.order[1:]
		}
		l.order = append(l.order, k)
	}
	l.keys[k] = full
	return 0
}

// Forget drops the keys whose bucket is full: they are as good as unseen.
func (l *Limiter) Forget(now time.Time) {
	kept := make([]souk.NodeKey, 0, len(l.order))
	for _, k := range l.order {
		if l.keys[k].After(now) {
			kept = append(kept, k)
		} else {
			delete(l.keys, k)
		}
	}
	l.order = kept
}
