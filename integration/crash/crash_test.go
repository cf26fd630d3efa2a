// Package crash kills souk daemons at seeded moments and starts them again.
//
// Each round is one job in a market of real processes on loopback. One of them
// gets a SIGKILL in a named phase of the job and comes back on the same home.
// After that the job must have its result, both sides of every lease the same
// receipts, the chain the same sums, and nothing may be held or left running.
//
//	go test ./integration/crash -v -rounds 21          # every phase with every victim
//	go test ./integration/crash -v -rounds 1 -seed 17  # one round again
package crash

import (
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	rounds = flag.Int("rounds", 4, "how many crashes")
	seed   = flag.Uint64("seed", 1, "the first round's seed; each next one is one more")
)

// row is a round in the table.
type row struct {
	plan plan
	seen sight  // when the victim died
	who  string // who that was
	end  string
	took time.Duration
}

// TestCrash runs the rounds, one after another in one market: what a crash leaves
// behind, the next round finds. After a round that failed the market is new.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("short: starts four daemons and kills them")
	}
	readTree(t)
	b := build(t)
	var table []*row
	t.Cleanup(func() { show(t, table) })
	var m *market
	for i := range *rounds {
		if m == nil {
			m = openMarket(t, b)
		}
		r := &row{plan: planOf(*seed + uint64(i)), end: "broken off"}
		table = append(table, r)
		began := time.Now()
		passed := t.Run(fmt.Sprintf("seed=%d/%s/%s", r.plan.seed, r.plan.phase.name, r.plan.victim), func(t *testing.T) { r.round(t, m) })
		r.took = time.Since(began)
		if !passed {
			r.end = "FAILED: " + r.end
			m.close(t)
			m = nil
		}
	}
}

// round is one job, one crash, and what must hold after it.
func (r *row) round(t *testing.T, m *market) {
	t.Log(r.plan)
	id := m.submit(t)
	seen, victim := m.strike(t, r.plan, id)
	r.seen, r.who = seen, victim.name
	r.end = "no end"
	job := m.ended(t, id)
	r.end = fmt.Sprintf("%s, %s: %s", job.Summary.State, job.Summary.Reason, m.tries(job))
	if job.Summary.Detail != "" {
		r.end += "; " + job.Summary.Detail
	}
	m.free(t)
	ours := m.agree(t, job)
	m.settle(t, ours)
	m.balanced(t)
}

// show prints what came of each round.
func show(t *testing.T, table []*row) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEED\tPHASE\tVICTIM\tAFTER\tDOWN\tSEEN\tRECEIPTS\tTOOK\tOUTCOME")
	for _, r := range table {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.plan.seed, r.plan.phase.name, r.who, r.plan.after.Round(time.Millisecond),
			r.plan.down.Round(time.Millisecond), r.seen.state, r.seen.receipts, r.took.Round(100*time.Millisecond), r.end)
	}
	w.Flush()
	t.Logf("%d rounds from seed %d\n%s", len(table), *seed, text.String())
}

// readTree lists all folders of the source: go test remembers a result until
// something changes that the test itself has looked at, and the daemons are only
// looked at by the compiler.
func readTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("..", ".."), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
