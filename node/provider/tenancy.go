package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/scheduler"
)

// tenancy drives one lease at its provider: it does what the lease's machine wants
// and tells the machine what came of that. One goroutine, which is in run, owns the
// machine; streams only look at what is under mu and leave messages.
type tenancy struct {
	with    *means
	id      souk.LeaseID
	lease   *leasev1.Lease
	terms   payment.Terms
	channel payment.Channel
	client  peer.ID
	limits  scheduler.TenancyConfig
	dir     string // files and logs of this lease
	stdout  *disk.LogFile
	stderr  *disk.LogFile
	samples *disk.SampleFile // what the devices measured; kept beyond the lease

	jobs         chan []byte                 // the job message, from the first attach that brings it
	countersigns chan *runv1.Countersign     // from streams; full: dropped, the client repeats
	reclaims     chan scheduler.ReclaimAsked // the owner's wish to have a device back
	releases     chan bool                   // the client's wish to end; true: drop the outputs
	findings     chan finding                // from the goroutines that run started

	// Owned by run.
	machine   *scheduler.Tenancy
	message   []byte     // the client's job, as it came
	job       *jobv1.Job // once it is staged
	plan      runner.Plan
	process   runner.Run // nil: nothing runs
	began     time.Time  // when it was started
	judging   time.Time  // when the run ended whose end is being judged: the machine's clock stands still; zero: none is
	telemetry *telemetry // of the run
	working   int        // goroutines that run started and that still work
	stopping  bool       // the machine knows that the daemon is stopping
	diskLow   bool       // the machine knows that the disk is nearly full
	broken    bool       // the machine knows that a device has failed
	finished  bool       // the machine wants nothing more in this life

	changes  network.Changes // of what follows, and of the logs
	mu       sync.Mutex      // guards what follows
	rec      leaseRecord
	doing    string           // what staging is about, for people; empty: nothing to tell
	receipts []*runv1.Receipt // signed by us, not yet by the client; oldest first
}

// finding is what a goroutine of a tenancy has found out.
type finding struct {
	event scheduler.TenancyEvent
	done  chan<- error // told what became of the event; nil: the goroutine has ended
}

// newTenancy is a lease that is about to be countersigned.
func newTenancy(with *means, pr *proposal) *tenancy {
	t := openTenancy(with, pr.lease, pr.terms, pr.channel, pr.peer, leaseRecord{Payload: pr.payload, ClientLease: pr.request.Lease,
		ProviderLease: wire.Seal(with.Key, souk.DomainLease, pr.payload), Deposit: pr.deposit})
	t.machine = scheduler.NewTenancy(t.limits, time.Now())
	t.rec.TenancyState = t.machine.Snapshot()
	return t
}

// openTenancy is a lease without its machine.
func openTenancy(with *means, l *leasev1.Lease, terms payment.Terms, ch payment.Channel, client peer.ID, rec leaseRecord) *tenancy {
	t := &tenancy{with: with, id: terms.Lease, lease: l, terms: terms, channel: ch, client: client, rec: rec,
		dir: filepath.Join(with.Home, "jobs", terms.Lease.String()), findings: make(chan finding),
		jobs: make(chan []byte, 1), countersigns: make(chan *runv1.Countersign, 8), releases: make(chan bool, 1), reclaims: make(chan scheduler.ReclaimAsked, 1)}
	t.limits = scheduler.TenancyConfig{Terms: terms, StartBy: time.UnixMilli(l.StartByMs), Signal: l.GetReclaim().GetSignal(), Deposit: rec.Deposit != nil,
		StoreWithin: storeWithin, FundWithin: with.Waits.Fund, SendWithin: with.Waits.Send, CollectWithin: with.Waits.Collect}
	t.stdout, t.stderr = disk.NewLogFile(filepath.Join(t.dir, "stdout.log"), t.changes.Announce, with.Space.LedgerRoom),
		disk.NewLogFile(filepath.Join(t.dir, "stderr.log"), t.changes.Announce, with.Space.LedgerRoom)
	t.samples = with.Telemetry.Of(t.id)
	return t
}

// occupies is what the lease takes on the floor, and until when at the latest.
func (t *tenancy) occupies() scheduler.Occupancy {
	return scheduler.Occupancy{ID: t.id, Client: t.terms.ClientKey, Devices: t.lease.Devices, Use: t.lease.Resources, Until: t.limits.HeldUntil()}
}

// record returns a copy of the durable state.
func (t *tenancy) record() leaseRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec
}

func (t *tenancy) over() bool { return t.record().Phase == runv1.Phase_PHASE_ENDED }

// watch returns what a stream shows, and a channel that closes at the next change.
func (t *tenancy) watch() (leaseRecord, []*runv1.Receipt, <-chan struct{}) {
	next := t.changes.Next()
	t.mu.Lock()
	defer t.mu.Unlock()
	rec := t.rec
	if rec.Phase == runv1.Phase_PHASE_STAGING {
		rec.Detail = cmp.Or(rec.Detail, t.doing)
	}
	return rec, t.receipts, next
}

// show changes what streams see.
func (t *tenancy) show(change func()) {
	t.mu.Lock()
	change()
	t.mu.Unlock()
	t.changes.Announce()
}

// run takes one lease from countersigned to ended, or to where the next start of
// the daemon goes on.
func (t *tenancy) run(ctx context.Context) {
	guard := t.with.Guard // a busy node must not trim the connection that pays it
	guard.Protect(t.client, t.id.String())
	defer guard.Unprotect(t.client, t.id.String())
	t.drive(ctx)
}

// drive steps the machine with all that happens until it wants nothing more.
func (t *tenancy) drive(ctx context.Context) {
	work, cancel := context.WithCancel(ctx) // of what the lease's end makes useless
	defer cancel()
	t.step(ctx, work, scheduler.Tick{})
	for !t.finished {
		t.happens(ctx, work)
	}
	cancel()
	for t.working > 0 { // what was sent to the chain goes on, and is not cut short
		t.found(ctx, work, <-t.findings)
	}
}

// happens waits for the next event and steps the machine with it.
func (t *tenancy) happens(ctx, work context.Context) {
	var late <-chan time.Time
	if at, ok := t.machine.Next(); ok && t.judging.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		late = timer.C
	}
	var over <-chan struct{}
	var measure <-chan time.Time
	if t.process != nil {
		over = t.process.Done()
		timer := time.NewTimer(time.Until(t.telemetry.next))
		defer timer.Stop()
		measure = timer.C
	}
	low, space := t.with.Space.Look()
	if low != nil && t.process != nil && !t.diskLow {
		t.diskLow = true
		t.step(ctx, work, scheduler.DiskLow{})
		return
	}
	why, devices := t.with.Broken(t.lease)
	if why != nil && !t.broken {
		t.broken = true
		t.step(ctx, work, *why)
		return
	}
	stop := ctx.Done()
	if t.stopping {
		stop = nil
	}
	select {
	case <-space:
	case <-devices:
	case <-stop:
		t.step(ctx, work, scheduler.ProviderStopping{})
	case <-late:
		t.step(ctx, work, t.tick())
	case <-measure:
		t.sample(time.Now(), t.process.Usage(), false)
	case <-over:
		t.runOver(ctx)
	case message := <-t.jobs:
		if t.message == nil {
			t.message = message
		}
		t.step(ctx, work, scheduler.JobReceived{})
	case discard := <-t.releases:
		t.step(ctx, work, scheduler.ReleaseAsked{Discard: discard})
	case ask := <-t.reclaims:
		t.step(ctx, work, ask)
	case c := <-t.countersigns:
		t.countersigned(ctx, work, c)
	case f := <-t.findings:
		t.found(ctx, work, f)
	}
}

// step gives the machine an event, does what it wants in order, and goes on with
// the answers. The error is why not all could be done that e asked for.
func (t *tenancy) step(ctx, work context.Context, e scheduler.TenancyEvent) (failed error) {
	for events := []scheduler.TenancyEvent{e}; len(events) > 0; events = events[1:] {
		_, store := events[0].(scheduler.StoreFailed)
		if ctx.Err() != nil && !t.stopping && !store { // whatever breaks now, it is that
			events = append([]scheduler.TenancyEvent{scheduler.ProviderStopping{}}, events...)
		}
		if _, ok := events[0].(scheduler.ProviderStopping); ok {
			t.stopping = true
		}
		if _, over := events[0].(scheduler.RunOver); over {
			t.judging = time.Time{}
		}
		for _, a := range t.machine.Step(t.now(), events[0]) {
			answer, err := t.do(ctx, work, a)
			if err != nil {
				if failed == nil {
					failed = err
				}
				events = append([]scheduler.TenancyEvent{nil, t.failure(a, err)}, events[1:]...)
				break
			}
			if answer != nil {
				events = append(events, answer)
			}
		}
	}
	return failed
}

// now is the time by the machine's clock. What is waited for to judge a run is no time
// that it ran.
func (t *tenancy) now() time.Time {
	if !t.judging.IsZero() {
		return t.judging
	}
	return time.Now()
}

// failure is the event for an action that could not be done.
func (t *tenancy) failure(a scheduler.TenancyAction, err error) scheduler.TenancyEvent {
	t.with.Log.Warn("lease", "lease", t.id.Short(), "action", fmt.Sprintf("%T", a), "err", err)
	if _, ok := a.(scheduler.StoreTenancy); ok {
		return scheduler.StoreFailed{Detail: err.Error()}
	}
	if no, ok := errors.AsType[*runner.UnprovedError](err); ok {
		return scheduler.ProviderFailed{Detail: network.Clip(no.Error(), runner.MaxDetail), Reason: runv1.EndReason_END_REASON_DEVICES_UNPROVED}
	}
	return scheduler.ProviderFailed{Detail: err.Error()}
}

// do does one action. Where the answer comes at once it is returned.
func (t *tenancy) do(ctx, work context.Context, a scheduler.TenancyAction) (scheduler.TenancyEvent, error) {
	switch a := a.(type) {
	case scheduler.StoreTenancy:
		return nil, t.store(ctx, a)
	case scheduler.SubmitDeposit:
		t.begin(func() scheduler.TenancyEvent { return t.submitDeposit(ctx, a) })
	case scheduler.CheckBacking:
		return t.backing(), nil
	case scheduler.StageInputs:
		t.begin(func() scheduler.TenancyEvent { return t.stage(work, a.By) })
	case scheduler.StartRun:
		return t.startRun(ctx)
	case scheduler.PauseRun:
		if t.process != nil { // its end may be on its way to the machine
			return nil, t.process.Pause()
		}
	case scheduler.ResumeRun:
		if t.process != nil {
			return nil, t.process.Resume()
		}
	case scheduler.SignalRun:
		if s, ok := t.process.(runner.Signaled); ok {
			return nil, s.Signal()
		}
	case scheduler.StopRun:
		if t.process != nil {
			t.process.Stop()
		}
	case scheduler.FreeDevices:
		t.with.Free(t.id)
	case scheduler.StoreOutputs:
		return t.storeOutputs(ctx), nil
	case scheduler.GrantOutputs:
		return nil, t.grant(ctx, a.Output)
	case scheduler.WithdrawOutputs:
		t.with.Outputs.Withdraw(a.Output, t.client)
	case scheduler.PostCountersign:
		return t.post(ctx, a), nil
	case scheduler.RejectCountersign:
		t.with.Log.Warn("countersignature refused", "lease", t.id.Short(), "peer", t.client, "err", a.Err)
	case scheduler.SuspendTenancy:
		t.finished = true
	case scheduler.EndTenancy:
		t.end(ctx, a.State)
		t.finished = true
	}
	return nil, nil
}

// begin has work done on a goroutine that run waits for; its answer is an event.
func (t *tenancy) begin(do func() scheduler.TenancyEvent) {
	t.working++
	go func() { t.findings <- finding{event: do()} }()
}

// found steps the machine with what a goroutine found.
func (t *tenancy) found(ctx, work context.Context, f finding) {
	err := t.step(ctx, work, f.event)
	if f.done == nil {
		t.working--
		return
	}
	f.done <- err
}
