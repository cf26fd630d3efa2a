package scheduler

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

func testConfig() JobConfig {
	return JobConfig{MaxDuration: time.Hour, MaxPrice: 500, Ask: 3,
		Retry: &jobv1.Retry{On: []jobv1.RetryCause{lost, reclaimed}, Max: 1}}
}

// walk drives a job by hand and keeps what it did.
type walk struct {
	t    testing.TB
	a    *Job
	now  time.Time
	acts []Action // of the last step
	all  []Action
}

func newWalk(t testing.TB, cfg JobConfig) *walk {
	return &walk{t: t, a: NewJob(cfg, start), now: start}
}

// do gives events one after another, 10 ms apart.
func (w *walk) do(events ...Event) *walk {
	for _, e := range events {
		w.now = w.now.Add(10 * time.Millisecond)
		w.acts = w.a.Step(w.now, e)
		w.all = append(w.all, w.acts...)
	}
	return w
}

// wait lets time pass until the job wants to be called, and calls it.
func (w *walk) wait() *walk {
	w.t.Helper()
	at, ok := w.a.Next()
	if !ok {
		w.t.Fatal("nothing to wait for")
	}
	if at.After(w.now) {
		w.now = at
	}
	w.acts = w.a.Step(w.now, Tick{})
	w.all = append(w.all, w.acts...)
	return w
}

func (w *walk) wants(actions ...Action) *walk {
	w.t.Helper()
	if !reflect.DeepEqual(w.acts, actions) {
		w.t.Fatalf("in state %s it wants %s; not %s", w.a.State(), show(w.acts), show(actions))
	}
	return w
}

func (w *walk) in(s State) *walk {
	w.t.Helper()
	if got := w.a.State(); got != s {
		w.t.Fatalf("state is %s; want %s", got, s)
	}
	return w
}

func (w *walk) ends(s State, r Reason) {
	w.t.Helper()
	end, ok := w.a.End()
	if !ok || end.State != s || end.Reason != r {
		w.t.Fatalf("ends %+v, %t; want %s, %s", end, ok, s, r)
	}
	if f, ok := w.all[len(w.all)-1].(Finish); !ok || f.End != end {
		w.t.Fatalf("the last action is %s", show(w.all[len(w.all)-1:]))
	}
}

func show(actions []Action) string {
	var parts []string
	for _, a := range actions {
		parts = append(parts, fmt.Sprintf("%T%v", a, a))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func phase(p runv1.Phase) RunState { return RunState{Lease: leaseID(1), Phase: p} }

func over(r runv1.EndReason, exit int32, output string) RunState {
	return RunState{Lease: leaseID(1), Phase: runv1.Phase_PHASE_COLLECTING, Reason: r, Exit: exit, Output: output}
}

// Scripts that bring a fresh job somewhere.
var (
	toMatching = []Event{Tick{}}
	toDialing  = append(toMatching[:1:1], Candidates{[]souk.NodeKey{key(1), key(2)}})
	toAsking   = append(toDialing[:2:2], Dialed{key(1), 0}, Dialed{key(2), 0})
	toBid      = append(toAsking[:4:4], BidArrived{key(1), 7, 300, 0})
	toLeasing  = append(toBid[:5:5], BidArrived{key(2), 8, 400, 0})
	toFunding  = append(toLeasing[:6:6], LeaseSigned{key(1), leaseID(1)})
	toStaging  = append(toFunding[:7:7], phase(runv1.Phase_PHASE_STAGING))
	toRunning  = append(toStaging[:8:8], phase(runv1.Phase_PHASE_RUNNING))
	toPaused   = append(toRunning[:9:9], phase(runv1.Phase_PHASE_PAUSED))
	toFetching = append(toRunning[:9:9], over(runv1.EndReason_END_REASON_COMPLETED, 0, "cid"))
	toSettling = append(toFetching[:10:10], OutputsVerified{leaseID(1)})
	toEnd      = append(toSettling[:11:11], Settled{leaseID(1)})
)

func TestJobHappy(t *testing.T) {
	w := newWalk(t, testConfig())
	w.do(Tick{}).wants(FindCandidates{}).in(Matching)
	w.do(Candidates{[]souk.NodeKey{key(1), key(2), key(1)}}).wants(Dial{[]souk.NodeKey{key(1), key(2)}}).in(Matching)
	w.do(Dialed{key(2), 20 * time.Millisecond}).wants(Ask{key(2), w.now.Add(290 * time.Millisecond)})
	w.do(Dialed{key(1), 0}).wants(Ask{key(1), w.now.Add(250 * time.Millisecond)})
	w.do(BidArrived{key(2), 8, 400, 0}).wants()
	w.do(BidArrived{key(1), 7, 300, 0}).wants(SignLease{key(1), 7}).in(Leasing)
	w.do(LeaseSigned{key(1), leaseID(1)}).wants(Attach{key(1), leaseID(1)}).in(Funding)
	w.do(phase(runv1.Phase_PHASE_FUNDING)).wants().in(Funding)
	w.do(phase(runv1.Phase_PHASE_STAGING)).wants().in(Staging)
	w.do(phase(runv1.Phase_PHASE_RUNNING)).wants().in(Running)
	w.do(phase(runv1.Phase_PHASE_PAUSED)).wants().in(Paused)
	w.do(phase(runv1.Phase_PHASE_RUNNING)).wants().in(Running)
	w.do(phase(runv1.Phase_PHASE_STAGING)).wants().in(Running)
	w.do(over(runv1.EndReason_END_REASON_COMPLETED, 0, "cid")).wants(FetchOutputs{leaseID(1), "cid"}).in(Collecting)
	w.do(OutputsVerified{leaseID(1)}).wants(SettleUp{leaseID(1)}).in(Collecting)
	end := End{State: Done, Reason: ReasonCompleted, Output: "cid"}
	w.do(Settled{leaseID(1)}).wants(Finish{end}).in(Done)
	if _, ok := w.a.Next(); ok || w.a.Attempts() != 1 {
		t.Errorf("after the end: %d attempts", w.a.Attempts())
	}
}

func TestJobChooses(t *testing.T) {
	t.Run("the cheapest, then the best candidate", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toAsking...)
		w.do(BidArrived{key(2), 8, 300, 0}, BidArrived{key(1), 7, 300, 0}).wants(SignLease{key(1), 7})
	})
	t.Run("when the window closes", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toBid...)
		asked := w.now.Add(-10 * time.Millisecond)
		w.wait().wants(SignLease{key(1), 7})
		if got := w.now.Sub(asked); got != 250*time.Millisecond {
			t.Errorf("the window closed after %s", got)
		}
		if m := w.a.Misses(); len(m) != 1 || m[0].Peer != key(2) || m[0].Reason != "no-answer" {
			t.Errorf("misses: %+v", m)
		}
	})
	t.Run("without waiting for a slow dial", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toDialing...).do(Dialed{key(2), 0}, BidArrived{key(2), 8, 400, 0})
		w.wait().wants(SignLease{key(2), 8})
	})
	t.Run("never above the cap", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toAsking...).do(BidArrived{key(1), 7, 501, 0}, DialFailed{key(2), "reset"})
		w.ends(NoMatch, ReasonDeclined)
	})
	t.Run("the next bid when a lease is taken", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toLeasing...)
		w.do(LeaseDeclined{Peer: key(1), Why: market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_TAKEN}}).wants(SignLease{key(2), 8})
		w.do(LeaseFailed{key(2), "reset"})
		w.wants(Release{Peer: key(2), Discard: true, Drop: true}, Finish{End{State: NoMatch, Reason: ReasonDeclined, Detail: "taken 1, lease-failed 1"}})
	})
	t.Run("the next candidates when all decline", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(Tick{}, Candidates{[]souk.NodeKey{key(1), key(2), key(3), key(4)}})
		w.wants(Dial{[]souk.NodeKey{key(1), key(2), key(3)}})
		w.do(Dialed{key(1), 0}, Declined{Peer: key(1), Why: market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY, Shortfall: 1}},
			DialFailed{key(2), "refused"}, DialFailed{key(3), "refused"})
		w.wants(Dial{[]souk.NodeKey{key(4)}})
		w.do(Dialed{key(4), 0}, Declined{Peer: key(4), Why: market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY, Shortfall: 2}})
		w.ends(NoMatch, ReasonDeclined)
		if end, _ := w.a.End(); end.Detail != "busy 2, unreachable 2" {
			t.Errorf("detail is %q", end.Detail)
		}
	})
	t.Run("again who has a stale bid", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toLeasing...)
		w.wait().wants(Release{Peer: key(1), Discard: true, Drop: true}, Dial{[]souk.NodeKey{key(2)}})
		w.do(Dialed{key(2), 0}, BidArrived{key(2), 9, 400, 0}).wants(SignLease{key(2), 9})
	})
}

func TestJobEnds(t *testing.T) {
	link := []Event{LinkLost{leaseID(1)}}
	for _, tt := range []struct {
		name   string
		script []Event
		then   []Event
		wait   int // how many deadlines pass afterwards
		state  State
		reason Reason
	}{
		{"no offer", toMatching, []Event{Candidates{}}, 0, NoMatch, ReasonNoOffer},
		{"no answer to the search", toMatching, nil, 1, NoMatch, ReasonNoOffer},
		{"short of funds", toLeasing, []Event{LeaseDeclined{Peer: key(1), Why: market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT}},
			LeaseDeclined{Peer: key(2), Why: market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT}}}, 0, Unpaid, ReasonPaymentRefused},
		{"staging for too long", toStaging, nil, 1, Failed, ReasonStartTimeout},
		{"deposit refused", toFunding, []Event{over(runv1.EndReason_END_REASON_CLIENT_UNFUNDED, 0, "")}, 0, Unpaid, ReasonClientUnfunded},
		{"unpaid", toPaused, []Event{over(runv1.EndReason_END_REASON_CLIENT_UNPAID, 0, "")}, 0, Unpaid, ReasonClientUnpaid},
		{"paused for too long", toPaused, nil, 1, Unpaid, ReasonClientUnpaid},
		{"running for too long", toRunning, nil, 2, Failed, ReasonJobTime},
		{"ended for its length", toRunning, []Event{over(runv1.EndReason_END_REASON_JOB_TIME, 0, ""), Settled{leaseID(1)}}, 0, Failed, ReasonJobTime},
		{"out of memory", toRunning, []Event{over(runv1.EndReason_END_REASON_JOB_MEMORY, 0, "cid"), OutputsFailed{leaseID(1), ""}, Settled{leaseID(1)}}, 0, Failed, ReasonJobMemory},
		{"exit code", toRunning, []Event{over(runv1.EndReason_END_REASON_COMPLETED, 3, ""), Settled{leaseID(1)}}, 0, Failed, ReasonExitCode},
		{"reserve spent", toRunning, []Event{over(runv1.EndReason_END_REASON_RESERVE_SPENT, 0, ""), Settled{leaseID(1)}}, 0, Failed, ReasonReserveSpent},
		{"released elsewhere", toRunning, []Event{over(runv1.EndReason_END_REASON_CLIENT_RELEASED, 0, ""), Settled{leaseID(1)}}, 0, Stopped, ReasonClientReleased},
		{"not settled", toSettling, nil, 1, Done, ReasonCompleted},
		{"stopped while asking", toAsking, []Event{StopAsked{}}, 0, Stopped, ReasonStopped},
		{"stopped while running, and told", toRunning, []Event{StopAsked{}, over(runv1.EndReason_END_REASON_CLIENT_RELEASED, 0, "cid"), Settled{leaseID(1)}}, 0, Stopped, ReasonStopped},
		{"stopped while running, and not told", toRunning, []Event{StopAsked{}}, 1, Stopped, ReasonStopped},
		{"stopped before anything", nil, []Event{StopAsked{}}, 0, Stopped, ReasonStopped},
		{"lost, and nobody else", toRunning, append(link, Tick{}), 1, Matching, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWalk(t, testConfig()).do(tt.script...).do(tt.then...)
			for range tt.wait {
				w.wait()
			}
			if tt.reason == "" {
				w.in(tt.state).do(Candidates{[]souk.NodeKey{key(1)}}).ends(Failed, ReasonProviderLost)
				return
			}
			w.ends(tt.state, tt.reason)
		})
	}
}

// TestJobSilence asks a market that does not answer: it is asked again after
// a pause, three times, and an answer that comes then counts.
func TestJobSilence(t *testing.T) {
	candidates := Candidates{[]souk.NodeKey{key(1), key(2)}}
	dial := Dial{[]souk.NodeKey{key(1), key(2)}}
	for _, tt := range []struct {
		name   string
		silent func(w *walk) // from the orders to the end of the search
	}{
		{"nobody to be reached", func(w *walk) { w.do(DialFailed{key(1), ""}, DialFailed{key(2), ""}) }},
		{"nobody dialled in time", func(w *walk) { w.wait() }},
		{"no answer to the order", func(w *walk) { w.do(Dialed{key(1), 0}, Dialed{key(2), 0}).wait() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWalk(t, testConfig()).do(Tick{})
			for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
				w.do(candidates).wants(dial)
				tt.silent(w)
				w.in(Matching)
				if next, ok := w.a.Next(); !ok || next.Sub(w.now) != pause {
					t.Fatalf("the pause is %s, %t; want %s", next.Sub(w.now), ok, pause)
				}
				w.wait().wants(FindCandidates{})
			}
			w.do(candidates)
			tt.silent(w)
			w.ends(NoMatch, ReasonNoAnswer)
		})
	}
	again := newWalk(t, testConfig()).do(toAsking...).wait().wait()
	again.wants(FindCandidates{}).do(toBid[1:]...).do(toLeasing[5]).in(Leasing)
	newWalk(t, testConfig()).do(toAsking...).wait().do(StopAsked{}).ends(Stopped, ReasonStopped)
	newWalk(t, testConfig()).do(toAsking...).do(Declined{Peer: key(1)}).wait().ends(NoMatch, ReasonDeclined)
	short := testConfig()
	short.StartWithin = time.Second
	newWalk(t, short).do(toAsking...).wait().wait().ends(NoMatch, ReasonNoAnswer) // no time to ask again
}

func TestJobRetries(t *testing.T) {
	for _, tt := range []struct {
		name   string
		event  Event
		reason Reason
	}{
		{"provider restarted", over(runv1.EndReason_END_REASON_PROVIDER_RESTARTED, 0, ""), ReasonProviderRestarted},
		{"provider failed", over(runv1.EndReason_END_REASON_PROVIDER_FAILED, 0, ""), ReasonProviderFailed},
		{"reclaimed", over(runv1.EndReason_END_REASON_RECLAIMED, 0, ""), ReasonReclaimed},
		{"a reason of a later version", over(99, 0, ""), ReasonUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWalk(t, testConfig()).do(toRunning...).do(tt.event)
			w.wants(Release{key(1), leaseID(1), true, true}, FindCandidates{}).in(Matching)
			w.do(Candidates{[]souk.NodeKey{key(1), key(2)}}).wants(Dial{[]souk.NodeKey{key(2)}}) // not the same again
			w.do(Dialed{key(2), 0}, BidArrived{key(2), 9, 1, 0}, LeaseSigned{key(2), leaseID(2)})
			w.wants(Attach{key(2), leaseID(2)})
			if past := w.a.Over(); len(past) != 1 || past[0].Reason != tt.reason || past[0].Lease != leaseID(1) {
				t.Errorf("attempts that are over: %+v", past)
			}
			e := tt.event.(RunState)
			e.Lease = leaseID(2)
			w.do(e).ends(Failed, tt.reason) // once is allowed, twice is not
		})
	}
	t.Run("not for this cause", func(t *testing.T) {
		cfg := testConfig()
		cfg.Retry.On = []jobv1.RetryCause{reclaimed}
		w := newWalk(t, cfg).do(toFetching...).do(OutputsFailed{leaseID(1), "bad block"})
		w.wants(Release{key(1), leaseID(1), true, true}, Finish{End{State: Failed, Reason: ReasonNoOutputs, Detail: "bad block"}})
	})
	t.Run("link back in time", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toRunning...).do(LinkLost{leaseID(1)})
		if at, _ := w.a.Next(); !at.Equal(w.now.Add(30 * time.Second)) {
			t.Errorf("gives up at %s", at)
		}
		w.do(LinkBack{leaseID(1)}).in(Running)
		if at, _ := w.a.Next(); at.Before(w.now.Add(time.Hour)) {
			t.Errorf("still gives up at %s", at)
		}
	})
}

func TestJobLateLease(t *testing.T) {
	late := LeaseSigned{key(1), leaseID(5)}
	release := Release{key(1), leaseID(5), true, true}
	w := newWalk(t, testConfig()).do(toLeasing...).do(LeaseFailed{key(1), "reset"})
	w.wants(Release{Peer: key(1), Discard: true, Drop: true}, SignLease{key(2), 8})
	w.do(late).wants(release).in(Leasing)
	w.do(LeaseSigned{key(2), leaseID(2)}).in(Funding).do(late).wants(release).in(Funding)
	newWalk(t, testConfig()).do(toEnd...).do(late).wants(release).in(Done)
}

func TestJobTime(t *testing.T) {
	t.Run("pauses do not count as running", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toRunning...)
		w.now = w.now.Add(50 * time.Minute)
		w.do(phase(runv1.Phase_PHASE_PAUSED))
		w.now = w.now.Add(20 * time.Second)
		w.do(phase(runv1.Phase_PHASE_RUNNING))
		if at, _ := w.a.Next(); !at.Equal(w.now.Add(10*time.Minute + 15*time.Second - 10*time.Millisecond)) {
			t.Errorf("ends %s from now", at.Sub(w.now))
		}
	})
	t.Run("outputs that move", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toFetching...)
		began := w.now
		for w.a.State() == Collecting && w.now.Before(start.Add(24*time.Hour)) {
			w.now = w.now.Add(119 * time.Second)
			w.do(OutputsMoving{leaseID(1)})
		}
		w.wants(Release{key(1), leaseID(1), true, true}, FindCandidates{})
		if took := w.now.Sub(began); took < 6*time.Hour || took > 6*time.Hour+2*time.Minute {
			t.Errorf("given up after %s; want 6h", took)
		}
	})
	t.Run("a clock that goes back", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toRunning...)
		at, _ := w.a.Next()
		w.a.Step(start.Add(-time.Hour), LinkLost{leaseID(1)})
		w.a.Step(start.Add(-time.Hour), LinkBack{leaseID(1)})
		if again, _ := w.a.Next(); !again.Equal(at) {
			t.Errorf("moved the deadline by %s", again.Sub(at))
		}
	})
}
