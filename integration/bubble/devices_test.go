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
	mu     sync.Mutex // guards what follows
	cards  int
	err    error
	failed bool // the first card
}

// Devices implements [gpu.Probe].
func (s *slots) Devices(ctx context.Context) ([]gpu.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	devices, err := fakegpu.Probe{Model: "NVIDIA L4", Count: s.cards, MemoryBytes: 24 << 30, ComputeCap: 89}.Devices(ctx)
	if s.failed {
		devices[0].Health, devices[0].Failed = "it fell off the bus", true
	}
	return devices, err
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

// TestDeviceFails has a card that fails under a job, and a driver that stops to answer
// under another: the first job ends within seconds and says why, the second goes on.
func TestDeviceFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*slots)
		within time.Duration
		reason string
	}{
		{"fails", func(s *slots) { s.failed = true }, 10 * time.Second, "device-failed"},
		{"cannot be asked", func(s *slots) { s.err = errors.New("no answer") }, 2 * time.Minute, "completed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, cards := homes(t), &slots{cards: 1}
			synctest.Test(t, func(t *testing.T) {
				m := newMarket(dir, *seed)
				defer m.close(t)
				seller, buyer := newDaemon(t, m, 0), newDaemon(t, m, 1)
				seller.sell(t, 1, 2*souk.AtomsPerToken, regions[0])
				seller.cfg.Probes = []gpu.Probe{seller.cfg.Probes[0], watched{cards}}
				m.open(t)
				k := &task{client: buyer, takes: 20 * time.Second}
				m.reach(t, k, "running")
				cards.mu.Lock()
				tt.change(cards)
				cards.mu.Unlock()
				m.after(t, "the job's end", tt.within, func() bool {
					got, err := buyer.up().Get(t.Context(), &apiv1.GetRequest{Id: k.id})
					k.end = got
					return err == nil && len(got.Attempts) > 0 && got.Attempts[0].Ended != ""
				})
				if got := k.end.Attempts[0].Reason; got != tt.reason {
					t.Errorf("the attempt ended for %s, want %s: %s", got, tt.reason, k.end.Summary.Detail)
				}
				m.after(t, "the device", time.Minute, func() bool { return m.idle(t, seller) })
				m.after(t, "the offer", 10*time.Second, func() bool { return m.offer(t, buyer).Free == 0 })
			})
		})
	}
}

// TestDriverHangsOverARestart starts a provider again whose driver has stopped to answer
// (akash support#128): it starts, and its cards are unknown, not gone. The lease of its
// earlier life is settled, and the card is on sale once the driver answers.
func TestDriverHangsOverARestart(t *testing.T) {
	dir, cards := homes(t), &slots{cards: 1}
	synctest.Test(t, func(t *testing.T) {
		m := newMarket(dir, *seed)
		defer m.close(t)
		seller, buyer := newDaemon(t, m, 0), newDaemon(t, m, 1)
		seller.sell(t, 1, 2*souk.AtomsPerToken, regions[0])
		seller.cfg.Probes = []gpu.Probe{seller.cfg.Probes[0], watched{cards}}
		m.open(t)
		k := &task{client: buyer, takes: 20 * time.Second}
		m.reach(t, k, "running")
		cards.set(1, errors.New("no answer"))
		seller.restart(t, m, 2*time.Second)
		m.after(t, "its cards are unknown", time.Second, func() bool {
			got, err := seller.up().Devices(t.Context(), &apiv1.DevicesRequest{})
			return err == nil && got.Unknown != ""
		})
		m.after(t, "the job", time.Minute, func() bool {
			got, err := buyer.up().Get(t.Context(), &apiv1.GetRequest{Id: k.id})
			k.end = got
			return err == nil && got.Summary.Ended != ""
		})
		if got := k.end.Summary.Reason; got != "provider-stopped" {
			t.Errorf("the job ended for %s", got)
		}
		cards.set(1, nil)
		m.after(t, "its card on sale", time.Minute, func() bool {
			got, err := buyer.up().Offers(t.Context(), &apiv1.OffersRequest{})
			return err == nil && len(got.Offers) == 1 && got.Offers[0].Offer.Free == 1
		})
		m.after(t, "the card", time.Minute, func() bool { return m.idle(t, seller) })
		m.agree(t)
		m.audit(t, []*task{k})
	})
}
