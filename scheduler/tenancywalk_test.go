package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"pgregory.net/rapid"
)

// anyTenancyEvent is each kind of event that needs no state of a tenancy.
func anyTenancyEvent() (events []TenancyEvent) {
	events = append(events, Tick{}, DepositSent{"0xd1"}, DepositSent{"0xd2"}, DepositCounted{}, BackingIs{Enough: true}, BackingIs{Pending: true}, BackingIs{},
		JobReceived{}, InputsStaged{}, RunStarted{}, RunMeasured{payment.Usage{EnergyMillijoules: 9}}, OutputsStored{Output: "cid"}, OutputsStored{}, OutputsNotStored{"gone"},
		CountersignReceived{}, CountersignPosted{Seq: 1}, CountersignPosted{Seq: 2, Overdrawn: true}, CountersignRefused{Seq: 1},
		ReleaseAsked{}, ReleaseAsked{true}, ReclaimAsked{}, ReclaimAsked{Notice: time.Minute}, ReclaimAsked{time.Second, true}, DiskLow{}, DeviceFailed{Reason: runv1.EndReason_END_REASON_DEVICE_FAILED, Detail: "GPU-1 is gone"}, DeviceFailed{runv1.EndReason_END_REASON_PROVIDER_FAILED, "the host is unwell", start.Add(3 * time.Second)},
		RunOver{Reason: runv1.EndReason_END_REASON_DEVICE_FAILED, Until: start.Add(11 * time.Second)}, ProviderStopping{}, ProviderFailed{Detail: "broken"}, ProviderFailed{"another card", runv1.EndReason_END_REASON_DEVICES_UNPROVED})
	for r := range endings {
		events = append(events, FundingFailed{Reason: r}, StagingFailed{Reason: r}, RunOver{Reason: r})
	}
	return events
}

// tenancyScripts bring a tenancy to every step.
var tenancyScripts = map[string][]string{
	"depositing": {"lease deposit"}, "backing": {"lease"}, "awaiting the job": {"given staging"}, "staging": {"given staging", "job"},
	"starting": {"given staging", "job", "staged"}, "running": {"given running"}, "owing": {"given running", "wait"},
	"posting": {"given running", "wait", "countersign"}, "paused": {"given running", "wait", "wait"}, "reclaimed": {"given running", "reclaim 4s"},
	"stopping": {"given running", "wait", "release"}, "storing": {"given running", "wait", "over completed"},
	"collecting": {"given running", "wait", "over completed", "outputs cid"}, "suspended": {"given running", "stopping", "over completed"},
	"ended": {"lease", "release"},
}

func scripted(t testing.TB, script []string) *tenant {
	x := &tenant{t: t}
	for _, line := range script {
		x.command(words(line))
	}
	return x
}

// TestTenancyEveryStep gives every event in every step, once and twice, and looks
// for a tenancy that does not end, or does a thing twice.
func TestTenancyEveryStep(t *testing.T) {
	for name, script := range tenancyScripts {
		t.Run(name, func(t *testing.T) {
			for _, e := range anyTenancyEvent() {
				x := scripted(t, script)
				x.step(e)
				again := x.step(e)
				if _, dropped := e.(ReleaseAsked); len(again) > 0 && !dropped {
					if _, rejected := again[0].(RejectCountersign); !rejected {
						t.Errorf("the second %T%+v wants %s", e, e, x.show(again))
					}
				}
				x.settles()
			}
		})
	}
}

// TestTenancyRestarts ends the provider in every step, with and without what was
// to be stored last, and looks for a tenancy that holds devices then, or never ends.
func TestTenancyRestarts(t *testing.T) {
	for name, script := range tenancyScripts {
		for _, unstored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, unstored %t", name, unstored), func(t *testing.T) {
				x := scripted(t, script)
				if unstored {
					x.unstored()
				}
				phase := x.state.Phase
				x.restart(phase == runv1.Phase_PHASE_FUNDING)
				if at, ok := x.y.Next(); ok && at.After(x.now.Add(10*time.Minute)) {
					t.Errorf("waits for %s", at.Sub(x.now))
				}
				if phase != runv1.Phase_PHASE_FUNDING && x.y.holding {
					t.Error("holds devices that it does not have")
				}
				x.settles()
			})
		}
	}
}

// settles lets time pass, with a runner that does what it is told, until the
// tenancy is over, and checks how.
func (x *tenant) settles() {
	x.t.Helper()
	for n := 0; !x.y.step.over(); n++ {
		if n > 400 {
			x.t.Fatalf("step %d after 400 deadlines", x.y.step)
		}
		if at, ok := x.y.Next(); ok {
			if at.After(x.now) {
				x.now = at
			}
			x.step(Tick{})
		} else {
			x.step(RunOver{Reason: runv1.EndReason_END_REASON_CLIENT_RELEASED})
		}
	}
	if x.y.holding {
		x.t.Fatal("devices are held by a lease that is over")
	}
	if x.y.step == tenancyEnded && !x.ended && x.y.restored {
		return // it was before
	}
	if x.y.step == tenancyEnded && (!x.ended || x.state.Reason == runv1.EndReason_END_REASON_UNSPECIFIED || x.state.Ended.IsZero()) {
		x.t.Fatalf("ended as %+v, stored %t", x.state, x.ended)
	}
}

// tenancyRules is what a driver and a client rely on, over a whole random history.
type tenancyRules struct {
	x       *tenant
	started bool // a job runs, or may
	freed   bool
	over    bool
	agreed  int64 // due by countersigned receipts
}

func (s *tenancyRules) check(t *rapid.T, acts []TenancyAction) {
	for _, a := range acts {
		if s.over {
			t.Fatalf("wants %T after its end", a)
		}
		switch a := a.(type) {
		case StartRun:
			if s.started || s.x.state.Phase != runv1.Phase_PHASE_STAGING {
				t.Fatalf("starts in phase %s, started %t", s.x.state.Phase, s.started)
			}
			s.started = true
		case StopRun, PauseRun, ResumeRun, SignalRun:
			if !s.started {
				t.Fatalf("wants %T, and nothing runs", a)
			}
		case FreeDevices:
			if s.freed || s.started {
				t.Fatalf("frees devices: freed %t, running %t", s.freed, s.started)
			}
			s.freed = true
		case EndTenancy:
			if a.State.Reason == runv1.EndReason_END_REASON_UNSPECIFIED || s.started || !s.freed {
				t.Fatalf("ends as %+v, running %t, devices free %t", a.State, s.started, s.freed)
			}
			s.over = true
		case SuspendTenancy:
			s.over = true
		}
	}
	s.checkReceipts(t)
}

// checkReceipts holds the receipts in the store to their chain, and unpaid work to
// an interval and the grace.
func (s *tenancyRules) checkReceipts(t *rapid.T) {
	var prev souk.Digest
	var due, agreed souk.Atoms
	for i, r := range s.x.receipts {
		if r.Seq != uint64(i+1) || r.PrevReceipt != prev || r.CumulativeDue < due {
			t.Fatalf("receipt %d follows %s, due %d after %d", r.Seq, r.PrevReceipt.Short(), r.CumulativeDue, due)
		}
		if r.Kind == payment.KindFinal && i < len(s.x.receipts)-1 {
			t.Fatalf("receipt %d of %d is final", i+1, len(s.x.receipts))
		}
		if prev, due = r.Digest(s.x.cfg.Terms.Domain), r.CumulativeDue; len(r.ClientSig) > 0 {
			agreed = r.CumulativeDue
		}
	}
	if int64(agreed) < s.agreed {
		t.Fatalf("due %d by both, was %d", agreed, s.agreed)
	}
	s.agreed = int64(agreed)
	if unpaid := max(due, s.x.y.Due()) - agreed; unpaid > 1200 {
		t.Fatalf("%d atoms of unpaid work", unpaid)
	}
}

// TestTenancyRandomWalk plays random histories of drivers, clients and disks that
// mostly mean well, with crashes.
func TestTenancyRandomWalk(t *testing.T) {
	events := anyTenancyEvent()
	rapid.Check(t, func(rt *rapid.T) {
		x := &tenant{t: t}
		s := &tenancyRules{x: x}
		deposit := rapid.Bool().Draw(rt, "deposit")
		s.check(rt, x.start(deposit))
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			x.now = x.now.Add(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 9 * time.Second, 10 * time.Minute}).Draw(rt, "pause"))
			switch kind := rapid.IntRange(0, 9).Draw(rt, "kind"); {
			case kind == 0 && !s.over:
				s.crash(rt)
			case kind == 1 && x.before != nil && !s.over:
				x.unstored()
				s.check(rt, x.step(StoreFailed{"disk full"}))
			case kind == 2:
				e := rapid.SampledFrom(events).Draw(rt, "any")
				s.happens(e)
				s.check(rt, x.step(e))
			default:
				s.likely(rt)
			}
		}
		for n := 0; !x.y.step.over(); n++ {
			if n > 400 {
				rt.Fatalf("step %d after 400 deadlines", x.y.step)
			}
			if at, ok := x.y.Next(); ok {
				x.now = later(x.now, at)
				s.check(rt, x.step(Tick{}))
			} else {
				s.started = false
				s.check(rt, x.step(RunOver{Reason: runv1.EndReason_END_REASON_CLIENT_RELEASED}))
			}
		}
		if x.y.holding {
			rt.Fatal("holds devices after its end")
		}
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// happens notes what an event says of the world.
func (s *tenancyRules) happens(e TenancyEvent) {
	switch e.(type) {
	case RunOver, ProviderFailed:
		if s.x.y.step >= tenancyStarting && s.x.y.step <= tenancyStopping {
			if _, failed := e.(ProviderFailed); !failed || s.x.y.step == tenancyStarting {
				s.started = false
			}
		}
	}
}

// crash begins another life: whatever ran is gone, and what was to be stored last
// may not have been.
func (s *tenancyRules) crash(t *rapid.T) {
	if rapid.Bool().Draw(t, "unstored") {
		s.x.unstored()
	}
	devices := s.x.state.Phase == runv1.Phase_PHASE_FUNDING && rapid.Bool().Draw(t, "devices")
	s.started, s.freed = false, !devices
	s.check(t, s.x.restart(devices))
}

// likely does what a well-meaning driver or client would now.
func (s *tenancyRules) likely(t *rapid.T) {
	x := s.x
	switch x.y.step {
	case tenancyRunning, tenancyPaused, tenancyStopping, tenancyStoring, tenancyCollecting:
		if x.post != nil {
			s.check(t, x.posted(rapid.IntRange(0, 9).Draw(t, "overdrawn") == 0))
			return
		}
		if seq := x.oldest(); seq > 0 && rapid.Bool().Draw(t, "pays") {
			s.check(t, x.step(x.answer(seq)))
			return
		}
	}
	e := map[tenancyStep]TenancyEvent{tenancyDepositing: DepositCounted{}, tenancyBacking: BackingIs{Enough: true}, tenancyAwaitingJob: JobReceived{},
		tenancyStaging: InputsStaged{}, tenancyStarting: RunStarted{}, tenancyStoring: OutputsStored{Output: "cid"},
		tenancyStopping: RunOver{Reason: runv1.EndReason_END_REASON_CLIENT_RELEASED}}[x.y.step]
	if e == nil {
		e = Tick{}
	}
	if x.y.step == tenancyRunning && rapid.IntRange(0, 5).Draw(t, "over") == 0 {
		e = RunOver{Reason: runv1.EndReason_END_REASON_COMPLETED}
	}
	s.happens(e)
	s.check(t, x.step(e))
}
