package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sync/errgroup"
)

// phase is a stretch of a job's life, as its owner sees it, in which a daemon dies.
type phase struct {
	name   string
	within time.Duration // the kill comes at most this long after the phase was seen
	begun  func(*sight) bool
}

// sight is what the API last told of the round's job.
type sight struct {
	state, provider string
	receipts        int // countersigned
	wanted          int // how many of them the round waits for, where it waits for any
	refunding       bool
}

// order is the order of states in which a job goes forward.
var order = map[string]int{"matching": 0, "leasing": 1, "funding": 2, "staging": 3, "running": 4, "paused": 4,
	"collecting": 5, "done": 6, "failed": 6, "no-match": 6, "unpaid": 6, "stopped": 6}

// reached tells whether the job is in a state, or was: short ones pass unseen.
func reached(state string) func(*sight) bool {
	return func(s *sight) bool { return order[s.state] >= order[state] }
}

// phases are in the order of a job's life.
var phases = []phase{
	{"funding", 1200 * time.Millisecond, reached("funding")},
	{"staging", 200 * time.Millisecond, reached("staging")},
	{"running", 2500 * time.Millisecond, reached("running")},
	{"between receipts", 500 * time.Millisecond, func(s *sight) bool { return s.receipts >= s.wanted || order[s.state] > order["running"] }},
	{"collecting", 40 * time.Millisecond, reached("collecting")},
	{"before the claim", time.Second, reached("done")},
	{"refund", 2500 * time.Millisecond, func(s *sight) bool { return s.refunding }},
}

var victims = []string{"client", "provider", "chain"}

// plan is a round, all of which follows from its seed.
type plan struct {
	seed     uint64
	phase    phase
	victim   string
	after    time.Duration // from seeing the phase to the kill
	down     time.Duration // from the kill to the restart
	receipts int           // how many are awaited, where the phase is between two
}

// planOf makes each run of as many seeds as there are combinations meet them all:
// neighbours differ in phase and victim.
func planOf(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 0x736f756b))
	n := int(seed % uint64(len(phases)*len(victims)))
	p := plan{seed: seed, phase: phases[(2*n)%len(phases)], victim: victims[n%len(victims)]}
	p.after = time.Duration(r.Int64N(int64(p.phase.within)))
	p.down = time.Duration(r.Int64N(int64(1500 * time.Millisecond)))
	p.receipts = 1 + r.IntN(3)
	return p
}

func (p plan) String() string {
	return fmt.Sprintf("seed %d: the %s dies %s into %s, and is down for %s", p.seed, p.victim, p.after.Round(time.Millisecond), p.phase.name, p.down.Round(time.Millisecond))
}

// strike waits for the plan's phase of a job, and kills and restarts its victim.
// It returns what had been seen of the job.
func (m *market) strike(t *testing.T, p plan, id string) (s sight, victim *process) {
	t.Helper()
	s.wanted = p.receipts
	m.watch(t, &s, id, p.phase.begun)
	if p.phase.name == "refund" {
		m.free(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		req := &apiv1.RefundRequest{Peer: s.provider}
		var g errgroup.Group
		g.Go(func() error {
			_, err := m.client.Wallet.Refund(ctx, req)
			return err
		})
		defer func() {
			cancel()
			t.Log("the refund under way ended with: ", g.Wait()) // what came of it, the round finds out after
		}()
	}
	pause(t, p.after)
	if now, err := m.client.Jobs.Get(t.Context(), &apiv1.GetRequest{Id: id}); err == nil {
		s.state, s.provider, s.receipts = now.Summary.State, now.Summary.Provider, int(now.Summary.Receipts)
	}
	switch p.victim {
	case "client":
		victim = m.client
	case "chain":
		victim = m.chain
	default:
		if victim = m.provider(s.provider); victim == nil {
			t.Fatalf("job %s has no provider in state %s", id[:8], s.state)
		}
	}
	victim.kill()
	pause(t, p.down)
	victim.up(t)
	victim.ready(t)
	return s, victim
}

// watch follows a job until begun says that the phase has come.
func (m *market) watch(t *testing.T, s *sight, id string, begun func(*sight) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), endWithin)
	defer cancel()
	stream, err := m.client.Jobs.Follow(ctx, &apiv1.FollowRequest{Id: id})
	if err != nil {
		t.Fatalf("follow job %s: %v", id[:8], err)
	}
	defer stream.Close()
	for stream.Receive() {
		switch e := stream.Msg().Event.(type) {
		case *apiv1.FollowResponse_Summary:
			s.state, s.receipts = e.Summary.State, int(e.Summary.Receipts)
			if e.Summary.Provider != "" {
				s.provider = e.Summary.Provider
			}
		case *apiv1.FollowResponse_Receipt:
			s.receipts = max(s.receipts, int(e.Receipt.Seq))
		}
		if begun(s) {
			return
		}
	}
	s.refunding = true // the job has ended: a refund is what is left
	if !begun(s) {
		t.Fatalf("job %s: the phase did not come; state %s: %v", id[:8], s.state, stream.Err())
	}
}
