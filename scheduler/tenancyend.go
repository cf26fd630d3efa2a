package scheduler

import (
	"cmp"
	"time"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

var reclaimedByOwner = cause{runv1.EndReason_END_REASON_RECLAIMED, "the owner took the device back"}

// release ends the lease for its client, wherever it stands.
func (t *Tenancy) release(e ReleaseAsked) {
	switch {
	case t.step.before():
		t.end(cause{runv1.EndReason_END_REASON_CLIENT_RELEASED, "released before it started"})
	case t.step == tenancyStarting:
		t.stopOnceStarted(cause{runv1.EndReason_END_REASON_CLIENT_RELEASED, "the client released the lease"})
	case t.step == tenancyRunning || t.step == tenancyPaused:
		t.stopRun(cause{runv1.EndReason_END_REASON_CLIENT_RELEASED, "the client released the lease"})
	case t.step == tenancyCollecting:
		t.dropped = t.dropped || e.Discard
		t.settle()
	default:
		t.dropped = t.dropped || e.Discard
	}
}

// reclaimed ends the lease for the device's owner, after the notice if it runs.
func (t *Tenancy) reclaimed(e ReclaimAsked) {
	why := reclaimedByOwner
	if e.Broken {
		why = cause{runv1.EndReason_END_REASON_PROVIDER_STOPPED, "the owner took the device back, which the lease does not provide for"}
	}
	if t.step.before() {
		t.end(why)
		return
	}
	if at := t.now.Add(e.Notice); t.reclaim.IsZero() || at.Before(t.reclaim) {
		first := t.reclaim.IsZero()
		t.reclaim, t.taken = at, why
		t.tellReclaim(first)
	}
}

// tellReclaim lets the client and, at first, the job know how long it has.
func (t *Tenancy) tellReclaim(first bool) {
	if t.step != tenancyRunning && t.step != tenancyPaused {
		return
	}
	left := max(0, t.reclaim.Sub(t.now)).Round(time.Second)
	if left == 0 {
		return // it ends now
	}
	t.state.Detail = "the owner takes the device back in " + left.String()
	t.store()
	if first && t.cfg.Signal {
		t.emit(SignalRun{})
	}
}

// deviceFailed ends a lease whose device has failed. A run that is over keeps what
// it made.
func (t *Tenancy) deviceFailed(e DeviceFailed) {
	failed := cause{e.Reason, e.Detail}
	switch {
	case t.step.before():
		t.end(failed)
	case t.step == tenancyStarting:
		t.stopOnceStarted(failed)
		t.until = e.Until
	case t.step == tenancyRunning || t.step == tenancyPaused:
		t.stopRun(failed)
		t.until = e.Until
		t.forgo()
	}
}

// forgo takes back what was billed although not all was well.
func (t *Tenancy) forgo() {
	if t.until.IsZero() || !t.until.Before(t.now) {
		return
	}
	t.meter.Forgo(t.until)
	if t.ranUntil.IsZero() || t.until.Before(t.ranUntil) {
		t.ranUntil = t.until
	}
}

// providerStops ends what can be ended, and leaves the rest to the next start.
func (t *Tenancy) providerStops() {
	t.stopping = true
	switch {
	case t.step.before():
		t.end(providerStopping)
	case t.step == tenancyStarting:
		t.stopOnceStarted(providerStopping)
	case t.step == tenancyRunning || t.step == tenancyPaused:
		t.stopRun(providerStopping)
	case t.step == tenancyCollecting:
		t.suspend()
	}
}

// stopOnceStarted notes why a run that is about to start must end; the first
// reason stays.
func (t *Tenancy) stopOnceStarted(why cause) {
	if t.why.reason == runv1.EndReason_END_REASON_UNSPECIFIED {
		t.why = why
	}
}

// providerFailed acts on what the driver could not do. A run that is being stopped
// already, and one that is over, end as they would.
func (t *Tenancy) providerFailed(e ProviderFailed) {
	failed := cause{cmp.Or(e.Reason, runv1.EndReason_END_REASON_PROVIDER_FAILED), e.Detail}
	switch t.step {
	case tenancyRunning, tenancyPaused:
		t.stopRun(failed)
	case tenancyStopping, tenancyStoring:
	default:
		t.end(failed)
	}
}

// storeFailed goes back to what is durable, and ends what counted on more. A
// receipt that is not stored is stored with the final one: its successor names it.
func (t *Tenancy) storeFailed(detail string) {
	if !t.storing {
		return
	}
	t.storing = false
	t.state, t.owed = t.stored, t.owed[:len(t.owed)-len(t.unstored)]
	failed := cause{runv1.EndReason_END_REASON_PROVIDER_FAILED, detail}
	switch t.step {
	case tenancyRunning, tenancyPaused, tenancyStopping:
		t.lost, t.unstored = append(t.lost, t.unstored...), nil
		t.stopRun(failed)
	case tenancyCollecting, tenancySuspended, tenancyEnded:
		if len(t.unstored) > 0 {
			failed.detail = "final receipt: " + detail
		}
		t.step = tenancyStoring // what was behind the store was not done
		t.end(failed)
	default:
		t.end(failed)
	}
}
