package client

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money/moneytest"
	"github.com/souk-market/souk/node/proof"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// scripted answers challenges: what each provider does, in turn.
type scripted struct {
	mu    sync.Mutex // guards what follows
	turns map[souk.NodeKey][]func(context.Context) (*proof.Evidence, error)
	busy  map[souk.NodeKey]bool // one challenge at a time
	tried int
}

// Challenge implements [Proofs].
func (s *scripted) Challenge(ctx context.Context, o *market.Offer, _ proof.Plan, _ func(string)) (*proof.Evidence, error) {
	s.mu.Lock()
	if s.busy[o.Provider] {
		s.mu.Unlock()
		return refused(ctx)
	}
	turn := s.turns[o.Provider][0]
	s.turns[o.Provider], s.busy[o.Provider] = s.turns[o.Provider][1:], true
	s.tried++
	s.mu.Unlock()
	e, err := turn(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[o.Provider] = false
	return e, err
}

func refused(context.Context) (*proof.Evidence, error) {
	return nil, &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY, Shortfall: 1}
}

func proves(context.Context) (*proof.Evidence, error) {
	<-time.After(time.Second) // of the bubble
	return &proof.Evidence{Evidence: &challengev1.Evidence{Verdict: challengev1.Verdict_VERDICT_PROVED}}, nil
}

func stalls(ctx context.Context) (*proof.Evidence, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestProve has providers that are busy, slow and of several classes: a job waits for
// who is busy as long as nobody else proved, and for nobody past half of its time.
func TestProve(t *testing.T) {
	type turn = func(context.Context) (*proof.Evidence, error)
	one, two := souk.NodeKey{1}, souk.NodeKey{2}
	offer := func(p souk.NodeKey, class string) *market.Offer {
		return &market.Offer{Offer: &marketv1.Offer{Class: class}, Provider: p}
	}
	for _, tt := range []struct {
		name   string
		offers []*market.Offer
		turns  map[souk.NodeKey][]turn
		tried  int
		took   time.Duration
	}{
		{"busy twice", []*market.Offer{offer(one, "A")}, map[souk.NodeKey][]turn{one: {refused, refused, proves}}, 3, 2*challengeAgain + time.Second},
		{"two classes", []*market.Offer{offer(one, "A"), offer(one, "B")}, map[souk.NodeKey][]turn{one: {proves, proves}}, 2, 2 * time.Second},
		{"one stalls", []*market.Offer{offer(one, "A"), offer(two, "A")}, map[souk.NodeKey][]turn{one: {stalls}, two: {proves}}, 2, time.Minute},
		{"one is busy", []*market.Offer{offer(one, "A"), offer(two, "A")}, map[souk.NodeKey][]turn{one: {refused}, two: {proves}}, 2, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := moneytest.NewTree(t)
			synctest.Test(t, func(t *testing.T) {
				h := newHearing(t, tree)
				j, by := h.l.j, &scripted{turns: tt.turns, busy: map[souk.NodeKey]bool{}}
				j.msg, j.with.Proofs = &jobv1.Job{Limits: &jobv1.Limits{StartWithinMs: 120_000}}, by
				began := time.Now()
				go j.prove(t.Context(), tt.offers)
				if _, ok := (<-j.events).(bookFilled); !ok || by.tried != tt.tried || time.Since(began) != tt.took {
					t.Errorf("%d challenges in %v, want %d in %v", by.tried, time.Since(began), tt.tried, tt.took)
				}
			})
		})
	}
}
