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

// TestDevicesAreReadAgain takes cards out of a running provider: what is gone, or
// cannot be asked any more, is offered no longer, and offered again when it is back,
// within two minutes and without any event. While nothing changes no offer is made.
func TestDevicesAreReadAgain(t *testing.T) {
	dir := homes(t)
	synctest.Test(t, func(t *testing.T) {
		m := newMarket(dir, *seed)
		defer m.close(t)
		seller, watcher := newDaemon(t, m, 0), newDaemon(t, m, 1)
		cards := &slots{cards: 2}
		seller.sell(t, 2, 2*souk.AtomsPerToken, regions[0])
		seller.cfg.Probes = []gpu.Probe{seller.cfg.Probes[0], cards}
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
			m.after(t, tt.name, 2*time.Minute, func() bool {
				o := m.offer(t, watcher)
				return o.Count == tt.count && o.Free == tt.free
			})
		}
		last := m.offer(t, watcher)
		time.Sleep(5 * time.Minute)
		if o := m.offer(t, watcher); o.Sequence != last.Sequence {
			t.Errorf("with devices that are as before there were %d offers", o.Sequence-last.Sequence)
		}
	})
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
