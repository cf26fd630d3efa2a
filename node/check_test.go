package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/gpu/challenge/reference"
	"github.com/souk-market/souk/node/provider"
)

// oneProver computes on the processor, in the test's own process.
type oneProver struct {
	noKernels, noStart error
	change             func(*challenge.Opening)
	open               int
}

func (p *oneProver) Backend(gpu.Device) (string, error) { return "reference", p.noKernels }

func (p *oneProver) Start(_ context.Context, c challenge.Challenge, _ gpu.Device) (provider.ProvingDevice, error) {
	p.open++
	return &changed{reference.New(c), p}, p.noStart
}

type changed struct {
	challenge.Device
	of *oneProver
}

func (d *changed) Open(ctx context.Context, round, tile uint32) (challenge.Opening, error) {
	o, err := d.Device.Open(ctx, round, tile)
	if d.of.change != nil {
		d.of.change(&o)
	}
	return o, err
}

func (d *changed) Close() error { d.of.open--; return nil }

func TestCheckDevice(t *testing.T) {
	for _, tt := range []struct {
		name string
		by   oneProver
		want string // empty: it passes
	}{
		{"it computes", oneProver{}, ""},
		{"a flipped bit", oneProver{change: func(o *challenge.Opening) { o.Tile[100] ^= 1 }}, "wrong"},
		{"it does not start", oneProver{noStart: errors.New("no context"), open: -1}, "it does not compute: no context"},
		{"no library", oneProver{noStart: fmt.Errorf("device: %w", process.ErrNoLibrary), open: -1}, ""},
		{"no kernels", oneProver{noKernels: errors.New("none")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checker{&tt.by}.check(t.Context(), gpu.Device{ID: "GPU-1", Class: "H100"})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if tt.by.open != 0 {
				t.Errorf("%d devices are open", tt.by.open)
			}
		})
	}
}
