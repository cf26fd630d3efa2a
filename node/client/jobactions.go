package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
	"golang.org/x/sync/errgroup"
)

// maxOutputBlocks bounds the blocks of a job's outputs, beside their bytes.
const maxOutputBlocks = 1 << 20

// bookWithin is how long after the node's start its book may still be empty only
// because no peer was asked for theirs yet.
const bookWithin = 5 * time.Second

// maxOffers bounds the offers that a search looks at: more than are ever asked, of
// providers with several classes too. A mixed job looks at all of them, since the
// offers of a provider count together.
const maxOffers = 256

// bookFilled tells the job's goroutine to look at the book again.
type bookFilled struct {
	scheduler.Tick // an event like any other
}

// untilBook waits for an offer that meets q, until the book counts as whole.
func (j *Job) untilBook(ctx context.Context, q market.Query) {
	wait, cancel := context.WithDeadline(ctx, j.wholeBy)
	defer cancel()
	if changes, err := j.with.Book.Watch(wait); err == nil {
		for len(j.with.Book.Match(q)) == 0 {
			if _, ok := <-changes; !ok {
				break
			}
		}
	}
	j.post(ctx, bookFilled{})
}

// find matches the job against the book.
func (j *Job) find(ctx context.Context, g *errgroup.Group) error {
	now := time.Now()
	q := market.JobQuery(j.msg, PricePerDevice(j.msg))
	if !j.msg.Resources.Mixed {
		q.Limit = maxOffers
	}
	j.offers = map[souk.NodeKey][]*market.Offer{}
	may := j.eligible()
	var peers []souk.NodeKey
	for _, c := range market.Candidates(j.with.Book.Match(q), j.msg.Resources, j.msg.Limits.MaxDurationMs) {
		if _, ok := j.offers[c.Provider]; !ok && may(c.Provider) {
			j.offers[c.Provider] = c.Offers
			peers = append(peers, c.Provider)
		}
	}
	if len(peers) == 0 {
		if unproved := j.unproved(q, may); len(unproved) > 0 {
			j.next = append(j.next, scheduler.Proving{})
			g.Go(func() error { j.prove(ctx, unproved); return nil })
			return nil
		}
		if now.Before(j.wholeBy) && len(j.asked) == 0 {
			g.Go(func() error { j.untilBook(ctx, j.provable(q)); return nil })
			return nil
		}
	}
	var removals []market.Removal
	if len(peers) == 0 {
		removals = j.with.Book.Explain(q)
	}
	err := j.note(ctx, func(r *Record) {
		for _, t := range r.Snapshot.Over {
			if a := r.byLease(t.Lease.String()); a != nil && a.Ended.IsZero() {
				a.Ended, a.Reason = now.UTC(), string(t.Reason)
			}
		}
		r.Removals = removals
		r.current()
	})
	if err != nil {
		return err
	}
	j.next = append(j.next, scheduler.Candidates{Peers: peers}) // post could wait for ourselves
	return nil
}

// eligible tells of a provider whether it may have the job: not we, and none that lost it.
func (j *Job) eligible() func(souk.NodeKey) bool {
	rec, _ := j.Watch()
	return func(p souk.NodeKey) bool { return !j.dealer.isSelf(p) && !slices.Contains(rec.Snapshot.Avoid, p) }
}

func (j *Job) dial(ctx context.Context, key souk.NodeKey, offers []*market.Offer) {
	rtt, err := j.dealer.dial(ctx, key, offers)
	if err != nil {
		j.post(ctx, scheduler.DialFailed{Peer: key, Err: network.Clip(err.Error(), 200)})
		return
	}
	j.post(ctx, scheduler.Dialed{Peer: key, RTT: rtt})
}

func (j *Job) ask(ctx context.Context, a scheduler.Ask, offers []*market.Offer) {
	p, err := network.PeerID(a.Peer)
	var bid *market.Bid
	var decline *market.Refusal
	if err == nil {
		bid, decline, err = j.dealer.Ask(ctx, p, offers, j.msg, a.Deadline)
	}
	switch {
	case err != nil:
		j.post(ctx, scheduler.DialFailed{Peer: a.Peer, Err: network.Clip(err.Error(), 200)})
	case decline != nil:
		j.declined(ctx, p, decline)
		j.post(ctx, scheduler.Declined{Peer: a.Peer, Why: *decline})
	default:
		j.mu.Lock()
		j.bids = append(j.bids, bid)
		n := len(j.bids) - 1
		j.mu.Unlock()
		j.post(ctx, scheduler.BidArrived{Peer: a.Peer, Bid: n, Price: bid.PriceAtomsPerHour, Cost: bid.Cost(j.msg.Limits.MaxDurationMs)})
	}
}

// declined keeps a refusal where souk job shows it.
func (j *Job) declined(ctx context.Context, p peer.ID, d *market.Refusal) {
	err := j.note(ctx, func(r *Record) {
		n := 0
		for _, a := range r.Attempts {
			n += len(a.Declines)
		}
		if n >= maxDeclines || !r.Ended.IsZero() {
			return
		}
		c := r.current()
		c.Declines = append(c.Declines, DeclineRecord{Provider: p.String(), Reason: market.ReasonName(d.Reason),
			Shortfall: d.Shortfall, Detail: d.Error()})
	})
	if err != nil {
		j.with.Log.Error("note decline", "job", j.id.Short(), "err", err)
	}
}

func (j *Job) sign(ctx context.Context, a scheduler.SignLease) {
	p, err := network.PeerID(a.Peer)
	if err != nil {
		j.post(ctx, scheduler.LeaseFailed{Peer: a.Peer, Err: err.Error()})
		return
	}
	j.mu.Lock()
	bid, startBy := j.bids[a.Bid], j.rec.Started.Add(time.Duration(j.msg.Limits.StartWithinMs)*time.Millisecond)
	j.mu.Unlock()
	if soon := time.Now().Add(j.with.Waits.Fund); startBy.Before(soon) {
		startBy = soon // a retry starts late: the job's own limit is the machine's to keep
	}
	s, err := j.dealer.Propose(ctx, j.id, j.msg, p, bid, startBy)
	if err != nil {
		d := &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT, Detail: network.Clip(err.Error(), 200)}
		if f := (*money.FundsError)(nil); errors.As(err, &f) {
			d.Shortfall, d.Detail = uint64(f.Need-f.Have), f.Error() // ours alone: no provider declined
			j.mu.Lock()
			j.short = f
			j.mu.Unlock()
		} else {
			j.declined(ctx, p, d)
		}
		j.post(ctx, scheduler.LeaseDeclined{Peer: a.Peer, Why: *d})
		return
	}
	j.mu.Lock()
	j.leases[s.ID] = s
	j.mu.Unlock()
	decline, err := j.dealer.Countersign(ctx, s)
	switch {
	case err != nil:
		j.post(ctx, scheduler.LeaseFailed{Peer: a.Peer, Err: err.Error()})
		return
	case decline != nil:
		if err := j.dealer.CloseLease(ctx, s.Terms.Channel, s.ID); err != nil {
			j.with.Log.Error("close lease", "lease", s.ID.Short(), "err", err)
		}
		j.declined(ctx, p, decline)
		j.post(ctx, scheduler.LeaseDeclined{Peer: a.Peer, Why: *decline})
		return
	}
	err = j.note(ctx, func(r *Record) {
		if !r.Ended.IsZero() {
			return // stopped meanwhile: it is released at once
		}
		c := r.current()
		c.Provider, c.Lease, c.Price, c.Reserve = p.String(), s.ID.String(), s.Lease.PriceAtomsPerHour, s.Terms.Reserve
		c.Classes = classesOf(bid)
		c.LogBase = map[string]uint64{"stdout": j.stdout.Len(), "stderr": j.stderr.Len()}
	})
	if err != nil {
		j.post(ctx, scheduler.LeaseFailed{Peer: a.Peer, Err: err.Error()})
		return
	}
	j.post(ctx, scheduler.LeaseSigned{Peer: a.Peer, Lease: s.ID})
}

// signed returns what was signed for a lease, from the ledger after a restart.
func (j *Job) signed(id souk.LeaseID) (*Proposal, error) {
	j.mu.Lock()
	s := j.leases[id]
	j.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := j.dealer.signed(id)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	j.leases[id] = s
	j.mu.Unlock()
	return s, nil
}

// lastSigned is the newest lease that was signed for a provider; zero: none.
func (j *Job) lastSigned(provider souk.NodeKey) souk.LeaseID {
	j.mu.Lock()
	defer j.mu.Unlock()
	var last souk.LeaseID
	var at int64
	for id, s := range j.leases {
		if s.Terms.ProviderKey == provider && s.Lease.SignedMs >= at {
			last, at = id, s.Lease.SignedMs
		}
	}
	return last
}

// fetch brings the outputs home and verifies them, block by block.
func (j *Job) fetch(ctx context.Context, a scheduler.FetchOutputs) {
	ctx, cancel := context.WithTimeout(ctx, j.with.Waits.Collect) // the provider keeps them no longer
	defer cancel()
	s, err := j.signed(a.Lease)
	if err == nil {
		last := time.Now()
		moving := func(uint64) {
			if time.Since(last) > time.Second {
				last = time.Now()
				j.post(ctx, scheduler.OutputsMoving{Lease: a.Lease})
			}
		}
		limit := files.Limit{Bytes: 2 * j.msg.Resources.GetDiskBytes(), Blocks: maxOutputBlocks}
		err = j.with.Outputs.Fetch(ctx, a.Output, s.Peer, limit, moving)
	}
	if err != nil {
		j.post(ctx, scheduler.OutputsFailed{Lease: a.Lease, Err: err.Error()})
		return
	}
	j.post(ctx, scheduler.OutputsVerified{Lease: a.Lease})
}

// finish closes the books on a job: outputs get their names, and its inputs are
// served to nobody any more.
func (j *Job) finish(ctx context.Context, end scheduler.End) error {
	outputs, err := j.keepOutputs(ctx, end.Output)
	if err != nil && ctx.Err() != nil {
		return err // the next start writes them
	}
	detail := end.Detail
	j.mu.Lock()
	short := j.short
	j.mu.Unlock()
	switch {
	case err != nil:
		detail = network.Clip(err.Error(), 200)
	case short != nil && end.Reason == scheduler.ReasonPaymentRefused:
		detail = short.Error() + "; fund " + j.dealer.wallet() + " and run again (souk wallet faucet on a test chain)"
	}
	err = j.note(ctx, func(r *Record) {
		r.State, r.Reason, r.Detail, r.ExitCode = end.State.String(), string(end.Reason), detail, end.Exit
		r.Outputs, r.Ended = outputs, time.Now().UTC()
		if c := r.current(); c.Ended.IsZero() {
			c.Ended, c.Reason = r.Ended, r.Reason
		}
	})
	for _, l := range j.links {
		l.leave()
	}
	j.with.Log.Info("job ended", "job", j.id.Short(), "state", end.State, "reason", string(end.Reason))
	j.with.Keeper.Wake()
	return err
}

// keepOutputs names the outputs and writes them where their owner wants them.
// What cannot be written stays in the store, and the error says so.
func (j *Job) keepOutputs(ctx context.Context, root string) (map[string]string, error) {
	outputs, errs := map[string]string{}, []error(nil)
	if root == "" {
		return outputs, nil
	}
	rec, _ := j.Watch()
	for i, o := range j.msg.Outputs {
		name := strings.Trim(o.From, "/")
		cid, err := j.with.Outputs.Resolve(ctx, root, strings.TrimPrefix(strings.TrimPrefix(name, "out"), "/"))
		if err != nil {
			errs = append(errs, fmt.Errorf("output %s: %w", o.From, err))
			continue
		}
		outputs[name] = cid
		if i >= len(rec.SaveTo) || rec.SaveTo[i] == "" {
			continue
		}
		if _, _, err := j.with.Outputs.Save(ctx, cid, rec.SaveTo[i]); err != nil {
			errs = append(errs, fmt.Errorf("output %s is in the store as %s but was not written: %w", o.From, cid, err))
		}
	}
	return outputs, errors.Join(errs...)
}

// attach opens the run's stream and lets the provider have the job's files.
func (j *Job) attach(ctx context.Context, g *errgroup.Group, a scheduler.Attach) error {
	s, err := j.signed(a.Lease)
	if err != nil {
		return err
	}
	for _, cid := range runner.Contents(j.msg) {
		if err := j.with.Inputs.Grant(ctx, cid, s.Peer); err != nil {
			return fmt.Errorf("serve inputs: %w", err)
		}
	}
	l := &runLink{j: j, with: j.with, dealer: j.dealer, s: s, allowed: make(chan struct{}), releases: make(chan bool, 1), quit: make(chan struct{})}
	if l.payer, err = j.dealer.Payer(s); err != nil {
		return err
	}
	l.paid = l.payer.Done()
	if l.telemetry, err = openTelemetry(s, j.msg.GetLimits(), j.with.telemetry(), l.payer); err != nil {
		return err
	}
	j.links[s.ID] = l
	g.Go(func() error {
		defer j.dealer.guard(s)()
		defer l.telemetry.file.Close()
		l.run(ctx)
		if ctx.Err() == nil && !l.over {
			if err := l.closeLease(ctx); err != nil { // the stream was left: nothing more is paid on the lease
				j.with.Log.Error("close lease", "lease", s.ID.Short(), "err", err)
			}
		}
		for _, cid := range runner.Contents(j.msg) {
			j.with.Inputs.Withdraw(cid, s.Peer)
		}
		j.post(ctx, linkClosed{lease: s.ID})
		return nil
	})
	return nil
}

// release ends a lease: by its stream where there is one; else the client tells
// the provider when it can.
func (j *Job) release(ctx context.Context, a scheduler.Release) error {
	id := a.Lease
	if id == (souk.LeaseID{}) {
		id = j.lastSigned(a.Peer)
	}
	if l := j.links[id]; l != nil {
		select {
		case l.releases <- a.Discard:
		default: // asked already
		}
		if a.Drop {
			l.leave()
		}
		return nil
	}
	s, err := j.signed(id)
	if err != nil {
		return nil // nothing was signed: nothing to release
	}
	j.releases.add(s, a.Discard)
	return j.dealer.CloseLease(ctx, s.Terms.Channel, id)
}
