package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

func TestStateNames(t *testing.T) {
	// As souk.api.v1.JobSummary.state lists them.
	const want = "matching leasing funding staging running paused collecting done failed no-match unpaid stopped"
	var got []string
	for s := Matching; s <= Stopped; s++ {
		got = append(got, s.String())
		if s.Ended() != (s >= Done) {
			t.Errorf("%s ended: %t", s, s.Ended())
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("states are %v; want %s", got, want)
	}
	if got := State(99).String(); got != "state-99" {
		t.Errorf("a state that is none is %s", got)
	}
}

func TestReasonOfEveryRun(t *testing.T) {
	for n, name := range runv1.EndReason_name {
		want := Reason(strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "END_REASON_")), "_", "-"))
		if n == 0 {
			want = ReasonUnknown
		}
		if got := ReasonOf(runv1.EndReason(n)); got != want {
			t.Errorf("%s is %s; want %s", name, got, want)
		}
	}
	if got := ReasonOf(99); got != ReasonUnknown {
		t.Errorf("a reason of a later version is %s", got)
	}
}

func TestJobOverrun(t *testing.T) {
	w := newWalk(t, testConfig()).do(toRunning...).wait()
	w.wants(Release{Peer: key(1), Lease: leaseID(1)}).in(Collecting) // the outputs are still wanted
	w.do(over(runv1.EndReason_END_REASON_CLIENT_RELEASED, 0, "cid")).wants(FetchOutputs{leaseID(1), "cid"})
	w.do(OutputsVerified{leaseID(1)}, Settled{leaseID(1)}).ends(Failed, ReasonJobTime)

	w = newWalk(t, testConfig()).do(toRunning...).wait()
	w.do(over(runv1.EndReason_END_REASON_COMPLETED, 0, "")).do(Settled{leaseID(1)}).ends(Done, ReasonCompleted)

	w = newWalk(t, testConfig()).do(toRunning...).do(StopAsked{})
	w.do(RunState{Lease: leaseID(1), Phase: runv1.Phase_PHASE_ENDED}).ends(Stopped, ReasonStopped)
}

func TestJobSlowDials(t *testing.T) {
	cfg := testConfig()
	cfg.Ask = 8
	w := newWalk(t, cfg).do(Tick{}, Candidates{[]souk.NodeKey{key(1), key(2), key(3)}})
	w.do(Dialed{key(1), time.Minute}) // a round trip that long is not believed
	opened := w.now
	if at, _ := w.a.Next(); !at.Equal(opened.Add(5*time.Second - 10*time.Millisecond)) {
		t.Errorf("without a bid, dials are waited for until %s", at.Sub(opened))
	}
	w.do(BidArrived{key(1), 1, 100, 0})
	w.now = opened.Add(1900 * time.Millisecond)
	w.do(Dialed{key(2), time.Second})
	if at, _ := w.a.Next(); !at.Equal(opened.Add(2 * time.Second)) {
		t.Errorf("late dials move the choice to %s after the first order; want 2s", at.Sub(opened))
	}
	w.wait().wants(SignLease{key(1), 1})
}

func TestResumeStopping(t *testing.T) {
	w := &walk{t: t, a: ResumeJob(testConfig(), Snapshot{Stopping: true}, start), now: start}
	w.do(Tick{}).ends(Stopped, ReasonStopped)
}
