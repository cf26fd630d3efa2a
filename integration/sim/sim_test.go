package sim

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var (
	seed  = flag.Uint64("seed", 1, "seed of the long simulation")
	nodes = flag.Int("nodes", defaultNodes, "virtual nodes of the long simulation")
	hours = flag.Float64("hours", 1, "virtual hours of the long simulation")
	seeds = flag.Uint64("seeds", defaultSeeds, "small markets under faults of every strength, from -seed on")
)

// TestHour plays the market with all its faults, and shows what came of it.
func TestHour(t *testing.T) {
	t.Parallel()
	r, err := Run(Config{Seed: *seed, Nodes: *nodes, Length: time.Duration(*hours * float64(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d, hash %s\n%s", *seed, r.Hash, r)
	if r.Mixed == 0 {
		t.Error("no lease is on devices of several classes")
	}
}

// TestCalm plays a market in which nothing goes wrong: nobody may then be blamed
// for anything, and every receipt is paid.
func TestCalm(t *testing.T) {
	t.Parallel()
	r, err := Run(Config{Seed: *seed, Nodes: 40, Length: 30 * time.Minute, Calm: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d, hash %s\n%s", *seed, r.Hash, r)
	if r.Receipts != r.Countersigned || r.Pauses+r.LinksLost+r.Retries+r.Refused > 0 || r.Settled < 20 || r.Mixed == 0 {
		t.Error("a receipt is unpaid, a run was paused or retried, a link was lost, or little happened, or none of it on devices of several classes")
	}
	for _, end := range sortedKeys(r.Ends) {
		if strings.HasPrefix(end, "failed provider") || strings.HasPrefix(end, "failed client") || end == "unpaid client-unpaid" {
			t.Errorf("%d jobs ended as %q", r.Ends[end], end)
		}
	}
}

// TestSeeds plays small markets, each with a network and crashes of its own,
// from hardly any to hardly anything else.
func TestSeeds(t *testing.T) {
	t.Parallel()
	var jobs, leases, settled int
	var unpaid, prepaid float64
	for s := *seed; s < *seed+*seeds; s++ {
		r, err := Run(drawn(s))
		if err != nil {
			t.Fatalf("replay with -run=TestSeeds -seed=%d -seeds=1: %+v: %v", s, drawn(s), err)
		}
		jobs, leases, settled = jobs+r.Jobs, leases+r.Leases, settled+r.Settled
		unpaid, prepaid = max(unpaid, r.Unpaid), max(prepaid, r.Prepaid)
	}
	t.Logf("%d markets: %d jobs, %d leases, %d settled; largest unpaid work %.4f, largest prepayment %.4f of their bounds",
		*seeds, jobs, leases, settled, unpaid, prepaid)
}

func drawn(seed uint64) Config {
	rng := rand.New(rand.NewPCG(seed, 2))
	minutes := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Minute }
	return Config{Seed: seed, Nodes: 10 + rng.IntN(20), Length: minutes(10, 40), Loss: 0.001 + 0.3*rng.Float64()*rng.Float64(),
		Delay: time.Duration(100+rng.IntN(8000)) * time.Millisecond, Submit: minutes(1, 8), Crash: minutes(2, 60), Cut: minutes(2, 60)}
}

// TestReplay plays one short scenario a hundred times: what the seed does not
// decide shows as another hash.
func TestReplay(t *testing.T) {
	t.Parallel()
	cfg := Config{Seed: 7, Nodes: 10, Length: 2 * time.Minute, Longest: 2 * time.Minute, Submit: 30 * time.Second, Crash: 2 * time.Minute, Cut: 2 * time.Minute}
	first, err := Run(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 99 {
		again, err := Run(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if again.Hash != first.Hash {
			t.Fatalf("run %d of seed %d ends with hash %s, the first with %s\n%s\n%s", i+2, cfg.Seed, again.Hash, first.Hash, again, first)
		}
	}
	cfg.Seed++
	if other, err := Run(cfg); err != nil || other.Hash == first.Hash {
		t.Errorf("another seed: hash %v, error %v", other, err)
	}
	t.Logf("hash %s in each of 100 runs of\n%s", first.Hash, first)
}

// TestBroken puts bugs into the driver: each must be found, with its seed and
// what led to it. The last four are what crash tests of real processes found in the
// daemon; the small markets of [drawn] find each within the seeds stated.
func TestBroken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault fault
		want  string
		seeds uint64 // 0: one large market
	}{
		{"leases twice", leasesTwice, "device ", 0},
		{"never pauses", neverPauses, "unpaid work", 0},
		{"pays too much", paysTooMuch, "prepayment", 0},
		{"loses a receipt", losesReceipt, "refused", 0},
		{"sleeps through", sleepsThrough, "past the deadline", 0},
		{"a final receipt of nothing", collectsNothing, "has its money", 8},
		{"a deposit that backs two leases", countsPending, "the chain holds", 8},
		{"a job that never comes", waitsForJob, "holds devices in PHASE_STAGING", 8},
		{"a lease that nobody drives", losesLease, "holds devices in PHASE_FUNDING", 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for s := uint64(5); ; s++ {
				cfg := Config{Seed: s, Nodes: 40, Length: time.Hour, fault: tt.fault}
				if tt.seeds > 0 {
					cfg = drawn(s)
					cfg.fault = tt.fault
				}
				_, err := Run(cfg)
				if err == nil && s-5+1 < tt.seeds {
					continue
				}
				var broken *BrokenError
				if !errors.As(err, &broken) {
					t.Fatalf("the run of seed %d ends with %v", s, err)
				}
				again := fmt.Sprintf("-seed=%d -nodes=%d -hours=%g;", cfg.Seed, cfg.Nodes, cfg.Length.Hours())
				if !strings.Contains(broken.What, tt.want) || len(broken.Last) == 0 || len(broken.Node) == 0 || !strings.Contains(err.Error(), again) {
					t.Errorf("found %v; want %q, the seed and the last events", err, tt.want)
				}
				t.Logf("seed %d, after %s: %s", s, broken.At, broken.What)
				return
			}
		})
	}
}
