// Package crash kills souk daemons at named moments and starts them again.
//
// Each round is one job in a market of real processes on loopback. One of them
// gets a SIGKILL in a phase of the job, before or after what the phase makes
// durable, and comes back on the same home. After that the job must have its
// result, both sides of every lease the same receipts, the chain the same sums,
// and nothing may be held or left running. The daemons are built with the tag
// crashpoints, so that they can be hit to the instruction.
//
//	go test ./integration/crash -v                     # every phase, victim and side once
//	go test ./integration/crash -v -rounds 1 -seed 17  # one round again
//	go test ./integration/crash -v -timeout 2h -rounds 1000 -budget 100m
package crash

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/souk-market/souk/integration/daemontest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

var (
	rounds  = flag.Int("rounds", 0, "how many crashes; 0: one for each phase, victim and side")
	seed    = flag.Uint64("seed", 0, "the first round's seed; each next one is one more")
	budget  = flag.Duration("budget", 0, "no round begins after this time; 0: they all do")
	markets = flag.Int("markets", 5, "how many markets have rounds at once: in each the daemons wait more than they work")
)

// row is a round in the table.
type row struct {
	plan plan
	end  string
	took time.Duration
	ok   bool
}

// table is what came of the rounds that were begun.
type table struct {
	planned int
	until   time.Time // no round begins after it; zero: no end

	mu   sync.Mutex // guards what follows
	rows []*row
}

// next begins a round, if there is one left and time for it.
func (tb *table) next() (*row, error) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if len(tb.rows) == tb.planned || !tb.until.IsZero() && time.Now().After(tb.until) {
		return nil, nil
	}
	p, err := planOf(*seed + uint64(len(tb.rows)))
	if err != nil {
		return nil, err
	}
	r := &row{plan: p, end: "broken off"}
	tb.rows = append(tb.rows, r)
	return r, nil
}

// TestCrash runs the rounds in a few markets at once. In each they follow one
// another: what a crash leaves behind, the next round finds. After a round that
// failed the market is new.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("short: starts markets of four daemons and kills them")
	}
	daemontest.ReadTree(t)
	b := build(t)
	tb := &table{planned: cmp.Or(*rounds, combinations())}
	if *budget > 0 {
		tb.until = time.Now().Add(*budget)
	}
	t.Attr("show", "output") // of what integration/testlog passes on
	t.Cleanup(func() { tb.show(t) })
	// Not by t.Parallel, which counts processors: these wait.
	var side sync.WaitGroup
	defer side.Wait()
	for i := range min(*markets, tb.planned) {
		side.Go(func() {
			t.Run(fmt.Sprintf("market=%d", i+1), func(t *testing.T) { tb.rounds(t, b) })
		})
	}
}

// rounds runs rounds in one market as long as there are any.
func (tb *table) rounds(t *testing.T, b built) {
	var m *market
	for {
		r, err := tb.next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			return
		}
		if m == nil {
			m = openMarket(t, b)
		}
		began := time.Now()
		r.ok = t.Run(fmt.Sprintf("seed=%d", r.plan.seed), func(t *testing.T) { r.round(t, m) })
		r.took = time.Since(began)
		if !r.ok {
			m.sound = false
			m.close(t)
			m = nil
		}
	}
}

// round is one job, one crash, and what must hold after it. On a busy machine the
// job may go to the other provider, and the moment does not come: then another
// job is tried, as a round without its crash shows nothing.
func (r *row) round(t *testing.T, m *market) {
	t.Log(r.plan)
	for range 3 {
		if r.job(t, m) {
			return
		}
		t.Logf("the moment %s did not come: another job", r.plan.moment)
	}
	t.Errorf("the moment %s did not come: the plan is wrong, or souk does without it", r.plan.moment)
}

// job is one job to its end, and tells whether the crash came.
func (r *row) job(t *testing.T, m *market) (came bool) {
	if r.plan.phase == hold {
		m.fund(t)
	}
	req := &apiv1.SubmitRequest{Job: m.job(t)}
	if during := r.plan.phase; during != claim && during != anchor && during != refund {
		came = m.crash(t, r.plan, func(ctx context.Context) error {
			_, err := m.client.Jobs.Submit(ctx, req)
			return err
		})
	}
	// A client that died before it answered may or may not have the job: the same
	// job again is the same job.
	submitted, err := m.client.Jobs.Submit(t.Context(), req)
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	r.end = "no end"
	job := m.ended(t, submitted.Id)
	r.end = m.reasons(job)
	ours := m.agree(t, job)
	switch r.plan.phase {
	case anchor:
		came = m.crash(t, r.plan, func(ctx context.Context) error {
			_, err := m.anchorer(r.plan).Log.Anchor(ctx, &apiv1.AnchorRequest{})
			return err
		})
		m.anchored(t, m.anchorer(r.plan))
	case claim, refund:
		came = m.crash(t, r.plan, m.refund)
	}
	m.settle(t, ours)
	m.free(t)
	m.balanced(t)
	m.booked(t, ours)
	return came
}

// show prints what came of the rounds: of each phase and victim the outcomes, and
// of each round that failed how to run it again.
func (tb *table) show(t *testing.T) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PHASE\tVICTIM\tROUNDS\tMEDIAN\tKILLED BEFORE\tKILLED AFTER")
	for i, c := range cases {
		var took []time.Duration
		outcomes := map[string]map[string]int{before: {}, after: {}}
		for _, r := range tb.rows {
			if r.plan.number()/2 == i {
				took = append(took, r.took)
				outcomes[r.plan.side()][r.outcome()]++
			}
		}
		if len(took) > 0 {
			slices.Sort(took)
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", c.phase, c.victim, len(took), took[len(took)/2].Round(100*time.Millisecond),
				tally(outcomes[before]), tally(outcomes[after]))
		}
	}
	w.Flush()
	failed := 0
	for _, r := range tb.rows {
		if !r.ok {
			failed++
			fmt.Fprintf(&text, "FAILED %s: %s\n\tgo test ./integration/crash -v -rounds 1 -seed %d\n", r.plan, r.end, r.plan.seed)
		}
	}
	t.Logf("%d of %d rounds from seed %d, %d failed\n%s", len(tb.rows), tb.planned, *seed, failed, text.String())
}

// outcome is how a round ended, in the table.
func (r *row) outcome() string {
	if !r.ok {
		return "FAILED"
	}
	return r.end
}

// tally lists outcomes with how often they came, where that was not once.
func tally(outcomes map[string]int) string {
	var list []string
	for _, o := range slices.Sorted(maps.Keys(outcomes)) {
		if n := outcomes[o]; n > 1 {
			o = fmt.Sprintf("%s ×%d", o, n)
		}
		list = append(list, o)
	}
	return strings.Join(list, "; ")
}
