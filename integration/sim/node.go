package sim

import (
	"crypto/ed25519"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
)

// maxSkew is how far a node's clock may be off, either way: two of them stay
// within the skew that the cores forgive.
const maxSkew = 10 * time.Second

// resyncEvery is the pause between two exchanges of books with a peer.
const resyncEvery = 5 * time.Minute

// node is one virtual machine with its clock, book and roles.
type node struct {
	w        *world
	index    int
	key      ed25519.PrivateKey
	id       souk.NodeKey
	skew     time.Duration // of its clock
	up       bool
	upSince  time.Duration
	life     int           // counts starts: a timer of an earlier life is void
	cutUntil time.Duration // no message comes or goes before
	book     *market.Book
	provider *provider // nil: does not provide
	client   *client   // nil: submits no jobs
	last     record
}

func newNode(w *world, i int) *node {
	seed := w.digest("node %d", i)
	n := &node{w: w, index: i, key: ed25519.NewKeyFromSeed(seed[:]), skew: w.upTo(2*maxSkew) - maxSkew}
	n.id = souk.NodeKey(n.key.Public().(ed25519.PublicKey))
	return n
}

// now is what the node's clock shows.
func (n *node) now() time.Time { return epoch.Add(n.w.now + n.skew) }

// after sets a timer that a crash voids.
func (n *node) after(d time.Duration, kind string, do func()) {
	life := n.life
	n.w.after(d, kind, n, -1, func() {
		if n.up && n.life == life {
			do()
		}
	})
}

// at sets a timer by the node's clock.
func (n *node) at(t time.Time, kind string, do func()) { n.after(t.Sub(n.now()), kind, do) }

// plan repeats an event at random times until the faults are over.
func (n *node) plan(kind string, mean time.Duration, do func()) {
	wait := time.Duration(n.w.rng.ExpFloat64() * float64(mean)).Truncate(time.Millisecond)
	n.w.after(wait, kind, n, -1, func() {
		if !n.w.over {
			do()
			n.plan(kind, mean, do)
		}
	})
}

// reaches tells whether a message between the two would get through now.
func (n *node) reaches(to *node) bool {
	return n.up && to.up && n.w.now >= n.cutUntil && n.w.now >= to.cutUntil
}

// send delivers late, twice, out of order, or not at all. A message may reach a
// node that restarted since it was sent.
func (n *node) send(to *node, kind string, do func()) {
	w := n.w
	copies := 1
	if !w.calm {
		switch p := w.rng.Float64(); {
		case p < w.cfg.Loss:
			copies = 0
		case p < 2*w.cfg.Loss:
			copies = 2
		}
	}
	for range copies {
		delay := w.between(5*time.Millisecond, w.cfg.Delay/8)
		if w.chance(0.05) {
			delay = w.upTo(w.cfg.Delay)
		}
		w.after(delay, kind, to, n.index, func() {
			if n.w.now >= n.cutUntil && to.up && w.now >= to.cutUntil {
				do()
			}
		})
	}
}

// start begins a life of the node: its book is empty, its roles go on from what
// was durable.
func (n *node) start() {
	n.up, n.upSince = true, n.w.now
	n.life++
	n.book = market.NewBook(market.Config{})
	n.resync()
	n.sweep()
	if n.provider != nil {
		n.provider.start()
	}
	if n.client != nil {
		n.client.start()
	}
}

// fall takes the node down, now and then as its owner would.
func (n *node) fall() {
	if n.up && n.provider != nil && n.w.chance(0.3) {
		n.provider.stop()
		n.after(3*time.Second, "stopped", n.crash)
		return
	}
	n.crash()
}

// crash ends a life of the node: everything that was not durable is gone.
func (n *node) crash() {
	if !n.up {
		return
	}
	n.w.stats.Crashes++
	n.up = false
	if n.provider != nil {
		n.provider.crash()
	}
	if n.client != nil {
		n.client.crash()
	}
	n.w.after(n.w.between(time.Second, 2*time.Minute), "restart", n, -1, n.start)
}

// cut takes the node off the network for a while.
func (n *node) cut() {
	n.w.stats.Cuts++
	n.cutUntil = n.w.now + n.w.between(time.Second, 90*time.Second)
}

// resync takes the book of a random peer, now and then again.
func (n *node) resync() {
	peer := n.w.nodes[n.w.rng.IntN(len(n.w.nodes))]
	n.send(peer, "book request", func() {
		offers := peer.book.Offers(peer.now())
		peer.send(n, "book", func() {
			for _, o := range offers {
				n.book.Load(n.now(), o) // a refusal is an offer already known
			}
		})
	})
	n.after(n.w.between(resyncEvery/2, resyncEvery), "resync", n.resync)
}

// sweep lets time end offers and holds.
func (n *node) sweep() {
	n.book.Expire(n.now())
	n.after(time.Minute, "sweep", n.sweep)
}
