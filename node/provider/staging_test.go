package provider

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
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
