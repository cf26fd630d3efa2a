package provider

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/payment"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// puller is a runner that only brings images.
type puller struct {
	runner.Runner
	pull func(ctx context.Context, limit uint64, progress func(done, total uint64)) error
}

func (p puller) Pull(ctx context.Context, _ string, limit uint64, progress func(done, total uint64)) error {
	return p.pull(ctx, limit, progress)
}

// bringing is a lease whose image the runner brings by pull.
func bringing(pull func(ctx context.Context, limit uint64, progress func(done, total uint64)) error) *tenancy {
	with := &means{Runner: func(marketv1.Runner) runner.Runner { return puller{pull: pull} }}
	t := &tenancy{with: with, lease: &leasev1.Lease{Resources: &marketv1.Resources{DiskBytes: 1 << 30}}}
	t.rec.Phase = runv1.Phase_PHASE_STAGING
	return t
}

// TestImageFaults gives each way in which an image does not come its end: who names
// an image answers for it and for its registry, the provider for its engine.
func TestImageFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want runv1.EndReason // 0: it came
	}{
		{"it came", nil, 0},
		{"there is none", &runner.ImageError{Detail: "its registry has no image x"}, runv1.EndReason_END_REASON_JOB_INVALID},
		{"its registry is away", &runner.ImageError{Away: true, Detail: "it does not answer"}, runv1.EndReason_END_REASON_CLIENT_INPUTS},
		{"the engine fails", errors.New("no space left"), runv1.EndReason_END_REASON_PROVIDER_FAILED},
		{"it is late", context.DeadlineExceeded, runv1.EndReason_END_REASON_CLIENT_INPUTS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				h := bringing(func(ctx context.Context, limit uint64, _ func(done, total uint64)) error {
					if limit != 1<<30 {
						t.Errorf("it may have %d bytes", limit)
					}
					if errors.Is(tt.err, context.DeadlineExceeded) {
						<-ctx.Done()
						return ctx.Err()
					}
					return tt.err
				})
				failed := h.bring(ctx, "image")
				if (failed == nil) != (tt.want == 0) || failed != nil && (failed.Reason != tt.want || failed.Detail == "") {
					t.Errorf("%+v, want %v", failed, tt.want)
				}
			})
		})
	}
}

// TestImageProgress shows the client how far its image is, at most once a second.
func TestImageProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h *tenancy
		var told []string
		h = bringing(func(_ context.Context, _ uint64, progress func(done, total uint64)) error {
			for n := range uint64(20) {
				progress(n*1_000_000, 20_000_000)
				rec, _, _ := h.watch()
				if len(told) == 0 || told[len(told)-1] != rec.Detail {
					told = append(told, rec.Detail)
				}
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		})
		if failed := h.bring(t.Context(), "image"); failed != nil {
			t.Error(failed)
		}
		if want := "pulling the image: 0B of 20MB; pulling the image: 10MB of 20MB"; strings.Join(told, "; ") != want {
			t.Errorf("%q, want %q", told, want)
		}
		if rec, _, _ := h.watch(); rec.Detail != "" {
			t.Errorf("it has come, and the client reads %q", rec.Detail)
		}
	})
}

// sometimes is a runner that may be absent.
type sometimes struct {
	*fake.Runner
	why error
}

func (s *sometimes) Absent() error { return s.why }

// TestAbsentRunner takes a runner away and brings it back: orders for it are bid on
// while it is there, and offers are asked for anew.
func TestAbsentRunner(t *testing.T) {
	guests := map[string]fake.Guest{"brief": func(*fake.Process) int { return 0 }}
	modules, err := fake.New(fake.Config{Guests: guests})
	if err != nil {
		t.Fatal(err)
	}
	images, err := fake.New(fake.Config{Guests: guests, Kind: marketv1.Runner_RUNNER_OCI})
	if err != nil {
		t.Fatal(err)
	}
	r := &sometimes{Runner: images}
	p := &Provider{cfg: Config{Runners: []runner.Runner{modules, r}, RAMBytes: 1 << 30, DiskBytes: 1 << 30, Prices: map[string]souk.Atoms{"CPU": 1},
		Lines: map[string]payment.Tariff{}}, dirty: make(chan struct{}, 1), devices: []gpu.Device{{ID: "cpu", Class: "CPU", CPU: true, CPUMilli: 1000, Health: gpu.Healthy}}}
	p.floor = scheduler.NewFloor(p.floorConfig())
	order := &marketv1.Order{Resources: &marketv1.Resources{CpuMilli: 1, MemoryBytes: 1, DiskBytes: 1, MinEvidence: marketv1.Evidence_EVIDENCE_NONE,
		Runners: []marketv1.Runner{marketv1.Runner_RUNNER_GVISOR, marketv1.Runner_RUNNER_OCI}}, MaxDurationMs: 1000, MaxPriceAtomsPerHour: 100}
	for i, why := range []error{nil, errors.New("the engine is away"), nil} {
		r.why = why
		p.Equip()
		if len(p.dirty) != 1 {
			t.Error("no offer is asked for")
		}
		<-p.dirty
		want := []marketv1.Runner{marketv1.Runner_RUNNER_WASM, marketv1.Runner_RUNNER_OCI}
		if why != nil {
			want = want[:1]
		}
		if got := p.floorConfig().Runners; !slices.Equal(got, want) {
			t.Errorf("%v are offered while %v", got, why)
		}
		bid, no := p.floor.Bid(time.Unix(int64(i), 0), souk.NodeKey{1}, order, false)
		if why == nil && (no != nil || bid.Runner != marketv1.Runner_RUNNER_OCI) || why != nil && (no == nil || no.Reason != marketv1.DeclineReason_DECLINE_REASON_RUNNER) {
			t.Errorf("%+v, %v while %v", bid, no, why)
		}
	}
	if p.runner(marketv1.Runner_RUNNER_OCI) == nil {
		t.Error("a lease would not find its runner")
	}
}
