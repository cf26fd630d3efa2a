package bubble

import (
	"context"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// guest is the one program: its arguments say what it does, and for how long.
func guest(p *fake.Process) int {
	took, err := time.ParseDuration(p.Args[1])
	if err != nil {
		return 9
	}
	for range 5 {
		fmt.Fprintln(p.Stdout, p.Args)
		p.Work(took / 5)
	}
	switch p.Args[0] {
	case "train":
		in, err := fs.ReadFile(p.In, "data.txt")
		if err != nil {
			return 2
		}
		if err := p.WriteFile("model.bin", append([]byte("trained on "), in...)); err != nil {
			return 3
		}
	case "fail":
		return 4
	case "greedy":
		for {
			p.Grow(16 << 20)
		}
	case "endless":
		p.Loop()
	}
	return 0
}

// runs is the in-process runner of one provider, watched: it never has more runs
// than the provider has devices, and it knows how long each lease ran.
type runs struct {
	*fake.Runner
	t     *testing.T
	gpus  int
	price souk.Atoms // of one device for one hour

	mu   sync.Mutex // guards what follows
	live int
	most int
	ran  map[souk.LeaseID]time.Duration
}

func newRuns(t *testing.T, gpus int, price souk.Atoms) *runs {
	t.Helper()
	r, err := fake.New(fake.Config{Guests: map[string]fake.Guest{"guest": guest}, Kind: marketv1.Runner_RUNNER_WASM})
	if err != nil {
		t.Fatal(err)
	}
	return &runs{Runner: r, t: t, gpus: gpus, price: price, ran: map[souk.LeaseID]time.Duration{}}
}

// Start implements [runner.Runner].
func (r *runs) Start(ctx context.Context, s runner.Spec) (runner.Run, error) {
	run, err := r.Runner.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live++; r.live > r.gpus {
		r.t.Errorf("%d runs on %d devices", r.live, r.gpus)
	}
	r.most = max(r.most, r.live)
	go func() {
		result := run.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.live--
		r.ran[s.Lease] += result.Usage.RunningFor
	}()
	return run, nil
}

// costOf is what one device costs for a time, rounded up.
func (r *runs) costOf(ran time.Duration) souk.Atoms {
	return souk.Atoms((ran.Milliseconds()*int64(r.price) + 3_599_999) / 3_600_000)
}
