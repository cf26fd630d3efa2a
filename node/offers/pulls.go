package offers

import (
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// pulls is what Run knows of the peers it asks.
type pulls struct {
	peers   map[peer.ID]*pull
	running int
}

// pull is the asking of one peer.
type pull struct {
	due     time.Time // when to ask; zero: not wanted
	next    time.Time // not before; zero: at once
	fresh   bool      // it is not in the mesh for long
	tries   int
	running bool
}

// want makes p due as soon as it may be asked. A fresh peer was just connected.
func (s *pulls) want(p peer.ID, fresh bool, now time.Time) {
	entry := s.peers[p]
	if entry == nil {
		entry = &pull{}
		s.peers[p] = entry
	}
	entry.fresh = entry.fresh || fresh
	due := now
	if entry.next.After(now) {
		due = entry.next
	}
	if entry.due.IsZero() || due.Before(entry.due) {
		entry.due = due
	}
}

// due starts those whose time has come, at most maxPulls at once.
func (s *pulls) due(now time.Time) (start []peer.ID) {
	for p, entry := range s.peers {
		if s.running == maxPulls {
			break
		}
		if entry.running || entry.due.IsZero() || entry.due.After(now) {
			continue
		}
		entry.running, entry.due = true, time.Time{}
		s.running++
		start = append(start, p)
	}
	return start
}

// pick chooses one known peer at random.
func (s *pulls) pick(r *rand.Rand) (peer.ID, bool) {
	if len(s.peers) == 0 {
		return "", false
	}
	n := r.IntN(len(s.peers))
	for p := range s.peers {
		if n == 0 {
			return p, true
		}
		n--
	}
	return "", false
}

// forget drops peers that are not connected.
func (s *pulls) forget(connected func(peer.ID) bool) {
	for p, entry := range s.peers {
		if !entry.running && !connected(p) {
			delete(s.peers, p)
		}
	}
}
