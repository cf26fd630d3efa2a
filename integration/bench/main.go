// Command bench measures the rows that the design holds itself to, each beside
// its limit: the least that the same work can cost on this machine, taken in
// the same run, sample by sample in turn.
//
// It prints a table, writes bench.json, and says not met where a goal is not.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// A bench is one row: how to prepare it, and what it must reach.
type bench struct {
	row     string // as in the design
	against string // what the limit is
	unit    string
	goal    string
	prepare func(dir string) (*subject, error)
}

// A subject can be measured again and again. Each sample is one figure in the
// row's unit.
type subject struct {
	ours, limit func() (float64, error)
	met         func(ours, limit figure) bool
	note        func() string // what else was seen; may be nil
	close       func() error  // may be nil
}

// A figure is the middle of several samples, and how far they lay apart.
type figure struct{ median, low, high float64 }

// A result is one line of bench.json.
type result struct {
	Row         string     `json:"row"`
	Ours        float64    `json:"ours"`
	Limit       float64    `json:"limit"`
	Ratio       float64    `json:"ratio"`
	Unit        string     `json:"unit"`
	Goal        string     `json:"goal"`
	Met         bool       `json:"met"`
	Against     string     `json:"against"`
	Spread      [2]float64 `json:"spread"`       // lowest and highest sample of ours
	LimitSpread [2]float64 `json:"limit_spread"` // the same of the limit
	Note        string     `json:"note,omitempty"`
}

func main() {
	if status, ok := child(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); ok {
		os.Exit(status)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("row", "", "measure the rows whose name matches this expression")
	out := flags.String("out", "bench.json", "where the results go")
	samples := flags.Int("samples", 7, "samples for each row, of ours and of the limit")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	match, err := regexp.Compile(*only)
	if err != nil || *samples < 1 {
		fmt.Fprintln(stderr, "bench: -row must be an expression and -samples at least 1")
		return 2
	}
	fmt.Fprintf(stdout, "%s, %s/%s, %d cores; median of %d samples, lowest and highest in brackets\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *samples)
	var results []result
	for _, b := range rows() {
		if !match.MatchString(b.row) {
			continue
		}
		r, err := measure(b, *samples)
		if err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", b.row, err)
			return 1
		}
		show(stdout, r)
		results = append(results, r)
	}
	fmt.Fprintf(stdout, "not measured yet: %s\n", strings.Join(unmeasured(), "; "))
	text, err := json.MarshalIndent(results, "", "  ")
	if err == nil {
		err = os.WriteFile(*out, append(text, '\n'), 0o644)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// rows lists what can be measured today, in the order of the design.
func rows() []bench {
	return []bench{matchOrder(), bookChange(), jobStart(), voucherVerify(), receiptCommit(), ledgerTransfers()}
}

// unmeasured lists the rows of the design that nothing here measures.
func unmeasured() []string {
	return []string{"order to signed lease", "trivial wasm job", "job start, container", "artifact transfer on loopback",
		"gossip, 1,000 simulated nodes", "packing on the openb trace", "late join, 100,000 offers", "idle daemon memory"}
}

// measure takes samples of ours and of the limit in turn, so that a machine
// that slows down slows both.
func measure(b bench, samples int) (result, error) {
	// Beside the binaries: a temporary folder may lie in memory, where a synced
	// write costs nothing.
	if err := os.MkdirAll("bin", 0o755); err != nil {
		return result{}, err
	}
	dir, err := os.MkdirTemp("bin", "bench-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	s, err := b.prepare(dir)
	if err != nil {
		return result{}, fmt.Errorf("prepare: %w", err)
	}
	ours, limit, err := take(s, samples)
	if s.close != nil {
		err = cmp.Or(err, s.close())
	}
	if err != nil {
		return result{}, err
	}
	r := result{Row: b.row, Ours: ours.median, Limit: limit.median, Ratio: ours.median / limit.median,
		Unit: b.unit, Goal: b.goal, Met: s.met(ours, limit), Against: b.against,
		Spread: [2]float64{ours.low, ours.high}, LimitSpread: [2]float64{limit.low, limit.high}}
	if s.note != nil {
		r.Note = s.note()
	}
	return r, nil
}

func take(s *subject, samples int) (ours, limit figure, err error) {
	var a, b []float64
	for i := range samples + 1 {
		runtime.GC()
		x, err := s.ours()
		if err != nil {
			return ours, limit, fmt.Errorf("ours: %w", err)
		}
		runtime.GC()
		y, err := s.limit()
		if err != nil {
			return ours, limit, fmt.Errorf("limit: %w", err)
		}
		if i > 0 { // the first warms up
			a, b = append(a, x), append(b, y)
		}
	}
	return middle(a), middle(b), nil
}

func middle(samples []float64) figure {
	slices.Sort(samples)
	return figure{samples[len(samples)/2], samples[0], samples[len(samples)-1]}
}

func show(w io.Writer, r result) {
	verdict := "met"
	if !r.Met {
		verdict = "NOT MET"
	}
	fmt.Fprintf(w, "%s\n  ours   %s %s  [%s … %s]\n  limit  %s %s  [%s … %s]  %s\n  ratio  %.3g   goal %s: %s\n",
		r.Row, number(r.Ours), r.Unit, number(r.Spread[0]), number(r.Spread[1]),
		number(r.Limit), r.Unit, number(r.LimitSpread[0]), number(r.LimitSpread[1]), r.Against, r.Ratio, r.Goal, verdict)
	if r.Note != "" {
		fmt.Fprintf(w, "  %s\n", r.Note)
	}
	fmt.Fprintln(w)
}

// number shows three digits that mean something, and groups large ones.
func number(f float64) string {
	if f < 1000 {
		return fmt.Sprintf("%.3g", f)
	}
	digits := fmt.Sprintf("%.0f", f)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
