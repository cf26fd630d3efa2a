package scheduler

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

var providerStopping = cause{runv1.EndReason_END_REASON_PROVIDER_STOPPED, "the provider is stopping"}

// handleRun takes the events of a run and of its receipts.
func (t *Tenancy) handleRun(e TenancyEvent) {
	switch e := e.(type) {
	case RunStarted:
		if t.step == tenancyStarting {
			t.started()
		}
	case RunMeasured:
		t.usage = e.Usage
	case RunOver:
		t.runOver(e)
	case DiskLow:
		if t.step == tenancyRunning || t.step == tenancyPaused {
			t.stopRun(cause{runv1.EndReason_END_REASON_PROVIDER_FAILED, "the provider's disk is nearly full"})
		}
	case OutputsStored:
		if t.step == tenancyStoring {
			t.granted = e.Output
			t.finish(e.Output, e.Digest)
		}
	case OutputsNotStored:
		if t.step == tenancyStoring {
			t.noOutputs(e.Detail)
		}
	case CountersignReceived:
		t.countersign(e)
	case CountersignPosted:
		t.posted(e)
	case CountersignRefused:
		if e.Seq == t.posting {
			t.posting = 0
		}
	}
}

// started begins to bill.
func (t *Tenancy) started() {
	t.meter.Start(t.now)
	t.step, t.deadline = tenancyRunning, t.heldUntil()
	t.state.Phase = runv1.Phase_PHASE_RUNNING
	if t.reclaim.IsZero() {
		t.store()
	} else if t.tellReclaim(true); !t.storing {
		t.store()
	}
	if t.why.reason != runv1.EndReason_END_REASON_UNSPECIFIED {
		t.stopRun(t.why)
	}
}

// runOverdue acts on the deadlines of a run: those of its receipts, of a reclaim,
// and of its lease.
func (t *Tenancy) runOverdue() {
	switch {
	case !t.now.Before(t.heldUntil()):
		t.stopRun(cause{runv1.EndReason_END_REASON_CLIENT_UNPAID, "paused for too long in all"})
	case !t.reclaim.IsZero() && !t.now.Before(t.reclaim):
		t.stopRun(t.taken)
	default:
		receipt, act := t.meter.Tick(t.now, t.usage)
		var receipts []payment.Receipt
		if receipt != nil {
			receipts = append(receipts, *receipt)
		}
		t.act(act, receipts...)
	}
}

// act does what the meter asks, with the receipt that it cut.
func (t *Tenancy) act(a payment.Action, receipts ...payment.Receipt) {
	switch a.Do {
	case payment.Pause:
		t.step, t.state.Phase = tenancyPaused, runv1.Phase_PHASE_PAUSED
		t.store(receipts...)
		t.emit(PauseRun{})
	case payment.Resume:
		t.step, t.state.Phase = tenancyRunning, runv1.Phase_PHASE_RUNNING
		t.store(receipts...)
		t.emit(ResumeRun{})
	default:
		if len(receipts) > 0 {
			t.store(receipts...)
		}
	}
	if a.Do == payment.Stop {
		t.stopRun(cause{a.Reason, "stopped by the meter"})
	}
}

// stopRun ends the run, which is then waited for.
func (t *Tenancy) stopRun(why cause) {
	t.why = why
	if t.step == tenancyPaused {
		t.ranUntil = t.now // a late countersignature does not start the clock again
	}
	t.step, t.deadline = tenancyStopping, time.Time{}
	t.emit(StopRun{})
}

// runOver takes the end of the process: the devices are free, the lease's money is
// not settled yet.
func (t *Tenancy) runOver(e RunOver) {
	switch t.step {
	case tenancyStarting, tenancyRunning, tenancyPaused, tenancyStopping:
	default:
		return
	}
	if t.why.reason == runv1.EndReason_END_REASON_UNSPECIFIED {
		t.why = cause{e.Reason, e.Detail}
		if t.cfg.Signal && !t.reclaim.IsZero() && e.Reason == runv1.EndReason_END_REASON_COMPLETED && e.Exit != 0 {
			t.why = t.taken // it saved its state and ended, as it was told to
		}
	}
	if t.until.IsZero() || !e.Until.IsZero() && e.Until.Before(t.until) {
		t.until = e.Until
	}
	t.forgo()
	if t.ranUntil.IsZero() {
		t.ranUntil = t.now
	}
	t.state.ExitCode, t.usage = e.Exit, e.Usage
	t.freeDevices()
	if t.stopping || t.why == providerStopping {
		t.finishWithoutOutputs()
		return
	}
	t.step, t.deadline = tenancyStoring, t.now.Add(t.cfg.StoreWithin+t.cfg.Slack)
	t.emit(StoreOutputs{})
}

// finishWithoutOutputs ends a run whose outputs a stopping daemon does not wait
// for. A result that cannot be had was not completed; what ended for another reason
// keeps that.
func (t *Tenancy) finishWithoutOutputs() {
	if t.why.reason == runv1.EndReason_END_REASON_COMPLETED {
		t.why = providerStopping
	}
	t.finish("", souk.Digest{})
}

func (t *Tenancy) noOutputs(detail string) {
	if t.stopping {
		t.finishWithoutOutputs()
		return
	}
	t.end(cause{runv1.EndReason_END_REASON_PROVIDER_FAILED, "keep outputs: " + detail})
}

// finish cuts the final receipt. It is signed also when the daemon is stopping.
func (t *Tenancy) finish(output string, digest souk.Digest) {
	final := t.meter.Finish(t.ranUntil, digest, t.usage)
	t.toCollecting(output)
	t.store(append(t.lost, final)...)
	t.lost = nil
	t.collect()
}

// toCollecting changes the state to what the client sees once the run is over.
func (t *Tenancy) toCollecting(output string) {
	t.state.Phase, t.state.Output = runv1.Phase_PHASE_COLLECTING, output
	t.state.Reason, t.state.Detail = t.why.reason, clipDetail(t.why.detail)
}

// collect waits until the client has signed all receipts, or says that it wants
// nothing more of the lease. A stopping daemon leaves that to its next start.
func (t *Tenancy) collect() {
	t.step, t.deadline = tenancyCollecting, t.now.Add(t.cfg.CollectWithin)
	if t.stopping {
		t.suspend()
		return
	}
	t.settle()
}

// settle ends a lease that nothing is owed on.
func (t *Tenancy) settle() {
	if len(t.owed) == 0 || t.dropped {
		t.end(cause{t.state.Reason, t.state.Detail})
	}
}

func (t *Tenancy) suspend() {
	if t.granted != "" {
		t.emit(WithdrawOutputs{t.granted})
	}
	t.step = tenancySuspended
	t.emit(SuspendTenancy{})
}

// countersign checks the client's answer to the oldest receipt that waits. A wrong
// one changes nothing.
func (t *Tenancy) countersign(e CountersignReceived) {
	if len(t.owed) == 0 || t.posting != 0 {
		return // a repeated answer to a receipt that is done, or about to be
	}
	r := t.owed[0]
	digest := r.Digest(t.cfg.Terms.Domain)
	if !bytes.Equal(digest[:], e.Receipt) {
		t.emit(RejectCountersign{fmt.Errorf("answers another receipt than %d: %w", r.Seq, payment.ErrSequence)})
		return
	}
	r.ClientSig = e.Signature
	if err := r.VerifyClient(t.cfg.Terms.Domain); err != nil {
		t.emit(RejectCountersign{err})
		return
	}
	if e.Paid < uint64(r.CumulativeDue) || e.Paid > uint64(t.cfg.Terms.Reserve) {
		t.emit(RejectCountersign{fmt.Errorf("paid %d of %d due", e.Paid, r.CumulativeDue)})
		return
	}
	t.posting, t.paid = r.Seq, souk.Atoms(e.Paid)
	t.emit(PostCountersign{r, e.Voucher, t.paid})
}

// posted takes a receipt as countersigned.
func (t *Tenancy) posted(e CountersignPosted) {
	if t.posting == 0 || e.Seq != t.posting {
		return
	}
	t.posting, t.owed = 0, slices.Clone(t.owed[1:])
	at := t.now
	if !t.ranUntil.IsZero() {
		at = t.ranUntil
	}
	act, _ := t.meter.Countersigned(at, e.Seq, t.paid) // short of what is paid ahead: the meter goes on waiting
	switch t.step {
	case tenancyRunning, tenancyPaused:
		if e.Overdrawn { // what is due was taken; more would be paid from what the client withdraws
			t.stopRun(cause{runv1.EndReason_END_REASON_CLIENT_UNPAID, "a withdrawal takes what was promised on the channel"})
			return
		}
		t.act(act)
	case tenancyCollecting:
		t.settle()
	}
}

// Due is the price of all that ran up to the last time the tenancy was told, in
// receipts or not.
func (t *Tenancy) Due() souk.Atoms { return t.meter.Due() }

// TakesSample tells whether a sample of a device that was taken then, in Unix
// milliseconds, can still be in a receipt.
func (t *Tenancy) TakesSample(at int64) bool { return t.ranUntil.IsZero() && t.meter.TakesSample(at) }

// Sample adds the leaf of a sample that [Tenancy.TakesSample]: the driver has it in
// its store, and shows it to the client before the receipt that covers it.
func (t *Tenancy) Sample(at int64, leaf souk.Digest) { t.meter.Sample(at, leaf) }
