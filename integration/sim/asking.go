package sim

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
)

const (
	paymentGrace = 15 * time.Second
	dialTimeout  = 4 * time.Second
	leaseTimeout = 8 * time.Second
	startWithin  = 6 * time.Minute
)

// leaseRequest is a lease with its first voucher and its deposit.
type leaseRequest struct {
	terms   payment.Terms
	startBy time.Time
	job     *job
	bid     int
	voucher payment.Voucher // not signed
	deposit souk.Atoms
}

// byKey is the node with a key.
func (w *world) byKey(k souk.NodeKey) *node {
	for _, n := range w.nodes {
		if n.id == k {
			return n
		}
	}
	w.failf("no node has key %s", k)
	return nil
}

// dial connects: there is an answer, or none in time.
func (j *job) dial(k souk.NodeKey) {
	n, to := j.c.n, j.c.n.w.byKey(k)
	sent := n.w.now
	n.send(to, "dial", func() {
		to.send(n, "dialed", func() { j.step(scheduler.Dialed{Peer: k, RTT: n.w.now - sent}) })
	})
	n.after(dialTimeout, "dial timeout", func() { j.step(scheduler.DialFailed{Peer: k, Err: "timeout"}) })
}

// ask sends an order and takes the answer.
func (j *job) ask(a scheduler.Ask) {
	n, to := j.c.n, j.c.n.w.byKey(a.Peer)
	order := &marketv1.Order{Resources: j.resources, MaxDurationMs: uint64(j.cfg.MaxDuration.Milliseconds()),
		MaxPriceAtomsPerHour: j.cfg.MaxPrice, DeadlineMs: a.Deadline.UnixMilli(), ProviderKey: to.id[:], Version: market.Version}
	order.MustUnderstand = market.OrderExtensions(order)
	n.send(to, "order", func() {
		id, bid, refused := to.provider.order(n, order)
		to.send(n, "answer", func() {
			if refused != nil {
				n.w.stats.Declines["order "+market.ReasonName(refused.Reason)]++
				j.step(scheduler.Declined{Peer: a.Peer, Why: *refused})
				return
			}
			j.offers = append(j.offers, offered{id, bid.FloorBid, to})
			j.step(scheduler.BidArrived{Peer: a.Peer, Bid: len(j.offers) - 1, Price: bid.Price,
				Cost: market.UsageOn(classesOf(bid.FloorBid), order.MaxDurationMs).Cost(bid.Tariff)})
		})
	})
}

// sign makes a lease and its first voucher durable and sends them.
func (j *job) sign(a scheduler.SignLease) {
	n, o := j.c.n, j.offers[a.Bid]
	acc := j.c.account(o.to)
	t := payment.Terms{Job: j.id, Channel: acc.channel, Domain: domain, ProviderKey: o.to.id, ClientKey: n.id,
		Version: 2, Tariff: o.bid.Tariff, Devices: classesOf(o.bid), Interval: j.interval, Grace: paymentGrace,
		HoldPaused: j.cfg.HoldPaused, MaxDuration: j.cfg.MaxDuration, PayAhead: j.ahead, Reserve: j.reserve(o.bid)}
	n.w.seq++ // makes the id the only one of its kind
	t.Lease.Digest = sha256.Sum256(fmt.Appendf(nil, "lease %d of job %s at %s", n.w.seq, j.id, o.to.id))
	if err := t.Validate(); err != nil {
		n.w.failf("the terms of job %s: %v", j.id.Short(), err)
	}
	p := &paper{c: j.c, job: j, to: o.to, account: acc, terms: t, signed: n.now(), deposit: max(0, t.Reserve-acc.free())}
	switch {
	case p.deposit == 0:
	case j.c.habit == overdraws:
		p.deposit = max(p.deposit, n.w.chain.wallet[n.index]+1) // enough for others too, would it ever come
	case p.deposit > n.w.chain.wallet[n.index]-j.c.pending():
		j.decline(a.Peer, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT, Detail: "the wallet is short"})
		return
	}
	if err := acc.Open(t.Lease, t.Reserve, p.deposit); err != nil {
		n.w.failf("open lease %s: %v", t.Lease.Short(), err)
	}
	req := leaseRequest{terms: t, startBy: n.now().Add(startWithin), job: j, bid: o.id, deposit: p.deposit, voucher: acc.promise(t.Lease, t.First())}
	j.c.papers = append(j.c.papers, p)
	if n.w.mishap(0.002) {
		n.crash() // after the promise was kept, before it was sent
		return
	}
	n.send(o.to, "lease", func() {
		refused := o.to.provider.lease(n, req)
		o.to.send(n, "lease answer", func() {
			if refused != nil {
				p.drop() // a copy of the request may yet be taken
				j.decline(a.Peer, refused)
				return
			}
			j.step(scheduler.LeaseSigned{Peer: a.Peer, Lease: t.Lease})
			if j.c.habit == overdraws && p.deposit > 0 && !j.twin && n.up {
				j.c.again(j) // while the deposit is on its way
			}
		})
	})
	n.after(leaseTimeout, "lease timeout", func() { j.step(scheduler.LeaseFailed{Peer: a.Peer, Err: "timeout"}) })
}

func (j *job) decline(peer souk.NodeKey, r *market.Refusal) {
	j.c.n.w.stats.Declines["lease "+market.ReasonName(r.Reason)]++
	e := scheduler.LeaseDeclined{Peer: peer, Why: *r}
	j.c.n.after(0, "lease declined", func() { j.step(e) })
}

// release ends a lease; without an id, the last one signed for the peer.
func (j *job) release(a scheduler.Release) {
	p := j.c.paper(a.Lease)
	for _, o := range j.c.papers {
		if a.Lease.IsZero() && o.job == j && o.to.id == a.Peer {
			p = o
		}
	}
	if p == nil {
		return
	}
	if p.releasing = true; a.Drop {
		p.drop()
		return
	}
	p.poll()
}

// fetch brings the outputs, if their provider stays there for as long, and
// serves them.
func (j *job) fetch(a scheduler.FetchOutputs) {
	n, p := j.c.n, j.c.paper(a.Lease)
	if p == nil || n.w.mishap(0.005) {
		return // nothing more is heard of it
	}
	wait := n.w.between(time.Second, 30*time.Second)
	withheld := n.w.mishap(0.01)
	n.after(wait/2, "outputs moving", func() { j.step(scheduler.OutputsMoving{Lease: a.Lease}) })
	n.after(wait, "outputs", func() {
		if h := p.to.provider.tenancies[a.Lease]; withheld || !n.reaches(p.to) || !h.served {
			j.step(scheduler.OutputsFailed{Lease: a.Lease, Err: "not to be had"})
			return
		}
		j.step(scheduler.OutputsVerified{Lease: a.Lease})
	})
}
