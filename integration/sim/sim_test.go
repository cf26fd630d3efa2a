package sim

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

var (
	seed  = flag.Uint64("seed", 1, "seed of the long simulation")
	nodes = flag.Int("nodes", 100, "virtual nodes of the long simulation")
	hours = flag.Float64("hours", 1, "virtual hours of the long simulation")
)

// TestHour plays the market with all its faults, and shows what came of it.
func TestHour(t *testing.T) {
	r, err := Run(Config{Seed: *seed, Nodes: *nodes, Length: time.Duration(*hours * float64(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d, hash %s\n%s", *seed, r.Hash, r)
}

// TestReplay plays one short scenario a hundred times: what the seed does not
// decide shows as another hash.
func TestReplay(t *testing.T) {
	cfg := Config{Seed: 7, Nodes: 12, Length: 10 * time.Minute, Crash: 4 * time.Minute, Cut: 4 * time.Minute}
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
	t.Logf("%d events and hash %s in each of 100 runs", first.Events, first.Hash)
}

// TestBroken puts bugs into the driver: each must be found, with its seed and
// what led to it.
func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault fault
		want  string
	}{
		{"leases twice", leasesTwice, "device "},
		{"never pauses", neverPauses, "unpaid work"},
		{"pays too much", paysTooMuch, "prepayment"},
		{"loses a receipt", losesReceipt, "countersignatures"},
		{"sleeps through", sleepsThrough, "past the deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Run(Config{Seed: 5, Nodes: 40, Length: time.Hour, fault: tt.fault})
			var broken *BrokenError
			if !errors.As(err, &broken) {
				t.Fatalf("the run ends with %v", err)
			}
			if !strings.Contains(broken.What, tt.want) || len(broken.Last) == 0 || len(broken.Node) == 0 || !strings.Contains(err.Error(), "-seed=5 -nodes=40 -hours=1;") {
				t.Errorf("found %v; want %q, the seed and the last events", err, tt.want)
			}
		})
	}
}
