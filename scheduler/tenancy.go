package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TenancyConfig holds what a [Tenancy] needs to know of its lease, and the spans
// it waits. A zero span takes its default.
type TenancyConfig struct {
	Terms   payment.Terms
	StartBy time.Time // when the job must run at the latest, by the lease
	Signal  bool      // whether the job is signalled when it is reclaimed
	Deposit bool      // whether a deposit authorization came with the lease

	FundWithin    time.Duration // for the deposits that the lease counts on; default 2m
	RecheckEvery  time.Duration // between two looks for the deposit of another lease; default 100ms
	SendWithin    time.Duration // for the client to send its job once the lease is funded: devices are held unpaid until then; default 30s
	StoreWithin   time.Duration // for the outputs to be stored; default 2m
	CollectWithin time.Duration // for the client to fetch its outputs and send the last voucher; default 10m
	Slack         time.Duration // given to the driver to keep a deadline of its own; default 15s
}

func (c *TenancyConfig) fill() {
	c.FundWithin = cmp.Or(c.FundWithin, 2*time.Minute)
	c.RecheckEvery = cmp.Or(c.RecheckEvery, 100*time.Millisecond)
	c.SendWithin = cmp.Or(c.SendWithin, 30*time.Second)
	c.StoreWithin = cmp.Or(c.StoreWithin, 2*time.Minute)
	c.CollectWithin = cmp.Or(c.CollectWithin, 10*time.Minute)
	c.Slack = cmp.Or(c.Slack, 15*time.Second)
}

// pausesInAll bounds the pauses of a run together.
const pausesInAll = time.Hour

// HeldUntil is when the lease's devices are free again at the latest, whatever its
// client pays and when.
func (c *TenancyConfig) HeldUntil() time.Time {
	return c.StartBy.Add(c.Terms.MaxDuration + pausesInAll)
}

// tenancyStep is where a tenancy stands; several steps may show as one phase.
type tenancyStep uint8

const (
	tenancyFresh       tenancyStep = iota // nothing was done yet
	tenancyDepositing                     // SubmitDeposit is out
	tenancyBacking                        // CheckBacking is out, or the next is waited for
	tenancyAwaitingJob                    // the client has not sent its job
	tenancyStaging                        // StageInputs is out
	tenancyStarting                       // StartRun is out
	tenancyRunning
	tenancyPaused
	tenancyStopping // StopRun is out
	tenancyStoring  // StoreOutputs is out
	tenancyCollecting
	tenancySuspended
	tenancyEnded
)

// before tells whether nothing runs yet, and nothing is about to.
func (s tenancyStep) before() bool { return s < tenancyStarting }

// over tells whether no event changes anything any more.
func (s tenancyStep) over() bool { return s >= tenancySuspended }

// cause is why a run ends, and so who ended it.
type cause struct {
	reason runv1.EndReason
	detail string
}

// Tenancy is the provider's side of one lease, from countersigned to ended: fund,
// stage, run, collect. It owns the lease's meter, its receipts and every deadline.
// The driver calls [Tenancy.Step] with each [TenancyEvent] and does the
// [TenancyAction]s it returns.
//
// What was promised to the client is durable before it is said: the driver does
// no action behind a [StoreTenancy] that is not. After a restart, [RestoreTenancy]
// goes on from what was stored.
type Tenancy struct {
	cfg TenancyConfig
	now time.Time // of the last event; never goes back
	out []TenancyAction

	step     tenancyStep
	deadline time.Time // of the step; zero: it has none
	fundBy   time.Time // of depositing and backing together
	reclaim  time.Time // when a reclaimed run must end; zero: it is not reclaimed
	taken    cause     // why it is

	state    TenancyState
	stored   TenancyState // as the driver has it in its store
	restored bool         // from before a restart of the provider
	gone     bool         // a restored lease did not get its devices again

	meter    *payment.Meter
	usage    payment.Usage     // of the run, as last measured
	owed     []payment.Receipt // stored and not countersigned, oldest first
	unstored []payment.Receipt // of the last StoreTenancy, which may yet fail
	lost     []payment.Receipt // cut, and not stored for a failure
	storing  bool              // the last Step gave a StoreTenancy
	posting  uint64            // the receipt whose PostCountersign is out; 0: none
	paid     souk.Atoms        // what that answer pays

	holding  bool      // has its devices
	granted  string    // the CID of the outputs that the client may fetch
	job      bool      // the client's job message is here
	dropped  bool      // the client wants nothing more of this lease, and signs nothing more
	stopping bool      // the daemon is
	why      cause     // why the run was stopped; without a reason where it ended by itself
	ranUntil time.Time // when the job stopped running for good; zero while it may run
	until    time.Time // nothing later is billed, as not all was well; zero: it was
}

// NewTenancy returns the tenancy of a lease that was just countersigned and has
// its devices: its first [Tenancy.Step], due at once, sets it going.
func NewTenancy(cfg TenancyConfig, now time.Time) *Tenancy {
	cfg.fill()
	t := &Tenancy{cfg: cfg, now: now, meter: payment.NewMeter(cfg.Terms), holding: true}
	t.state.Phase = runv1.Phase_PHASE_FUNDING
	t.stored = t.state
	return t
}

// Step takes one event and returns what is to be done, in order. Time that goes
// back is taken as standing still.
func (t *Tenancy) Step(now time.Time, e TenancyEvent) []TenancyAction {
	if now.After(t.now) {
		t.now = now
	}
	t.out = nil
	if failed, ok := e.(StoreFailed); ok {
		t.storeFailed(failed.Detail)
		return t.out
	}
	t.stored, t.unstored, t.storing = t.state, nil, false
	if t.step == tenancyFresh {
		t.begin()
	}
	t.handle(e)
	t.overdue()
	return t.out
}

func (t *Tenancy) handle(e TenancyEvent) {
	if t.step.over() {
		return
	}
	switch e := e.(type) {
	case DepositSent:
		if t.step == tenancyDepositing && e.Tx != t.state.DepositTx {
			t.state.DepositTx = e.Tx
			t.store()
		}
	case DepositCounted:
		if t.step == tenancyDepositing {
			t.checkBacking()
		}
	case FundingFailed:
		if t.step == tenancyDepositing {
			t.end(cause{e.Reason, e.Detail})
		}
	case BackingIs:
		if t.step == tenancyBacking {
			t.backing(e)
		}
	case JobReceived:
		t.job = true
		if t.step == tenancyAwaitingJob {
			t.stage()
		}
	case InputsStaged:
		if t.step == tenancyStaging {
			t.step, t.deadline = tenancyStarting, t.heldUntil()
			t.emit(StartRun{})
		}
	case StagingFailed:
		if t.step == tenancyStaging {
			t.end(cause{e.Reason, e.Detail})
		}
	case ReleaseAsked:
		t.release(e)
	case ReclaimAsked:
		t.reclaimed(e)
	case DeviceFailed:
		t.deviceFailed(e)
	case ProviderStopping:
		t.providerStops()
	case ProviderFailed:
		t.providerFailed(e)
	default:
		t.handleRun(e)
	}
}

// begin emits the first actions, of a new tenancy or after a restart.
func (t *Tenancy) begin() {
	restarted := cause{runv1.EndReason_END_REASON_PROVIDER_RESTARTED, "the provider was restarted"}
	switch phase := t.state.Phase; {
	case phase == runv1.Phase_PHASE_ENDED:
		t.step = tenancyEnded
	case phase == runv1.Phase_PHASE_COLLECTING:
		if t.state.Output != "" {
			t.granted = t.state.Output
			t.emit(GrantOutputs{t.granted})
		}
		t.collect()
	case phase == runv1.Phase_PHASE_FUNDING && !t.gone:
		t.fundBy = t.now.Add(t.cfg.FundWithin)
		if !t.cfg.Deposit {
			t.checkBacking()
			return
		}
		t.step, t.deadline = tenancyDepositing, t.fundBy.Add(t.cfg.Slack)
		t.emit(SubmitDeposit{t.state.DepositTx, t.fundBy})
	case len(t.owed) > 0:
		// What was receipted may still be signed. There is nothing to add to it, so
		// there is no final receipt.
		t.freeDevices()
		t.why = restarted
		t.toCollecting("")
		t.store()
		t.collect()
	default:
		t.end(restarted)
	}
}

// checkBacking asks whether the channel's balance covers the lease.
func (t *Tenancy) checkBacking() {
	t.step, t.deadline = tenancyBacking, t.fundBy
	t.emit(CheckBacking{})
}

func (t *Tenancy) backing(b BackingIs) {
	switch {
	case b.Enough:
		t.state.Phase = runv1.Phase_PHASE_STAGING
		t.step, t.deadline = tenancyAwaitingJob, earlier(t.now.Add(t.cfg.SendWithin), t.cfg.StartBy)
		t.store()
		if t.job {
			t.stage()
		}
	case !b.Pending:
		t.end(cause{runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "the channel holds less than was promised on it"})
	default:
		t.deadline = earlier(t.now.Add(t.cfg.RecheckEvery), t.fundBy)
	}
}

// stage asks for what the job needs. The driver keeps the deadline; its own error
// says more than ours.
func (t *Tenancy) stage() {
	t.step, t.deadline = tenancyStaging, t.cfg.StartBy.Add(t.cfg.Slack)
	t.emit(StageInputs{t.cfg.StartBy})
}

// heldUntil is when a run must end, paused or not: a minute later the floor may
// lease the devices again.
func (t *Tenancy) heldUntil() time.Time { return t.cfg.HeldUntil().Add(-time.Minute) }

// Next is when [Tenancy.Step] must be called at the latest, with a [Tick] if
// nothing else happened. It is false once the tenancy is over, and while it waits
// for the end of a process, which only the runner knows.
func (t *Tenancy) Next() (time.Time, bool) {
	switch t.step {
	case tenancyFresh:
		return t.now, true
	case tenancyStopping, tenancySuspended, tenancyEnded:
		return time.Time{}, false
	}
	at := t.deadline
	if at.IsZero() {
		return at, false
	}
	if t.step == tenancyRunning || t.step == tenancyPaused {
		if next, ok := t.meter.Next(); ok {
			at = earlier(at, next)
		}
		if !t.reclaim.IsZero() {
			at = earlier(at, t.reclaim)
		}
	}
	return at, true
}

// overdue does what a passed deadline asks for.
func (t *Tenancy) overdue() {
	at, ok := t.Next()
	if !ok || t.now.Before(at) {
		return
	}
	switch t.step {
	case tenancyDepositing:
		t.end(cause{runv1.EndReason_END_REASON_PROVIDER_FAILED, "the deposit was not confirmed within " + t.cfg.FundWithin.String()})
	case tenancyBacking:
		if !t.now.Before(t.fundBy) {
			t.end(cause{runv1.EndReason_END_REASON_CLIENT_UNFUNDED, "the deposit that the lease counts on did not come"})
		} else {
			t.checkBacking()
		}
	case tenancyAwaitingJob:
		late := "in time"
		if t.now.Before(t.cfg.StartBy) {
			late = "within " + t.cfg.SendWithin.String()
		}
		t.end(cause{runv1.EndReason_END_REASON_CLIENT_INPUTS, "the client did not send the job " + late})
	case tenancyStaging:
		t.end(cause{runv1.EndReason_END_REASON_CLIENT_INPUTS, "the inputs did not come in time"})
	case tenancyStarting:
		t.stopOnceStarted(cause{runv1.EndReason_END_REASON_PROVIDER_FAILED, "the job did not start"})
		t.deadline = time.Time{} // only the runner knows when nothing holds the devices
	case tenancyRunning, tenancyPaused:
		t.runOverdue()
	case tenancyStoring:
		t.end(cause{runv1.EndReason_END_REASON_PROVIDER_FAILED, "keep outputs: not done within " + t.cfg.StoreWithin.String()})
	case tenancyCollecting:
		t.end(cause{runv1.EndReason_END_REASON_CLIENT_OUTPUTS, "the client did not settle the final receipt in time"})
	}
}

// store asks for the state to become durable, with receipts.
func (t *Tenancy) store(receipts ...payment.Receipt) {
	t.storing, t.unstored = true, append(t.unstored, receipts...)
	t.owed = append(slices.Clip(t.owed), receipts...)
	t.emit(StoreTenancy{t.state, receipts})
}

// freeDevices gives the devices back, once.
func (t *Tenancy) freeDevices() {
	if t.holding {
		t.holding = false
		t.emit(FreeDevices{})
	}
}

// end is the last step. The first reason stays: a client that does not settle a run
// that the provider lost is not to blame. A client is to blame if it does not fetch
// and pay for a good result.
func (t *Tenancy) end(why cause) {
	if t.stopping && t.step < tenancyCollecting { // whatever broke, it was that
		why = providerStopping
	}
	if t.granted != "" {
		t.emit(WithdrawOutputs{t.granted})
	}
	t.freeDevices()
	if t.state.Reason == runv1.EndReason_END_REASON_UNSPECIFIED ||
		t.state.Reason == runv1.EndReason_END_REASON_COMPLETED && why.reason == runv1.EndReason_END_REASON_CLIENT_OUTPUTS {
		t.state.Reason, t.state.Detail = why.reason, clipDetail(why.detail)
	}
	t.state.Phase, t.state.Ended = runv1.Phase_PHASE_ENDED, t.now
	t.step = tenancyEnded
	t.emit(EndTenancy{t.state})
}

func (t *Tenancy) emit(actions ...TenancyAction) { t.out = append(t.out, actions...) }
