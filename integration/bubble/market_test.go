// Package bubble runs a whole souk market in one testing/synctest bubble: real
// daemons, from their API to their ledgers on disk, over a simulated network that
// is slow, loses packets and falls apart, on a chain in memory and with jobs that
// are goroutines. What is not the real thing passes the real thing's contract
// test: payment/chain/chaintest and gpu/runner/runnertest.
//
// The clock is virtual, so hours cost seconds, and deadlines are met to the
// millisecond or not at all. A bubble ends only when every goroutine in it has, so
// none of souk's outlives its daemon.
//
// The seed fixes the jobs, the faults and the latencies, and no more: goroutines
// run in whatever order they like, and keys come from crypto/rand. What must be
// replayed from a seed belongs to integration/sim.
//
//	go test ./integration/bubble -v                                       # 20 daemons, some minutes
//	go test ./integration/bubble -v -timeout 30m -run TestMarket -jobs 200 -hours 1 -seed 7
package bubble

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/marcopolo/simnet"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain/mem"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

var (
	daemons = flag.Int("daemons", 20, "how many daemons; two of five sell")
	jobs    = flag.Int("jobs", 24, "how many jobs")
	hours   = flag.Float64("hours", 0.1, "virtual hours in which jobs come and things break")
	seed    = flag.Uint64("seed", 1, "of the jobs, the faults and the latencies")
)

// regions are where providers say they are.
var regions = []string{"DE", "FR", "US"}

// settleWithin is how long after the last fault every job must have ended: a job
// may have 120 s to start, three times, and a minute to run.
const settleWithin = 15 * time.Minute

// market is all there is in one bubble.
type market struct {
	dir        string
	conditions *conditions
	network    *simnet.Simnet
	chain      *mem.Chain
	daemons    []*daemon
	warnings   *warnings
	restarts   int
	faults     []string
	opened     time.Time
}

// newMarket makes a network and a chain; close ends them.
func newMarket(dir string, seed uint64) *market {
	m := &market{dir: dir, conditions: newConditions(seed), warnings: &warnings{lines: map[string]int{}},
		chain: mem.New(mem.Config{ChainID: 31337, BlockTime: 2 * time.Second}), opened: time.Now()}
	m.network = newNetwork(m.conditions)
	m.network.Start()
	return m
}

func (m *market) close(t *testing.T) {
	for _, d := range m.daemons {
		if err := d.stop(); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
	}
	m.network.Close()
}

// bootstrap is where a daemon begins: at the first two.
func (m *market) bootstrap(d *daemon) (addrs []string) {
	for _, o := range m.daemons[:2] {
		if o != d {
			addrs = append(addrs, "/ip4/"+o.ip+"/udp/4001/quic-v1/p2p/"+o.peer)
		}
	}
	return addrs
}

// open starts every daemon and fills the wallets.
func (m *market) open(t *testing.T) {
	t.Helper()
	m.prepare(t)
	for _, d := range m.daemons {
		d.start(t, m)
	}
	var g errgroup.Group
	for _, d := range m.daemons {
		g.Go(func() error {
			_, err := d.up().Faucet(t.Context(), &apiv1.FaucetRequest{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	m.agree(t)
}

// sellers and buyers are the daemons that provide, and those that do not.
func (m *market) sellers() (out []*daemon) {
	for _, d := range m.daemons {
		if d.runs != nil {
			out = append(out, d)
		}
	}
	return out
}

func (m *market) buyers() (out []*daemon) {
	for _, d := range m.daemons {
		if d.runs == nil {
			out = append(out, d)
		}
	}
	return out
}

// TestMarket opens a market, breaks it for a while, and then holds all the books
// against each other.
func TestMarket(t *testing.T) {
	if *daemons < 5 {
		t.Fatal("-daemons: at least 5")
	}
	dir, wall := homes(t), time.Now()
	synctest.Test(t, func(t *testing.T) {
		m := newMarket(dir, *seed)
		defer m.close(t)
		for i := range *daemons {
			d := newDaemon(t, m, i)
			if i%5 < 2 {
				d.sell(t, 1+i%3, souk.AtomsPerToken*souk.Atoms(10+i)/10, regions[i%len(regions)])
			}
		}
		m.open(t)
		over := time.Duration(*hours * float64(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), over+settleWithin)
		defer cancel()
		rng := rand.New(rand.NewPCG(*seed, 2))
		tasks := newTasks(rng, m.buyers(), *jobs, over*8/10)
		var g errgroup.Group
		g.Go(func() error { m.injectFaults(t, rand.New(rand.NewPCG(*seed, 3)), over); return nil })
		for i, k := range tasks {
			g.Go(func() error { return k.run(ctx, m, i) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		healed := time.Now()
		agreed := m.agree(t)
		b := m.audit(t, tasks)
		t.Logf("seed %d: %d daemons, %d jobs, %d restarts, virtual %v: ended %s", *seed, len(m.daemons), len(tasks), m.restarts,
			time.Since(m.opened).Round(time.Second), b)
		t.Logf("what broke: %s", strings.Join(m.faults, "; "))
		t.Logf("books agreed %v after the last job; %d of %d packets lost; warnings: %s", agreed.Sub(healed).Round(time.Millisecond),
			m.conditions.dropped, m.conditions.sent, m.warnings)
	})
	t.Logf("wall %v", time.Since(wall).Round(time.Millisecond))
}

// injectFaults partitions the network, cuts hosts off, restarts daemons and stops the
// chain, one after another, and ends each of these faults.
func (m *market) injectFaults(t *testing.T, rng *rand.Rand, over time.Duration) {
	end := time.Now().Add(over)
	sellers, buyers := m.sellers(), m.buyers()
	for n := 0; time.Now().Before(end); n++ {
		time.Sleep(over/20 + time.Duration(rng.Int64N(int64(over/20))))
		seller, buyer := sellers[rng.IntN(len(sellers))], buyers[rng.IntN(len(buyers))]
		fault := func(what string) {
			m.faults = append(m.faults, fmt.Sprintf("%v %s", time.Since(m.opened).Round(time.Second), what))
		}
		switch n % 6 {
		case 0:
			fault("parted")
			side := map[string]int{}
			for i, d := range rng.Perm(len(m.daemons)) {
				side[m.daemons[d].ip] = i % 2
			}
			m.conditions.partition(side)
			time.Sleep(time.Minute)
			m.conditions.partition(nil)
		case 1:
			fault("restart " + seller.name)
			seller.restart(t, m, 10*time.Second)
		case 2:
			fault("restart " + buyer.name)
			buyer.restart(t, m, 10*time.Second)
		case 3:
			fault("chain down")
			m.chain.SetDown(true)
			time.Sleep(30 * time.Second)
			m.chain.SetDown(false)
		case 4, 5:
			d := seller
			if n%6 == 5 {
				d = buyer
			}
			fault("silent " + d.name)
			m.conditions.silence(d.ip, true)
			time.Sleep(45 * time.Second)
			m.conditions.silence(d.ip, false)
		}
	}
}

// warnings counts the warnings of all daemons.
type warnings struct {
	mu    sync.Mutex // guards lines
	lines map[string]int
}

// of is the handler that counts those of one daemon.
func (j *warnings) of(name string) slog.Handler { return &warningHandler{j, name} }

func (j *warnings) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return count(j.lines)
}

type warningHandler struct {
	*warnings
	name string
}

func (*warningHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || *loud
}
func (v *warningHandler) WithAttrs([]slog.Attr) slog.Handler { return v }
func (v *warningHandler) WithGroup(string) slog.Handler      { return v }
func (v *warningHandler) Handle(_ context.Context, r slog.Record) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lines[r.Message]++
	if *loud {
		var b strings.Builder
		r.Attrs(func(a slog.Attr) bool { b.WriteString(" " + a.String()); return true })
		fmt.Println(time.Now().Format("15:04:05.000"), v.name, r.Message, b.String())
	}
	return nil
}

var loud = flag.Bool("loud", false, "print what the daemons log")

// homes is a folder for the daemons' homes, in memory where there is room: the
// bubble's clock stands still while a disk syncs, and twenty daemons sync often.
func homes(t *testing.T) string {
	t.Helper()
	const memory, room = "/dev/shm", 4 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "souk-bubble-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
