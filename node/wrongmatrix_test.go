package node_test

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"google.golang.org/protobuf/proto"
)

// spot is a place in a protocol at which one side lies.
type spot struct {
	name     string
	protocol protocol.ID
	is       func(frame []byte) bool
	guest    string // what runs; default brief
}

// said picks frames of a provider on a run stream.
func said(ok func(*runv1.ToClient) bool) func([]byte) bool {
	return func(b []byte) bool {
		var f runv1.ToClient
		return proto.Unmarshal(b, &f) == nil && ok(&f)
	}
}

// answered picks frames of a client on a run stream.
func answered(ok func(*runv1.ToProvider) bool) func([]byte) bool {
	return func(b []byte) bool {
		var f runv1.ToProvider
		return proto.Unmarshal(b, &f) == nil && ok(&f)
	}
}

func inPhase(ph ...runv1.Phase) func(*runv1.ToClient) bool {
	return func(f *runv1.ToClient) bool { return slices.Contains(ph, f.GetState().GetPhase()) }
}

func ofKind(k uint8) func(*runv1.ToClient) bool {
	return func(f *runv1.ToClient) bool { return f.GetReceipt().GetKind() == uint32(k) }
}

// providerSpots are all that a provider says to a client, in order.
var providerSpots = []spot{
	{"bid", network.OrderProtocol, networktest.AnyFrame, "brief"},
	{"lease", network.LeaseProtocol, networktest.AnyFrame, "brief"},
	{"start", network.RunProtocol, said(inPhase(runv1.Phase_PHASE_FUNDING, runv1.Phase_PHASE_STAGING, runv1.Phase_PHASE_RUNNING)), "brief"},
	{"log", network.RunProtocol, said(func(f *runv1.ToClient) bool { return f.GetLog() != nil }), "brief"},
	{"receipt", network.RunProtocol, said(ofKind(payment.KindInterval)), "brief"},
	{"outputs", network.RunProtocol, said(inPhase(runv1.Phase_PHASE_COLLECTING)), "brief"},
	{"final", network.RunProtocol, said(ofKind(payment.KindFinal)), "brief"},
	{"end", network.RunProtocol, said(inPhase(runv1.Phase_PHASE_ENDED)), "brief"},
}

// clientSpots are all that a client says to a provider about a job, in order.
var clientSpots = []spot{
	{"order", network.OrderProtocol, networktest.AnyFrame, "brief"},
	{"lease", network.LeaseProtocol, networktest.AnyFrame, "brief"},
	{"attach", network.RunProtocol, answered(func(f *runv1.ToProvider) bool { return f.GetAttach() != nil }), "brief"},
	{"voucher", network.RunProtocol, answered(func(f *runv1.ToProvider) bool { return f.GetCountersign() != nil }), "brief"},
	{"paying", network.RunProtocol, answered(func(f *runv1.ToProvider) bool { return f.GetCountersign() != nil }), "long"},
	{"release", network.RunProtocol, answered(func(f *runv1.ToProvider) bool { return f.GetRelease() != nil }), "brief"},
}

// outcome is what came of one row.
type outcome struct {
	spot, deed, end string
	took            time.Duration
	loss, bound     souk.Atoms
}

// rows plays every deed at every spot, many at once, each with a client of its
// own choosing from a few that go on to the next row.
func rows(t *testing.T, s *stall, spots []spot, byClient bool, play func(t *testing.T, c *daemon, lies *networktest.Liar, w spot, d *networktest.Deed) outcome) []outcome {
	t.Helper()
	type task struct{ spot, deed int }
	tasks := make(chan task, len(spots)*len(networktest.Deeds))
	for i := range spots {
		for k := range networktest.Deeds {
			if (i+k)%networktest.Slow == 0 {
				tasks <- task{i, k}
			}
		}
	}
	close(tasks)
	var mu sync.Mutex
	var out []outcome
	var workers sync.WaitGroup
	for range 16 / networktest.Slow {
		lies := &networktest.Liar{}
		c := s.client(t, lies)
		if _, err := c.Deposit(t.Context(), &apiv1.DepositRequest{Peer: s.provider.id.String(), AmountAtoms: uint64(souk.AtomsPerToken / 2)}); err != nil {
			t.Fatal(err) // who has a channel is held what it was bid
		}
		workers.Go(func() {
			for k := range tasks {
				w, what := spots[k.spot], networktest.Deeds[k.deed]
				var o outcome
				told := false
				for try := 0; try < 5 && !told; try++ { // a busy machine may not come so far
					d := &networktest.Deed{Protocol: w.protocol, Step: w.is, Do: what.Do, Once: what.Once, Client: byClient}
					o = play(t, c, lies, w, d)
					told = d.Happened()
				}
				if !told {
					t.Errorf("%s was never said wrong (%s)", w.name, what.Name)
				}
				o.spot, o.deed = w.name, what.Name
				mu.Lock()
				out = append(out, o)
				mu.Unlock()
			}
			if end := c.finishes(t, "brief"); end != "done completed" {
				t.Errorf("after all the lies an honest job ended as %s", end)
			}
		})
	}
	workers.Wait()
	return out
}

// show prints the outcomes as a table, spots beside deeds.
func show(t *testing.T, out []outcome) {
	t.Helper()
	slices.SortFunc(out, func(a, b outcome) int {
		return slices.Compare([]string{a.spot, a.deed}, []string{b.spot, b.deed})
	})
	var worst, longest outcome
	for _, o := range out {
		t.Logf("%-8s %-14s %5.1fs  %s", o.spot, o.deed, o.took.Seconds(), o.end)
		if worst.bound == 0 || o.bound > 0 && float64(o.loss)/float64(o.bound) > float64(worst.loss)/float64(worst.bound) {
			worst = o
		}
		if o.took > longest.took {
			longest = o
		}
	}
	t.Logf("%d lies; the largest loss is %s of at most %s (%s, %s); the longest took %s (%s, %s)",
		len(out), worst.loss, worst.bound, worst.spot, worst.deed, longest.took.Round(100*time.Millisecond), longest.spot, longest.deed)
}

// TestLyingProvider has a provider say every wrong thing at every place of every
// conversation about a job. Each job must end in time: done where the provider
// made good, or with a reason that blames it. And all the while no more may be
// signed away than one interval of one lease.
func TestLyingProvider(t *testing.T) {
	s := newStall(t, 26, func(c *node.Config) { c.Waits.Collect = 1500 * networktest.Slow * time.Millisecond })
	out := rows(t, s, providerSpots, false, func(t *testing.T, c *daemon, _ *networktest.Liar, w spot, d *networktest.Deed) outcome {
		s.liar.Lie(c.id, d)
		began := time.Now()
		o := outcome{end: c.finishes(t, w.guest), took: time.Since(began)}
		s.liar.Lie(c.id, nil)
		networktest.Eventually(t, "the lease's end", func() bool { return s.over(t, c.id) })
		ch := c.channel(t, s.provider.id, true)
		o.loss, o.bound = souk.Atoms(ch.VouchedAtoms)-souk.Atoms(ch.DueAtoms), price(t, 500*time.Millisecond)
		return o
	})
	show(t, out)
	for _, o := range out {
		want := "done completed|failed provider-lost|failed outputs-failed"
		switch {
		case o.spot == "bid" && (strings.HasSuffix(o.deed, " once") || o.deed == "out of order"):
			want = "no-match no-answer|done completed" // nobody else is there: the client asks again
		case o.spot == "bid" && o.deed != "repeated":
			want = "no-match no-answer"
		case o.spot == "lease" && o.deed != "repeated":
			want = "no-match declined"
		case o.spot == "end":
			want = "done completed" // all was said before
		case strings.Contains(" endless frame, garbage, garbage once, no message, wrong kind,", " "+o.deed+","),
			o.spot == "receipt" && o.deed == "forged":
			want = "failed provider-cheated"
		case o.deed == "half a frame":
			want += "|failed provider-cheated" // its other half is what came next
		}
		if !oneOf(want, o.end) || o.loss > o.bound || o.took > 15*networktest.Slow*time.Second {
			t.Errorf("%s, %s: ended as %s after %s, %s signed away of at most %s; want %s", o.spot, o.deed, o.end, o.took, o.loss, o.bound, want)
		}
	}
	networktest.Eventually(t, "the devices", func() bool { return s.idle(t) })
	nothingRuns(t)
}

// nothingRuns waits until no goroutine of a lease, a link or a provider's stream
// is left.
func nothingRuns(t *testing.T) {
	t.Helper()
	buf := make([]byte, 16<<20)
	networktest.Eventually(t, "the end of all goroutines", func() bool {
		stacks := string(buf[:runtime.Stack(buf, true)])
		for _, f := range []string{"provider.(*tenancy).", "provider.(*Provider).Serve", "client.(*runLink).", "client.(*Job).run"} {
			if strings.Contains(stacks, f) {
				return false
			}
		}
		return true
	})
}

// TestLyingClient does the same to a provider: each lease must end in time, well
// or with a reason that blames the client, and its work be paid up to the bound.
func TestLyingClient(t *testing.T) {
	s := newStall(t, 26, func(c *node.Config) { c.Waits.Collect = 1500 * networktest.Slow * time.Millisecond })
	out := rows(t, s, clientSpots, true, func(t *testing.T, c *daemon, lies *networktest.Liar, w spot, d *networktest.Deed) outcome {
		lies.Lie(s.provider.id, d)
		began := time.Now()
		o := outcome{end: "no lease"}
		j := c.submit(t, stallJob(testJob(t, c, w.guest)))
		if w.name == "release" {
			j.until(t, "the run", func(s *apiv1.JobSummary) bool { return s.State == "running" || s.Ended != "" })
			if _, err := c.Stop(t.Context(), &apiv1.StopRequest{Id: j.id}); err != nil {
				t.Fatal(err)
			}
		}
		sum := j.finished(t)
		networktest.Eventually(t, "the lease's end", func() bool { return s.over(t, c.id) })
		if sum.Lease != "" {
			o.end = string(scheduler.ReasonOf(s.lease(t, sum.Lease).Reason))
			o.loss, o.bound = s.unpaid(t, sum.Lease), price(t, 500*time.Millisecond+2*time.Second)
		}
		o.took = time.Since(began)
		lies.Lie(s.provider.id, nil)
		return o
	})
	show(t, out)
	for _, o := range out {
		want := "completed|client-outputs|client-unpaid|client-released|client-inputs|job-invalid"
		switch {
		case o.deed == "repeated" && (o.spot == "order" || o.spot == "lease"):
			want = "completed"
		case o.spot == "order" && (strings.HasSuffix(o.deed, " once") || o.deed == "out of order"):
			want = "no lease|completed|client-released" // nobody else is there: the client asks again
		case o.spot == "order":
			want = "no lease"
		case o.spot == "lease":
			want = "no lease|client-released"
		case o.spot == "paying" && strings.Contains(" silence, half a frame, no message, forged,", " "+o.deed+","):
			want = "client-unpaid"
		}
		if !oneOf(want, o.end) || o.loss > o.bound || o.took > 20*networktest.Slow*time.Second {
			t.Errorf("%s, %s: ended as %s after %s, %s unpaid of at most %s; want %s", o.spot, o.deed, o.end, o.took, o.loss, o.bound, want)
		}
	}
	networktest.Eventually(t, "the devices", func() bool { return s.idle(t) })
	nothingRuns(t)
}
