package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"golang.org/x/sync/errgroup"
)

// Job is one job of this client. Its goroutine owns the machine and does what it
// asks; what came of it returns as events.
type Job struct {
	with     *Config
	dealer   *Dealer
	releases releases
	wholeBy  time.Time // when the book is taken for whole
	id       souk.JobID
	msg      *jobv1.Job
	stdout   *disk.LogFile
	stderr   *disk.LogFile

	events chan scheduler.Event
	stops  chan struct{} // the owner's wish; one is enough

	machine  *scheduler.Job                   // owned by run
	offers   map[souk.NodeKey][]*market.Offer // owned by run: the candidates of this attempt
	links    map[souk.LeaseID]*runLink        // owned by run
	next     []scheduler.Event                // owned by run: what its own actions answered at once
	inFlight int                              // owned by run: leases being signed
	asked    map[string]bool                  // owned by run: what was challenged for this job, by provider and class

	noting  sync.Mutex      // held from reading the record to replacing it
	changes network.Changes // of the record and the logs

	mu     sync.Mutex // guards what follows
	bids   []*market.Bid
	leases map[souk.LeaseID]*Proposal
	rec    Record
	doing  string            // what the provider is about while it stages; empty: it did not say
	short  *money.FundsError // the wallet could not pay a deposit
}

func (c *Client) newJob(id souk.JobID, msg *jobv1.Job, rec Record) *Job {
	j := &Job{with: &c.cfg, dealer: c.cfg.Dealer, releases: c.releases, wholeBy: c.wholeBy, id: id, msg: msg, rec: rec,
		events: make(chan scheduler.Event, 256), stops: make(chan struct{}, 1),
		links: map[souk.LeaseID]*runLink{}, leases: map[souk.LeaseID]*Proposal{}}
	dir := filepath.Join(c.cfg.Home, "jobs", id.String())
	j.stdout, j.stderr = disk.NewLogFile(filepath.Join(dir, "stdout.log"), j.changes.Announce, c.cfg.Space.LedgerRoom),
		disk.NewLogFile(filepath.Join(dir, "stderr.log"), j.changes.Announce, c.cfg.Space.LedgerRoom)
	return j
}

// ID is the job's id.
func (j *Job) ID() souk.JobID { return j.id }

// Message is the job as its owner wrote it; not to be changed.
func (j *Job) Message() *jobv1.Job { return j.msg }

// ReadLog copies what stands at offset of one output stream into b; 0 bytes mean
// that there is no more yet.
func (j *Job) ReadLog(stream runv1.LogStream, b []byte, offset uint64) int {
	if stream == runv1.LogStream_LOG_STREAM_STDERR {
		return j.stderr.ReadAt(b, offset)
	}
	return j.stdout.ReadAt(b, offset)
}

// Watch returns a copy of the record, and a channel that closes at the next change.
// While the provider stages or runs the job, what it is about stands in for the detail.
func (j *Job) Watch() (Record, <-chan struct{}) {
	next := j.changes.Next()
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.copied()
	if r.State == scheduler.Staging.String() || r.State == scheduler.Running.String() {
		r.Detail = cmp.Or(r.Detail, j.doing)
	}
	return r, next
}

// copied is a copy of the record. It wants mu.
func (j *Job) copied() Record {
	r := j.rec
	r.Attempts = slices.Clone(r.Attempts)
	r.Outputs = maps.Clone(r.Outputs)
	return r
}

// tell shows what the provider is about; it is not kept.
func (j *Job) tell(doing string) {
	j.mu.Lock()
	changed := j.doing != doing
	j.doing = doing
	j.mu.Unlock()
	if changed {
		j.changes.Announce()
	}
}

// note changes the record; it is durable when note returns nil, together with extra.
func (j *Job) note(ctx context.Context, change func(*Record), extra ...ledger.Record) error {
	j.noting.Lock()
	defer j.noting.Unlock()
	j.mu.Lock()
	r := j.copied()
	j.mu.Unlock()
	change(&r)
	value, err := json.Marshal(&r)
	if err != nil {
		return fmt.Errorf("encode job %s: %w", j.id.Short(), err)
	}
	batch := ledger.Batch{Records: append(extra, ledger.Record{Key: jobKey(j.id), Value: value})}
	if err := j.with.Ledger.Commit(ctx, batch); err != nil {
		return fmt.Errorf("job %s: %w", j.id.Short(), err)
	}
	j.replace(r)
	return nil
}

// show changes the record that others see; the next note makes it durable.
func (j *Job) show(change func(*Record)) {
	j.noting.Lock()
	defer j.noting.Unlock()
	j.mu.Lock()
	r := j.copied()
	j.mu.Unlock()
	change(&r)
	j.replace(r)
}

func (j *Job) replace(r Record) {
	j.mu.Lock()
	j.rec = r
	j.mu.Unlock()
	j.changes.Announce()
}

func (j *Job) machineConfig() scheduler.JobConfig {
	ms := func(v uint64) time.Duration { return time.Duration(v) * time.Millisecond }
	cfg := j.with.Waits.Job
	cfg.MaxDuration, cfg.StartWithin = ms(j.msg.Limits.MaxDurationMs), ms(j.msg.Limits.StartWithinMs)
	cfg.HoldPaused, cfg.MaxPrice, cfg.Retry = ms(j.msg.Limits.HoldPausedMs), PricePerDevice(j.msg), j.msg.Retry
	return cfg
}

// run takes the job to its end, or until ctx ends: then the next start resumes it.
func (j *Job) run(ctx context.Context) error {
	if err := errors.Join(j.stdout.Resume(), j.stderr.Resume()); err != nil {
		return err
	}
	defer j.stdout.Close()
	defer j.stderr.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	rec, _ := j.Watch()
	if rec.Snapshot.Attempts > 0 || rec.Snapshot.Stopping {
		j.machine = scheduler.ResumeJob(j.machineConfig(), rec.Snapshot, time.Now())
	} else {
		j.machine = scheduler.NewJob(j.machineConfig(), time.Now())
	}
	err := j.drive(ctx, g)
	cancel()
	return errors.Join(err, g.Wait())
}

// again goes on with a job whose run could not write its record, from the last
// record there is: what a restart of the node would do.
func (j *Job) again(ctx context.Context) error {
	j.links, j.next, j.inFlight = map[souk.LeaseID]*runLink{}, nil, 0
	for len(j.events) > 0 {
		<-j.events // of the run before; nothing of it sends any more
	}
	j.mu.Lock()
	err := j.rec.adopt()
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.run(ctx)
}

// drive feeds the machine until it has finished and nothing it started is open.
func (j *Job) drive(ctx context.Context, g *errgroup.Group) error {
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
		if ctx.Err() != nil {
			return nil // that something failed may only say that this node is stopping
		}
		done, err := j.step(ctx, g, ev)
		if err != nil || done {
			return err
		}
		if next, ok := j.machine.Next(); ok {
			timer.Reset(time.Until(next))
		}
	}
}

// step gives the machine one event, stores what changed, and only then acts.
func (j *Job) step(ctx context.Context, g *errgroup.Group, ev scheduler.Event) (done bool, err error) {
	switch e := ev.(type) {
	case scheduler.LeaseSigned, scheduler.LeaseDeclined, scheduler.LeaseFailed:
		j.inFlight--
	case linkClosed:
		delete(j.links, e.lease)
		return j.finished(), nil
	case bookFilled:
		if j.machine.State() != scheduler.Matching {
			return j.finished(), nil // stopped meanwhile
		}
		return j.finished(), j.find(ctx, g)
	}
	acts := j.machine.Step(time.Now(), ev)
	snap := j.machine.Snapshot()
	for i := range snap.Over {
		snap.Over[i].Misses = nil // shown as declines; here they would only make the record grow
	}
	rec, _ := j.Watch()
	state := j.machine.State().String()
	if state != rec.State && rec.Ended.IsZero() || !snapshotEqual(snap, rec.Snapshot) {
		change := func(r *Record) { r.Snapshot = snap; r.State = stateOr(r, state) }
		// What is promised in a lease is stored before it leaves (see propose), and
		// that it was signed after it came back. Before that a restart searches
		// again: to store that one asks to sign would only make the provider wait.
		if snap.State == scheduler.Leasing && !snap.Stopping {
			j.show(change)
		} else if err := j.note(ctx, change); err != nil {
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
func stateOr(r *Record, state string) string {
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

func (j *Job) finished() bool {
	rec, _ := j.Watch()
	return !rec.Ended.IsZero() && j.inFlight == 0 && len(j.links) == 0
}

// post hands an event to the job's goroutine.
func (j *Job) post(ctx context.Context, ev scheduler.Event) {
	select {
	case j.events <- ev:
	case <-ctx.Done():
	}
}

// act does one action; what takes time runs on g and answers by an event.
func (j *Job) act(ctx context.Context, g *errgroup.Group, act scheduler.Action) error {
	switch a := act.(type) {
	case scheduler.FindCandidates:
		return j.find(ctx, g)
	case scheduler.Dial:
		for _, p := range a.Peers {
			offers := j.offers[p]
			g.Go(func() error { j.dial(ctx, p, offers); return nil })
		}
	case scheduler.Ask:
		offers := j.offers[a.Peer]
		g.Go(func() error { j.ask(ctx, a, offers); return nil })
	case scheduler.SignLease:
		j.inFlight++
		g.Go(func() error { j.sign(ctx, a); return nil })
	case scheduler.Attach:
		if err := j.attach(ctx, g, a); err != nil { // files or records of ours are missing: the job cannot go on
			j.next = append(j.next, scheduler.RunState{Lease: a.Lease, Phase: runv1.Phase_PHASE_ENDED,
				Reason: runv1.EndReason_END_REASON_CLIENT_INPUTS, Detail: network.Clip(err.Error(), 200)})
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

// Stop asks for a job's end.
func (j *Job) Stop() {
	select {
	case j.stops <- struct{}{}:
	default: // asked already
	}
}

// Summary is the job in a line.
func (j *Job) Summary() *apiv1.JobSummary {
	r, _ := j.Watch()
	return r.Summary(j.id, j.msg)
}
