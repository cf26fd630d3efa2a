package node

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/chain"
)

// slots is a machine whose cards come and go.
type slots struct {
	mu    sync.Mutex // guards what follows
	cards int
	err   error
}

func (s *slots) Devices(ctx context.Context) ([]gpu.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return fake.Probe{Model: "NVIDIA H100 80GB HBM3", Count: s.cards, MemoryBytes: 80 << 30, ComputeCap: 90}.Devices(ctx)
}

func (s *slots) set(cards int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cards, s.err = cards, err
}

// TestDevicesAreReadAgain takes cards out of a running provider: what is gone, or
// cannot be asked any more, is offered no longer, and offered again when it is back.
func TestDevicesAreReadAgain(t *testing.T) {
	var cards slots
	cards.set(2, nil)
	url := serveChain(t)
	provider, _ := startDaemon(t, func(c *Config) {
		c.ChainURLs, c.ChainID, c.Provide = []string{url}, chain.DevnetChainID, true
		c.Prices = map[string]souk.Atoms{"CPU": souk.AtomsPerToken, "H100": 2 * souk.AtomsPerToken}
		c.Probes = []gpu.Probe{cpu.Probe{}, &cards}
	})
	watcher, _ := startDaemon(t, func(c *Config) { c.Bootstrap = []string{address(provider)} })
	for _, tt := range []struct {
		name        string
		cards       int
		err         error
		count, free uint32
	}{
		{"both", 2, nil, 2, 2},
		{"one falls off", 1, nil, 1, 1},
		{"the other too", 0, nil, 1, 0}, // an offer counts one at least: nothing of it is free
		{"both are back", 2, nil, 2, 2},
		{"the driver hangs", 2, errors.New("no answer"), 2, 0},
		{"it answers again", 2, nil, 2, 2},
	} {
		cards.set(tt.cards, tt.err)
		if provider.devices.read(t.Context()) {
			provider.provider.Restock(provider.devices.List())
		}
		networktest.Eventually(t, tt.name, func() bool {
			for _, o := range watcher.book.Offers() {
				if o.Class == "H100" {
					return o.Count == tt.count && o.Free == tt.free
				}
			}
			return false
		})
	}
	if provider.devices.read(t.Context()) {
		t.Error("devices that are as before count as changed")
	}
}
