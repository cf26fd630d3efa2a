// Command bench measures the rows that the design holds itself to, each beside
// its limit: the least that the same work can cost on this machine, taken in
// the same run, sample by sample in turn.
//
// It prints a table, writes bench.json, and says not met where a goal is not.
// docs/benchmarks.md says of each row how it is measured and what bounds it.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
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
	ours  func() (float64, error)
	limit func() (float64, error) // nil: it cannot be had here, as the note says
	met   func(ours, limit figure) bool
	note  func() string // what else was seen; may be nil
	close func() error  // may be nil
}

// A figure is the middle of several samples, and how far they lay apart.
type figure struct{ median, low, high float64 }

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
	profile := flags.String("cpuprofile", "", "where a profile of this process goes; best with one -row")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	match, err := regexp.Compile(*only)
	if err != nil || *samples < 1 {
		fmt.Fprintln(stderr, "bench: -row must be an expression and -samples at least 1")
		return 2
	}
	if *profile != "" {
		stop, err := profileTo(*profile)
		if err != nil {
			fmt.Fprintln(stderr, "bench:", err)
			return 1
		}
		defer stop()
	}
	here := thisMachine()
	var results []result
	for _, b := range rows() {
		if !match.MatchString(b.row) {
			continue
		}
		begun := time.Now()
		r, err := measure(b, *samples)
		if err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", b.row, err)
			return 1
		}
		fmt.Fprintf(stderr, "%s: measured in %s\n", b.row, time.Since(begun).Round(100*time.Millisecond))
		r.Machine = here
		results = append(results, r)
	}
	fmt.Fprintf(stdout, "%s\nmedian of %d samples after one to warm up, lowest and highest in brackets\n\n", here, *samples)
	show(stdout, results)
	fmt.Fprintf(stdout, "\nnot measured here: %s\n", strings.Join(unmeasured(), "; "))
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

// profileTo profiles this process until stop.
func profileTo(path string) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut short shows when it is read
	}, nil
}

// rows lists what can be measured today, in the order of the design.
func rows() []bench {
	return []bench{matchOrder(), bookChange(), orderToLease(), trivialJob(), jobStart(), containerStart(), voucherVerify(), challengeCheck(), receiptCommit(),
		ledgerTransfers(), artefactTransfer(), idleMemory()}
}

// unmeasured lists the rows of the design that nothing here measures.
func unmeasured() []string {
	return []string{"gossip, 1,000 simulated nodes", "packing on the openb trace", "late join, 100,000 offers"}
}

// measure takes samples of ours and of the limit in turn, so that a machine
// that slows down slows both.
func measure(b bench, samples int) (result, error) {
	dir, err := workDir()
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
	r := result{Row: b.row, Ours: ours.median, Limit: limit.median, Unit: b.unit, Goal: b.goal, Met: s.met(ours, limit), Against: b.against,
		Spread: [2]float64{ours.low, ours.high}, LimitSpread: [2]float64{limit.low, limit.high}}
	if limit.median > 0 {
		r.Ratio = ours.median / limit.median
	}
	if s.note != nil {
		r.Note = s.note()
	}
	return r, nil
}

// longestDir is about what the kernel takes as the path of a socket, less what
// comes after a row's folder.
const longestDir = 60

// workDir makes a folder for a row, beside the binaries: the system's temporary
// one may lie in memory, where a synced write costs nothing. It is taken only
// where the daemons' sockets would get too long a path.
func workDir() (string, error) {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(bin, "bench-")
	if err == nil && len(dir) > longestDir {
		if err = os.Remove(dir); err == nil {
			dir, err = os.MkdirTemp("", "bench-")
		}
	}
	return dir, err
}

func take(s *subject, samples int) (ours, limit figure, err error) {
	var a, b []float64
	for i := range samples + 1 {
		runtime.GC()
		x, err := s.ours()
		if err != nil {
			return ours, limit, fmt.Errorf("ours: %w", err)
		}
		var y float64
		if s.limit != nil {
			runtime.GC()
			if y, err = s.limit(); err != nil {
				return ours, limit, fmt.Errorf("limit: %w", err)
			}
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
