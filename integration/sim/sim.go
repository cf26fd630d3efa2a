// Package sim plays a whole market in one goroutine: the pure cores of market,
// scheduler and payment at many virtual nodes, under one queue of events ordered
// by (time, sequence), with a network that delays, reorders, repeats and loses,
// nodes that crash or are cut off, clients that do not pay and providers that
// overcharge.
//
// All chance comes from the seed, and no clock is read: the same [Config] gives
// the same [Report], hash included. After every event the promises that the
// event could have broken are checked; the first broken one ends the run as a
// [*BrokenError], which names the seed and the last events.
//
// What is real: offers are sealed and opened, receipts are hashed as EIP-712 and
// carry Ed25519 signatures of keys derived from the seed. What stands in: an
// offer is opened once for all nodes that hear it; orders, bids and leases
// travel as values between the cores, without envelopes; a voucher is its bare
// amount; the chain is a table of balances; a job is a span of time.
package sim

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/souk-market/souk"
)

// Config says what is played. A zero field takes its default.
type Config struct {
	Seed    uint64
	Nodes   int           // four of ten provide, seven of ten submit jobs; default 100, at least 10
	Length  time.Duration // how long jobs are submitted and faults happen; default 1h
	Loss    float64       // chance that a message is lost, and that it comes twice; default 0.02
	Delay   time.Duration // of a message at most; default 800ms
	Submit  time.Duration // mean time between two jobs of one client; default 8m
	Longest time.Duration // that a job may take; default 12m, at least 1m
	Crash   time.Duration // mean time between the crashes of one node; default 30m
	Cut     time.Duration // mean time between the times one node is cut off; default 20m
	Calm    bool          // nothing is lost, nobody crashes or cheats: everything must end well

	fault fault // what a test breaks on purpose
}

// fault is a bug put into the driver, to see that the checks find it.
type fault uint8

const (
	noFault         fault = iota
	leasesTwice           // a provider commits a lease past its floor
	neverPauses           // a provider lets unpaid runs go on
	paysTooMuch           // a client promises the whole reserve at once
	losesReceipt          // a client forgets a receipt that it countersigned
	sleepsThrough         // a client's timers never fire
	collectsNothing       // a restarted provider waits for a receipt over nothing, whatever its client says
	countsPending         // a deposit on its way backs every lease of its channel
	waitsForJob           // a provider waits for a job that never comes
	losesLease            // a provider now and then takes a lease and drives it no further
)

// epoch is when every simulation begins.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// drainFor bounds the time after Length in which everything must come to its end.
const drainFor = 3 * time.Hour

// world is a simulation in progress.
type world struct {
	cfg   Config
	rng   *rand.Rand
	now   time.Duration // since epoch
	q     queue
	seq   uint64
	still int       // events since time last moved
	over  bool      // no job is submitted any more
	calm  bool      // nothing goes wrong any more
	trace hash.Hash // over every event
	last  record    // of all nodes
	done  uint64    // events played
	at    int       // the node of the last event

	nodes []*node
	chain chain
	stats Report
}

// event is something that happens at a time to a node; equal times go by sequence.
type event struct {
	at         time.Duration
	seq        uint64
	kind       string
	node, peer int // peer is -1 where there is none
	do         func()
}

func (e event) String() string {
	if e.kind == "" {
		return ""
	}
	s := fmt.Sprintf("%14s #%-7d node %-3d %s", e.at, e.seq, e.node, e.kind)
	if e.peer >= 0 {
		s += fmt.Sprintf(" from %d", e.peer)
	}
	return s
}

// record keeps the last events, for people.
type record struct {
	ring [24]event
	next int
}

// add keeps e, unless it belongs to the market's small talk.
func (r *record) add(e *event) {
	switch e.kind {
	case "offer", "sweep", "resync", "book", "book request", "renew", "holds end", "bid ends":
		return
	}
	r.ring[r.next%len(r.ring)] = *e
	r.next++
}

func (r *record) lines() (lines []string) {
	for i := range r.ring {
		if s := r.ring[(r.next+i)%len(r.ring)].String(); s != "" {
			lines = append(lines, s)
		}
	}
	return lines
}

type queue []*event

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q *queue) Push(x any) { *q = append(*q, x.(*event)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// after queues an event; what may keep it from happening is for do to see.
func (w *world) after(d time.Duration, kind string, n *node, peer int, do func()) {
	w.seq++
	heap.Push(&w.q, &event{at: w.now + max(0, d), seq: w.seq, kind: kind, node: n.index, peer: peer, do: do})
}

// Run plays a simulation to its end. The error is a [*BrokenError].
func Run(cfg Config) (report *Report, err error) {
	cfg.Nodes = max(10, cmp.Or(cfg.Nodes, 100))
	cfg.Length = cmp.Or(cfg.Length, time.Hour)
	cfg.Loss = cmp.Or(cfg.Loss, 0.02)
	cfg.Delay = cmp.Or(cfg.Delay, 800*time.Millisecond)
	cfg.Submit = cmp.Or(cfg.Submit, 8*time.Minute)
	cfg.Longest = max(time.Minute, cmp.Or(cfg.Longest, 12*time.Minute))
	cfg.Crash = cmp.Or(cfg.Crash, 30*time.Minute)
	cfg.Cut = cmp.Or(cfg.Cut, 20*time.Minute)
	w := &world{cfg: cfg, calm: cfg.Calm, rng: rand.New(rand.NewPCG(cfg.Seed, 0x736f756b)), trace: sha256.New(), chain: newChain(),
		stats: Report{Ends: map[string]int{}, Runs: map[string]int{}, Declines: map[string]int{}}}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *BrokenError:
			report, err = nil, p
		default: // a core, or the driver, failed: as good as a broken promise
			report, err = nil, w.broken(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	w.build()
	w.play()
	w.checkEnd()
	return w.report(), nil
}

// play takes the events in order, until nothing is left to come to an end.
func (w *world) play() {
	for len(w.q) > 0 {
		e := heap.Pop(&w.q).(*event)
		if e.at > w.now {
			w.still = 0
		}
		if w.still++; w.still > 200_000 {
			w.fail("time stands still")
		}
		w.now = e.at
		if w.now >= w.cfg.Length && !w.over {
			w.over, w.calm = true, true
			for _, n := range w.nodes {
				n.cutUntil = 0
			}
		}
		if w.over && w.settled() {
			return
		}
		if w.now > w.cfg.Length+drainFor {
			w.fail("not everything has ended: " + w.unfinished())
		}
		w.note(e)
		n := w.nodes[e.node]
		n.check() // what grew while nothing happened here is at its largest now
		e.do()
		n.check()
	}
}

// note puts an event on record.
func (w *world) note(e *event) {
	var b [28]byte
	binary.BigEndian.PutUint64(b[:], uint64(e.at))
	binary.BigEndian.PutUint64(b[8:], e.seq)
	binary.BigEndian.PutUint32(b[16:], uint32(e.node))
	binary.BigEndian.PutUint32(b[20:], uint32(e.peer))
	binary.BigEndian.PutUint32(b[24:], uint32(len(e.kind)))
	w.trace.Write(b[:])
	w.trace.Write([]byte(e.kind))
	w.last.add(e)
	w.at = e.node
	w.nodes[e.node].last.add(e)
	w.done++
}

// build makes the nodes and their first events.
func (w *world) build() {
	for i := range w.cfg.Nodes {
		n := newNode(w, i)
		w.nodes = append(w.nodes, n)
		if i%10 < 4 {
			n.provider = newProvider(n)
		}
		if i%10 >= 3 { // one in ten does both
			n.client = newClient(n)
		}
	}
	for _, n := range w.nodes {
		n.start()
		if !w.calm {
			n.plan("crash", w.cfg.Crash, n.fall)
			n.plan("cut", w.cfg.Cut, n.cut)
			if n.provider != nil {
				n.plan("strike", strikeEvery, n.provider.strike)
			}
		}
		if n.client != nil {
			n.client.plan()
		}
	}
}

// settled tells whether nothing is under way any more.
func (w *world) settled() bool { return w.unfinished() == "" }

func (w *world) unfinished() string {
	for _, n := range w.nodes {
		if !n.up {
			return fmt.Sprintf("node %d is down", n.index)
		}
		if n.client != nil && len(n.client.live) > 0 {
			j := n.client.live[0]
			return fmt.Sprintf("job %s of node %d is %s", j.id.Short(), n.index, j.snapshot.State)
		}
		if n.client != nil && len(n.client.papers) > 0 {
			return fmt.Sprintf("lease %s is open at client %d", n.client.papers[0].terms.Lease.Short(), n.index)
		}
		if n.provider != nil && len(n.provider.live) > 0 {
			h := n.provider.live[0]
			return fmt.Sprintf("lease %s is in phase %s at provider %d", h.terms.Lease.Short(), h.state.Phase, n.index)
		}
	}
	return ""
}

// upTo draws a span of whole milliseconds from [0, d).
func (w *world) upTo(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return 0
	}
	return time.Duration(w.rng.Int64N(d.Milliseconds())) * time.Millisecond
}

// between draws a span of whole milliseconds from [from, to).
func (w *world) between(from, to time.Duration) time.Duration { return from + w.upTo(to-from) }

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// mishap is a chance of what cannot happen in calm.
func (w *world) mishap(p float64) bool { return !w.calm && w.chance(p) }

// digest derives a value from the seed and a name.
func (w *world) digest(format string, args ...any) souk.Digest {
	return sha256.Sum256(fmt.Appendf(nil, "%d/"+format, append([]any{w.cfg.Seed}, args...)...))
}
