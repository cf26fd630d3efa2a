package bubble

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	fakegpu "github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/gpu/nvml"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// slots is a machine whose cards come and go.
type slots struct {
	mu    sync.Mutex // guards what follows
	cards int
	err   error
}

// Devices implements [gpu.Probe].
func (s *slots) Devices(ctx context.Context) ([]gpu.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return fakegpu.Probe{Model: "NVIDIA L4", Count: s.cards, MemoryBytes: 24 << 30, ComputeCap: 89}.Devices(ctx)
}

func (s *slots) set(cards int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cards, s.err = cards, err
}

// watched is a machine whose driver is asked each second.
type watched struct{ *slots }

// Watch implements [inventory.Watcher].
func (w watched) Watch(ctx context.Context, see func([]gpu.Device, error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(nvml.Every):
			see(w.Devices(ctx))
		}
	}
}

// TestDevicesAreReadAgain takes cards out of a running provider: what is gone, or
// cannot be asked any more, is offered no longer, and offered again when it is back,
// without any event: within two minutes where a probe is polled, within five seconds
// where it watches, of which an offer waits for some. While nothing changes no offer
// is made.
func TestDevicesAreReadAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		probe  func(*slots) gpu.Probe
		within time.Duration
	}{
		{"polled", func(s *slots) gpu.Probe { return s }, 2 * time.Minute},
		{"watched", func(s *slots) gpu.Probe { return watched{s} }, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, cards := homes(t), &slots{cards: 2}
			synctest.Test(t, func(t *testing.T) { readAgain(t, dir, cards, tt.probe(cards), tt.within) })
		})
	}
}

// readAgain changes the cards of a seller and wants each change in its offer.
func readAgain(t *testing.T, dir string, cards *slots, probe gpu.Probe, within time.Duration) {
	m := newMarket(dir, *seed)
	defer m.close(t)
	seller, watcher := newDaemon(t, m, 0), newDaemon(t, m, 1)
	seller.sell(t, 2, 2*souk.AtomsPerToken, regions[0])
	seller.cfg.Probes = []gpu.Probe{seller.cfg.Probes[0], probe}
	m.open(t)
	for _, tt := range []struct {
		name        string
		cards       int
		err         error
		count, free uint32
	}{
		{"one falls off", 1, nil, 1, 1},
		{"the other too", 0, nil, 1, 0}, // an offer counts one at least: nothing of it is free
		{"both are back", 2, nil, 2, 2},
		{"the driver hangs", 2, errors.New("no answer"), 2, 0},
		{"it answers again", 2, nil, 2, 2},
	} {
		cards.set(tt.cards, tt.err)
		m.after(t, tt.name, within, func() bool {
			o := m.offer(t, watcher)
			return o.Count == tt.count && o.Free == tt.free
		})
	}
	last := m.offer(t, watcher)
	time.Sleep(5 * time.Minute)
	if o := m.offer(t, watcher); o.Sequence != last.Sequence {
		t.Errorf("with devices that are as before there were %d offers", o.Sequence-last.Sequence)
	}
}

// offer is the only one that a daemon knows.
func (m *market) offer(t *testing.T, d *daemon) *marketv1.Offer {
	t.Helper()
	got, err := d.up().Offers(t.Context(), &apiv1.OffersRequest{})
	if err != nil || len(got.Offers) != 1 {
		t.Fatalf("%s knows the offers %v, %v", d.name, got.GetOffers(), err)
	}
	return got.Offers[0].Offer
}
