package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
	"golang.org/x/sync/errgroup"
)

// jobRecord is what a client must not forget of a job.
type jobRecord struct {
	Message  []byte             `json:"message"` // the job, as its id was computed
	SaveTo   []string           `json:"save_to,omitempty"`
	Started  time.Time          `json:"started"`
	Ended    time.Time          `json:"ended"`
	State    string             `json:"state"`
	Reason   string             `json:"reason,omitempty"`
	Detail   string             `json:"detail,omitempty"`
	ExitCode int32              `json:"exit_code"`
	Outputs  map[string]string  `json:"outputs,omitempty"`
	Attempts []attemptRecord    `json:"attempts,omitempty"`
	Removals []market.Removal   `json:"removals,omitempty"` // what ruled offers out, when none was left
	Snapshot scheduler.Snapshot `json:"snapshot"`
}

// attemptRecord is one try at one provider.
type attemptRecord struct {
	Provider  string            `json:"provider,omitempty"`
	Lease     string            `json:"lease,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Started   time.Time         `json:"started"`
	Ended     time.Time         `json:"ended"`
	Declines  []declineRecord   `json:"declines,omitempty"`
	DepositTx string            `json:"deposit_tx,omitempty"`
	Price     uint64            `json:"price_atoms_per_hour,omitempty"`
	Reserve   souk.Atoms        `json:"reserve_atoms,omitempty"`
	Paid      souk.Atoms        `json:"paid_atoms"` // due by the receipts we countersigned
	Receipts  uint32            `json:"receipts"`
	LogBase   map[string]uint64 `json:"log_base,omitempty"` // bytes of log that earlier attempts left
}

type declineRecord struct {
	Provider  string `json:"provider"`
	Reason    string `json:"reason"`
	Shortfall uint64 `json:"shortfall,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// What keeps a job's record below what the ledger takes, whatever peers say.
const (
	maxJobBytes = 64 << 10 // of the job message
	maxDeclines = 96       // over all attempts
)

func jobKey(id souk.JobID) string { return "job/" + id.String() }

// job is one job of this client. Its goroutine owns the attempt and does what it
// asks; what came of it returns as events.
type job struct {
	c      *client
	id     souk.JobID
	msg    *jobv1.Job
	stdout *logFile
	stderr *logFile

	events chan scheduler.Event
	stops  chan struct{} // the owner's wish; one is enough

	attempt  *scheduler.Attempt             // owned by run
	offers   map[souk.NodeKey]*market.Offer // owned by run: the candidates of this try
	links    map[souk.LeaseID]*link         // owned by run
	next     []scheduler.Event              // owned by run: what its own actions answered at once
	inFlight int                            // owned by run: leases being signed

	noting sync.Mutex // held from reading the record to replacing it

	mu    sync.Mutex // guards what follows
	bids  []*market.Bid
	signs map[souk.LeaseID]*signing
	rec   jobRecord
	news  chan struct{} // closed and replaced at each change
}

func newJob(c *client, id souk.JobID, msg *jobv1.Job, rec jobRecord) *job {
	j := &job{c: c, id: id, msg: msg, rec: rec, events: make(chan scheduler.Event, 256), stops: make(chan struct{}, 1),
		links: map[souk.LeaseID]*link{}, signs: map[souk.LeaseID]*signing{}, news: make(chan struct{})}
	dir := filepath.Join(c.cfg.Home, "jobs", id.String())
	j.stdout, j.stderr = newLogFile(filepath.Join(dir, "stdout.log"), j.tell), newLogFile(filepath.Join(dir, "stderr.log"), j.tell)
	return j
}

// look returns a copy of the record, and a channel that closes at the next change.
func (j *job) look() (jobRecord, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.rec
	r.Attempts = slices.Clone(r.Attempts)
	r.Outputs = maps.Clone(r.Outputs)
	return r, j.news
}

func (j *job) tell() {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.news)
	j.news = make(chan struct{})
}

// note changes the record; it is durable when note returns nil, together with extra.
func (j *job) note(ctx context.Context, change func(*jobRecord), extra ...ledger.Record) error {
	j.noting.Lock()
	defer j.noting.Unlock()
	r, _ := j.look()
	change(&r)
	value, err := json.Marshal(&r)
	if err != nil {
		return fmt.Errorf("encode job %s: %w", j.id.Short(), err)
	}
	batch := ledger.Batch{Records: append(extra, ledger.Record{Key: jobKey(j.id), Value: value})}
	if err := j.c.cfg.Ledger.Commit(ctx, batch); err != nil {
		return fmt.Errorf("job %s: %w", j.id.Short(), err)
	}
	j.mu.Lock()
	j.rec = r
	j.mu.Unlock()
	j.tell()
	return nil
}

// current is the attempt under way; note must hold the record.
func (r *jobRecord) current() *attemptRecord {
	if len(r.Attempts) == 0 || !r.Attempts[len(r.Attempts)-1].Ended.IsZero() {
		r.Attempts = append(r.Attempts, attemptRecord{Started: time.Now().UTC()})
	}
	return &r.Attempts[len(r.Attempts)-1]
}

func (r *jobRecord) byLease(lease string) *attemptRecord {
	for i := range r.Attempts {
		if r.Attempts[i].Lease == lease {
			return &r.Attempts[i]
		}
	}
	return nil
}

func (j *job) attemptConfig() scheduler.AttemptConfig {
	ms := func(v uint64) time.Duration { return time.Duration(v) * time.Millisecond }
	return scheduler.AttemptConfig{MaxDuration: ms(j.msg.Limits.MaxDurationMs), StartWithin: ms(j.msg.Limits.StartWithinMs),
		HoldPaused: ms(j.msg.Limits.HoldPausedMs), MaxPrice: pricePerDevice(j.msg), Retry: j.msg.Retry}
}

// run takes the job to its end, or until ctx ends: then the next start resumes it.
func (j *job) run(ctx context.Context) error {
	if err := errors.Join(j.stdout.resume(), j.stderr.resume()); err != nil {
		return err
	}
	defer j.stdout.close()
	defer j.stderr.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	rec, _ := j.look()
	if rec.Snapshot.Attempts > 0 || rec.Snapshot.Stopping {
		j.attempt = scheduler.ResumeAttempt(j.attemptConfig(), rec.Snapshot, time.Now())
	} else {
		j.attempt = scheduler.NewAttempt(j.attemptConfig(), time.Now())
	}
	err := j.drive(ctx, g)
	cancel()
	return errors.Join(err, g.Wait())
}

// drive feeds the attempt until it has finished and nothing it started is open.
func (j *job) drive(ctx context.Context, g *errgroup.Group) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var ev scheduler.Event
		if len(j.next) > 0 {
			ev, j.next = j.next[0], j.next[1:]
		} else {
			select {
			case <-ctx.Done():
				return nil
			case ev = <-j.events:
			case <-j.stops:
				ev = scheduler.StopAsked{}
			case <-timer.C:
				ev = scheduler.Tick{}
			}
		}
		done, err := j.step(ctx, g, ev)
		if err != nil || done {
			return err
		}
		if next, ok := j.attempt.Next(); ok {
			timer.Reset(time.Until(next))
		}
	}
}

// step gives the attempt one event, stores what changed, and only then acts.
func (j *job) step(ctx context.Context, g *errgroup.Group, ev scheduler.Event) (done bool, err error) {
	switch e := ev.(type) {
	case scheduler.LeaseSigned, scheduler.LeaseDeclined, scheduler.LeaseFailed:
		j.inFlight--
	case linkClosed:
		delete(j.links, e.lease)
		return j.finished(), nil
	}
	acts := j.attempt.Step(time.Now(), ev)
	snap := j.attempt.Snapshot()
	for i := range snap.Tries {
		snap.Tries[i].Misses = nil // shown as declines; here they would only make the record grow
	}
	rec, _ := j.look()
	state := j.attempt.State().String()
	if state != rec.State && rec.Ended.IsZero() || !snapshotEqual(snap, rec.Snapshot) {
		if err := j.note(ctx, func(r *jobRecord) { r.Snapshot = snap; r.State = stateOr(r, state) }); err != nil {
			return false, err
		}
	}
	for _, a := range acts {
		if err := j.act(ctx, g, a); err != nil {
			return false, err
		}
	}
	return j.finished(), nil
}

// stateOr keeps the state of a job that has ended: it is set with its reason.
func stateOr(r *jobRecord, state string) string {
	if !r.Ended.IsZero() || slices.Contains([]string{"done", "failed", "no-match", "unpaid", "stopped"}, state) {
		return r.State
	}
	return state
}

func snapshotEqual(a, b scheduler.Snapshot) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func (j *job) finished() bool {
	rec, _ := j.look()
	return !rec.Ended.IsZero() && j.inFlight == 0 && len(j.links) == 0
}

// post hands an event to the job's goroutine.
func (j *job) post(ctx context.Context, ev scheduler.Event) {
	select {
	case j.events <- ev:
	case <-ctx.Done():
	}
}

// act does one action; what takes time runs on g and answers by an event.
func (j *job) act(ctx context.Context, g *errgroup.Group, act scheduler.Action) error {
	switch a := act.(type) {
	case scheduler.FindCandidates:
		return j.find(ctx)
	case scheduler.Dial:
		for _, p := range a.Peers {
			offer := j.offers[p]
			g.Go(func() error { j.dial(ctx, p, offer); return nil })
		}
	case scheduler.Ask:
		offer := j.offers[a.Peer]
		g.Go(func() error { j.ask(ctx, a, offer); return nil })
	case scheduler.SignLease:
		j.inFlight++
		g.Go(func() error { j.sign(ctx, a); return nil })
	case scheduler.Attach:
		if err := j.attach(ctx, g, a); err != nil { // files or records of ours are missing: the job cannot go on
			j.next = append(j.next, scheduler.RunState{Lease: a.Lease, Phase: runv1.Phase_PHASE_ENDED,
				Reason: runv1.EndReason_END_REASON_CLIENT_INPUTS, Detail: clip(err.Error(), 200)})
		}
	case scheduler.FetchOutputs:
		g.Go(func() error { j.fetch(ctx, a); return nil })
	case scheduler.SettleUp:
		if l := j.links[a.Lease]; l != nil {
			l.allow()
		}
	case scheduler.Release:
		return j.release(ctx, a)
	case scheduler.Finish:
		return j.finish(ctx, a.End)
	}
	return nil
}

// find matches the job against the book.
func (j *job) find(ctx context.Context) error {
	now := time.Now()
	q := market.RequestQuery(j.msg.Resources, pricePerDevice(j.msg), j.msg.Limits.MaxDurationMs)
	found := j.c.cfg.Book.Match(q)
	j.offers = map[souk.NodeKey]*market.Offer{}
	var peers []souk.NodeKey
	for _, o := range found {
		if _, ok := j.offers[o.Provider]; !ok && o.Provider != j.c.key {
			j.offers[o.Provider] = o
			peers = append(peers, o.Provider)
		}
	}
	var removals []market.Removal
	if len(peers) == 0 {
		removals = j.c.cfg.Book.Explain(q)
	}
	err := j.note(ctx, func(r *jobRecord) {
		for _, t := range r.Snapshot.Tries {
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

func (j *job) dial(ctx context.Context, key souk.NodeKey, offer *market.Offer) {
	p, err := keyPeer(key)
	var rtt time.Duration
	if err == nil {
		var addrs []string
		if offer != nil {
			addrs = offer.Addresses
		}
		rtt, err = j.c.cfg.Dial(ctx, p, addrs)
	}
	if err != nil {
		j.post(ctx, scheduler.DialFailed{Peer: key, Err: clip(err.Error(), 200)})
		return
	}
	j.post(ctx, scheduler.Dialed{Peer: key, RTT: rtt})
}

func (j *job) ask(ctx context.Context, a scheduler.Ask, offer *market.Offer) {
	p, err := keyPeer(a.Peer)
	var bid *market.Bid
	var decline *marketv1.Decline
	if err == nil {
		bid, decline, err = j.c.ask(ctx, p, offer, j.msg, a.Deadline)
	}
	switch {
	case err != nil:
		j.post(ctx, scheduler.DialFailed{Peer: a.Peer, Err: clip(err.Error(), 200)})
	case decline != nil:
		j.declined(ctx, p, decline)
		j.post(ctx, scheduler.Declined{Peer: a.Peer, Reason: decline.Reason, Shortfall: decline.Shortfall, Detail: decline.Detail})
	default:
		j.mu.Lock()
		j.bids = append(j.bids, bid)
		n := len(j.bids) - 1
		j.mu.Unlock()
		j.post(ctx, scheduler.BidArrived{Peer: a.Peer, Bid: n, Price: bid.PriceAtomsPerHour})
	}
}

// declined keeps a refusal where souk job shows it.
func (j *job) declined(ctx context.Context, p peer.ID, d *marketv1.Decline) {
	err := j.note(ctx, func(r *jobRecord) {
		n := 0
		for _, a := range r.Attempts {
			n += len(a.Declines)
		}
		if n >= maxDeclines || !r.Ended.IsZero() {
			return
		}
		c := r.current()
		c.Declines = append(c.Declines, declineRecord{Provider: p.String(), Reason: market.ReasonName(d.Reason),
			Shortfall: d.Shortfall, Detail: market.DeclineText(d)})
	})
	if err != nil {
		j.c.cfg.Log.Error("note decline", "job", j.id.Short(), "err", err)
	}
}

func (j *job) sign(ctx context.Context, a scheduler.SignLease) {
	p, err := keyPeer(a.Peer)
	if err != nil {
		j.post(ctx, scheduler.LeaseFailed{Peer: a.Peer, Err: err.Error()})
		return
	}
	j.mu.Lock()
	bid, startBy := j.bids[a.Bid], j.rec.Started.Add(time.Duration(j.msg.Limits.StartWithinMs)*time.Millisecond)
	j.mu.Unlock()
	if soon := time.Now().Add(fundWithin); startBy.Before(soon) {
		startBy = soon // a retry starts late: the job's own limit is the attempt's to keep
	}
	s, err := j.c.propose(ctx, j.id, j.msg, p, bid, startBy)
	if err != nil {
		d := &marketv1.Decline{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT, Detail: clip(err.Error(), 200)}
		if f := (*FundsError)(nil); errors.As(err, &f) {
			d.Shortfall = uint64(f.Need - f.Have)
		}
		j.declined(ctx, p, d)
		j.post(ctx, scheduler.LeaseDeclined{Peer: a.Peer, Reason: d.Reason, Shortfall: d.Shortfall, Detail: d.Detail})
		return
	}
	j.mu.Lock()
	j.signs[s.id] = s
	j.mu.Unlock()
	decline, err := j.c.countersign(ctx, s)
	switch {
	case err != nil:
		j.post(ctx, scheduler.LeaseFailed{Peer: a.Peer, Err: err.Error()})
		return
	case decline != nil:
		if err := j.c.abandon(ctx, s.terms.Channel, s.id); err != nil {
			j.c.cfg.Log.Error("abandon lease", "lease", s.id.Short(), "err", err)
		}
		j.declined(ctx, p, decline)
		j.post(ctx, scheduler.LeaseDeclined{Peer: a.Peer, Reason: decline.Reason, Shortfall: decline.Shortfall, Detail: decline.Detail})
		return
	}
	err = j.note(ctx, func(r *jobRecord) {
		if !r.Ended.IsZero() {
			return // stopped meanwhile: it is released at once
		}
		c := r.current()
		c.Provider, c.Lease, c.Price, c.Reserve = p.String(), s.id.String(), s.lease.PriceAtomsPerHour, s.terms.Reserve
		c.LogBase = map[string]uint64{"stdout": j.stdout.len(), "stderr": j.stderr.len()}
	})
	if err != nil {
		j.post(ctx, scheduler.LeaseFailed{Peer: a.Peer, Err: err.Error()})
		return
	}
	j.post(ctx, scheduler.LeaseSigned{Peer: a.Peer, Lease: s.id})
}

// fetch brings the outputs home and verifies them, block by block.
func (j *job) fetch(ctx context.Context, a scheduler.FetchOutputs) {
	ctx, cancel := context.WithTimeout(ctx, collectWithin) // the provider keeps them no longer
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
		limit := files.Limit{Bytes: 2 * j.msg.Resources.GetDiskBytes(), Blocks: maxStageBlocks}
		err = j.c.cfg.Files.Fetch(ctx, a.Output, s.peer, limit, moving)
	}
	if err != nil {
		j.post(ctx, scheduler.OutputsFailed{Lease: a.Lease, Err: err.Error()})
		return
	}
	j.post(ctx, scheduler.OutputsVerified{Lease: a.Lease})
}

// finish closes the books on a job: outputs get their names, and its inputs are
// served to nobody any more.
func (j *job) finish(ctx context.Context, end scheduler.End) error {
	outputs, err := j.keepOutputs(ctx, end.Output)
	detail := end.Detail
	if err != nil {
		detail = clip(err.Error(), 200)
	}
	err = j.note(ctx, func(r *jobRecord) {
		r.State, r.Reason, r.Detail, r.ExitCode = end.State.String(), string(end.Reason), detail, end.Exit
		r.Outputs, r.Ended = outputs, time.Now().UTC()
		if c := r.current(); c.Ended.IsZero() {
			c.Ended, c.Reason = r.Ended, r.Reason
		}
	})
	for _, l := range j.links {
		l.giveUp()
	}
	j.c.cfg.Log.Info("job ended", "job", j.id.Short(), "state", end.State, "reason", string(end.Reason))
	j.c.cfg.Keeper.poke()
	return err
}

// keepOutputs names the outputs and writes them where their owner wants them.
// What cannot be written stays in the store, and the error says so.
func (j *job) keepOutputs(ctx context.Context, root string) (map[string]string, error) {
	outputs, errs := map[string]string{}, []error(nil)
	if root == "" {
		return outputs, nil
	}
	rec, _ := j.look()
	for i, o := range j.msg.Outputs {
		name := strings.Trim(o.From, "/")
		cid, err := j.c.cfg.Files.Resolve(ctx, root, strings.TrimPrefix(strings.TrimPrefix(name, "out"), "/"))
		if err != nil {
			errs = append(errs, fmt.Errorf("output %s: %w", o.From, err))
			continue
		}
		outputs[name] = cid
		if i >= len(rec.SaveTo) || rec.SaveTo[i] == "" {
			continue
		}
		if _, _, err := j.c.cfg.Files.Save(ctx, cid, rec.SaveTo[i]); err != nil {
			errs = append(errs, fmt.Errorf("output %s is in the store as %s but was not written: %w", o.From, cid, err))
		}
	}
	return outputs, errors.Join(errs...)
}

// summary is the job in a line.
func (j *job) summary() *apiv1.JobSummary {
	r, _ := j.look()
	return r.summary(j.id, j.msg)
}
