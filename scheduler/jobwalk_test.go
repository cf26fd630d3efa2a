package scheduler

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"pgregory.net/rapid"
)

// scripts brings a job to every step.
var scripts = map[string][]Event{
	"fresh": nil, "matching": toMatching, "dialing": toDialing, "asking": toAsking, "bid": toBid, "leasing": toLeasing,
	"funding": toFunding, "staging": toStaging, "running": toRunning, "paused": toPaused,
	"running, link lost": append(toRunning[:9:9], LinkLost{leaseID(1)}),
	"releasing":          append(toRunning[:9:9], StopAsked{}),
	"fetching":           toFetching, "settling": toSettling, "ended": toEnd,
}

// everyEvent is each kind of event from the peers 1 to 3 and about the leases 1
// to 3: those of the attempt under way, and those of others or of attempts that are over.
func everyEvent() (events []Event) {
	events = append(events, Tick{}, StopAsked{}, Candidates{}, Candidates{[]souk.NodeKey{key(1), key(3)}})
	for n := byte(1); n <= 3; n++ {
		p, l := key(n), leaseID(n)
		events = append(events, Dialed{p, 0}, Dialed{p, time.Hour}, Dialed{p, -time.Hour}, DialFailed{p, "refused"}, BidArrived{p, int(n), 300, 0}, BidArrived{p, int(n), 501, 0},
			Declined{Peer: p, Why: market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY}}, LeaseSigned{p, l}, LeaseSigned{key(1), l},
			LeaseDeclined{Peer: p, Why: market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_PAYMENT}}, LeaseFailed{p, "reset"},
			LinkLost{l}, LinkBack{l}, OutputsMoving{l}, OutputsVerified{l}, OutputsFailed{l, "bad block"}, Settled{l})
		for phase := runv1.Phase_PHASE_UNSPECIFIED; phase <= runv1.Phase_PHASE_ENDED+1; phase++ {
			events = append(events, RunState{Lease: l, Phase: phase})
		}
		for _, ended := range []runv1.Phase{runv1.Phase_PHASE_COLLECTING, runv1.Phase_PHASE_ENDED} {
			for reason := range runv1.EndReason_name {
				events = append(events, RunState{Lease: l, Phase: ended, Reason: runv1.EndReason(reason), Output: "cid"},
					RunState{Lease: l, Phase: ended, Reason: runv1.EndReason(reason), Exit: 1})
			}
		}
	}
	return events
}

// settles lets time pass until the job ends, and checks how.
func settles(t testing.TB, w *walk) {
	t.Helper()
	for n := 0; ; n++ {
		if _, ok := w.a.Next(); !ok {
			break
		}
		if n > 20 {
			t.Fatalf("still %s after 20 deadlines", w.a.State())
		}
		w.wait()
	}
	checkEnd(t, w)
}

func checkEnd(t testing.TB, w *walk) {
	t.Helper()
	end, ok := w.a.End()
	if !ok || !end.State.Ended() || end.Reason == "" || w.a.State() != end.State {
		t.Fatalf("ends %+v, %t in state %s", end, ok, w.a.State())
	}
	finished := 0
	for _, a := range w.all {
		switch a.(type) {
		case Finish:
			finished++
		case Release:
		default:
			if finished > 0 {
				t.Fatalf("after the end it wants %T", a)
			}
		}
	}
	if finished != 1 {
		t.Fatalf("finishes %d times", finished)
	}
}

// TestJobEveryStep gives every event in every step, once and twice, lets
// time pass or the owner stop, and looks for a job that does not end.
func TestJobEveryStep(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			for _, e := range everyEvent() {
				what := fmt.Sprintf("%T%+v", e, e)
				once := newWalk(t, testConfig()).do(script...).do(e)
				before := once.a.State()
				settles(t, once)

				twice := newWalk(t, testConfig()).do(script...).do(e)
				twice.acts = twice.a.Step(twice.now, e)
				twice.all = append(twice.all, twice.acts...)
				for _, a := range twice.acts {
					if _, ok := a.(Release); !ok && !isEnd(e) {
						t.Errorf("the second %s wants %s", what, show(twice.acts))
					}
				}
				if got := twice.a.State(); got != before && !isEnd(e) {
					t.Errorf("the second %s goes from %s to %s", what, before, got)
				}
				settles(t, twice)

				stopped := newWalk(t, testConfig()).do(script...).do(e, StopAsked{})
				if at, ok := stopped.a.Next(); ok && at.After(stopped.now.Add(stopped.a.cfg.SettleFor)) {
					t.Errorf("%s, then stop: waits for %s", what, at.Sub(stopped.now))
				}
				settles(t, stopped)
			}
		})
	}
}

// isEnd tells whether e is the provider's word that all is over: said twice, it
// ends the wait for the last voucher.
func isEnd(e Event) bool {
	s, ok := e.(RunState)
	return ok && s.Phase == runv1.Phase_PHASE_ENDED
}

// TestJobResumes restarts in every step and looks for a job that does
// not go on as before.
func TestJobResumes(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			w := newWalk(t, testConfig()).do(script...)
			text, err := json.Marshal(w.a.Snapshot())
			if err != nil {
				t.Fatal(err)
			}
			var s Snapshot
			if err := json.Unmarshal(text, &s); err != nil || !reflect.DeepEqual(s, w.a.Snapshot()) {
				t.Fatalf("stored as %s, read as %+v, %v", text, s, err)
			}
			r := &walk{t: t, a: ResumeJob(testConfig(), s, w.now), now: w.now}
			if at, ok := r.a.Next(); !ok || at.After(r.now) {
				t.Errorf("is not due at once")
			}
			stored := r.a.Snapshot()
			r.do(Tick{})
			switch {
			case s.State.Ended():
				r.wants(Finish{s.End})
			case s.Stopping:
				r.wants(Attach{key(1), leaseID(1)}, Release{Peer: key(1), Lease: leaseID(1), Discard: true})
			case s.State > Leasing:
				r.wants(Attach{key(1), leaseID(1)})
				if at, _ := r.a.Next(); at.After(r.now.Add(30 * time.Second)) {
					t.Errorf("waits until %s for the stream", at)
				}
			default:
				r.wants(FindCandidates{})
			}
			want := map[State]State{Leasing: Matching, Collecting: Running}
			if state, ok := want[s.State]; ok && stored.State != state || !ok && stored.State != s.State ||
				stored.Lease != s.Lease || stored.Attempts != s.Attempts {
				t.Errorf("goes on from %+v; was %+v", stored, s)
			}
			settles(t, r)
		})
	}
	t.Run("collecting comes back to its outputs", func(t *testing.T) {
		w := newWalk(t, testConfig()).do(toFetching...)
		r := &walk{t: t, a: ResumeJob(testConfig(), w.a.Snapshot(), w.now), now: w.now}
		r.do(Tick{}, LinkBack{leaseID(1)}, over(runv1.EndReason_END_REASON_COMPLETED, 0, "cid")).wants(FetchOutputs{leaseID(1), "cid"})
	})
}

// watched is what a driver relies on, over a whole random history.
type watched struct {
	bids     map[int]BidArrived
	signing  souk.NodeKey          // of the last SignLease
	attached map[souk.LeaseID]bool // leases that Attach named
	released map[souk.LeaseID]bool
	signed   map[souk.LeaseID]bool // leases that the provider countersigned
	settled  map[souk.LeaseID]int
}

func (s *watched) check(t *rapid.T, acts []Action) {
	for _, a := range acts {
		switch a := a.(type) {
		case Ask:
			if a.Deadline.IsZero() {
				t.Fatal("an order without a deadline")
			}
		case SignLease:
			if b, ok := s.bids[a.Bid]; !ok || b.Peer != a.Peer || b.Price > 500 {
				t.Fatalf("takes bid %+v of %v", b, a)
			}
			s.signing = a.Peer
		case Attach:
			if !s.signed[a.Lease] || s.attached[a.Lease] || a.Peer != s.signing {
				t.Fatalf("attaches to %v: signed %t, attached %t", a, s.signed[a.Lease], s.attached[a.Lease])
			}
			s.attached[a.Lease] = true
		case FetchOutputs:
			if !s.attached[a.Lease] || s.released[a.Lease] {
				t.Fatalf("fetches outputs of %s", a.Lease)
			}
		case SettleUp:
			if s.settled[a.Lease]++; s.settled[a.Lease] > 1 || !s.attached[a.Lease] {
				t.Fatalf("settles %s %d times", a.Lease, s.settled[a.Lease])
			}
		case Release:
			s.released[a.Lease] = true
		}
	}
}

func TestJobRandomWalk(t *testing.T) {
	events := everyEvent()
	rapid.Check(t, func(rt *rapid.T) {
		w := &walk{t: t, a: NewJob(testConfig(), start), now: start}
		s := &watched{map[int]BidArrived{}, souk.NodeKey{}, map[souk.LeaseID]bool{}, map[souk.LeaseID]bool{}, map[souk.LeaseID]bool{}, map[souk.LeaseID]int{}}
		var last Event = Tick{}
		lease := byte(10)
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			w.now = w.now.Add(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 20 * time.Second, 10 * time.Minute}).Draw(rt, "pause"))
			e := likely(rt, w.a, &lease)
			switch rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
				e = rapid.SampledFrom(events).Draw(rt, "any")
			case 1:
				e = last
			}
			last = e
			switch e := e.(type) {
			case BidArrived:
				s.bids[e.Bid] = e
			case LeaseSigned:
				s.signed[e.Lease] = true
			}
			w.do(e)
			s.check(rt, w.acts)
		}
		for n := 0; ; n++ {
			at, ok := w.a.Next()
			if !ok {
				break
			}
			if n > 20 || at.After(w.now.Add(7*time.Hour)) {
				rt.Fatalf("still %s after %d deadlines; the next is in %s", w.a.State(), n, at.Sub(w.now))
			}
			w.wait()
			s.check(rt, w.acts)
		}
		checkEnd(t, w)
		for l := range s.signed {
			if !s.attached[l] && !s.released[l] {
				rt.Fatalf("lease %s is signed and forgotten", l)
			}
		}
		if w.a.Attempts() > 2 || len(s.attached) != w.a.Attempts() {
			rt.Fatalf("%d attempts, %d attached", w.a.Attempts(), len(s.attached))
		}
	})
}

// likely is an event that a well-meaning driver could give now.
func likely(t *rapid.T, a *Job, lease *byte) Event {
	peer := key(byte(rapid.IntRange(1, 4).Draw(t, "peer")))
	_, id := a.Lease()
	switch a.step {
	case stepMatching:
		return Candidates{[]souk.NodeKey{key(1), key(2), key(3), key(4)}}
	case stepAsking:
		return rapid.SampledFrom([]Event{Dialed{peer, time.Millisecond}, DialFailed{peer, ""},
			BidArrived{peer, int(peer[0]), uint64(peer[0]) * 100, 0}, Declined{Peer: peer, Why: market.Refusal{Reason: 1}}}).Draw(t, "answer")
	case stepLeasing:
		*lease++
		return rapid.SampledFrom([]Event{LeaseSigned{a.peer, leaseID(*lease)}, LeaseDeclined{Peer: a.peer, Why: market.Refusal{Reason: 14}}, LeaseFailed{a.peer, ""}}).Draw(t, "answer")
	case stepFunding, stepStaging, stepRunning, stepPaused:
		return rapid.SampledFrom([]Event{LinkLost{id}, LinkBack{id}, RunState{Lease: id, Phase: runv1.Phase_PHASE_STAGING},
			RunState{Lease: id, Phase: runv1.Phase_PHASE_RUNNING}, RunState{Lease: id, Phase: runv1.Phase_PHASE_PAUSED},
			RunState{Lease: id, Phase: runv1.Phase_PHASE_COLLECTING, Reason: runv1.EndReason_END_REASON_COMPLETED, Output: "cid"},
			RunState{Lease: id, Phase: runv1.Phase_PHASE_ENDED, Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED}}).Draw(t, "news")
	case stepFetching:
		return rapid.SampledFrom([]Event{OutputsMoving{id}, OutputsVerified{id}, OutputsFailed{id, ""}}).Draw(t, "outputs")
	case stepSettling, stepReleasing:
		return rapid.SampledFrom([]Event{Settled{id}, over(runv1.EndReason_END_REASON_CLIENT_RELEASED, 0, "")}).Draw(t, "settling")
	default:
		return Tick{}
	}
}
