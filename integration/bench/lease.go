package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/keys"
	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/payment/chain"
	"golang.org/x/sync/errgroup"
)

// leasesInSample is how many orders make a sample, and how many pairs of round
// trips one of the limit: the middle one counts.
const leasesInSample = 9

// orderPause keeps the client below the rate at which a provider takes orders.
const orderPause = 120 * time.Millisecond

// orderToLease measures what a client waits for between its order and the lease
// that both have signed and made durable.
func orderToLease() bench {
	return bench{
		row:     "order to signed lease, provider already dialled",
		against: "2 raw stream round trips to the same node",
		unit:    "ms",
		goal:    "≤ 1.5×",
		prepare: prepareLease,
	}
}

// leaseTimes keeps when a node said that it sent an order and that a lease was signed.
type leaseTimes struct {
	slog.Handler // discards all

	mu    sync.Mutex // guards what follows
	order time.Time
	waits []time.Duration
}

func (m *leaseTimes) Enabled(context.Context, slog.Level) bool { return true }

func (m *leaseTimes) Handle(_ context.Context, r slog.Record) error {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch r.Message {
	case "order":
		m.order = now
	case "lease":
		m.waits = append(m.waits, now.Sub(m.order))
	}
	return nil
}

// taken returns the waits since it was last called.
func (m *leaseTimes) taken() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	waits := m.waits
	m.waits = nil
	return waits
}

func prepareLease(dir string) (s *subject, err error) {
	m, err := openPair(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	job, err := newWork(m.client, filepath.Join(m.dir, "program"), nil)
	if err != nil {
		return nil, err
	}
	if err := job.open(); err != nil {
		return nil, err
	}
	var synced []float64
	pace := time.NewTicker(orderPause)
	return &subject{
		ours: func() (float64, error) {
			m.times.taken()
			for range leasesInSample {
				<-pace.C
				if _, err := job.run(""); err != nil {
					return 0, err
				}
			}
			waits := m.times.taken()
			if len(waits) != leasesInSample {
				return 0, fmt.Errorf("%d leases in %d jobs", len(waits), leasesInSample)
			}
			x, err := millis(func() error { return writeSynced(filepath.Join(m.dir, "raw"), 4<<10) })
			synced = append(synced, x)
			return middleWait(waits), err
		},
		limit: m.roundTrips,
		met:   func(ours, limit figure) bool { return ours.median <= 1.5*limit.median },
		note: func() string {
			return fmt.Sprintf("both sides persist before they speak: a write of 4 KiB and fsync takes %s ms here, and 2 commits come one after the other",
				number(middle(synced).median))
		},
		close: func() error { pace.Stop(); return m.close() },
	}, nil
}

func middleWait(waits []time.Duration) float64 {
	slices.Sort(waits)
	return float64(waits[len(waits)/2].Microseconds()) / 1000
}

// pair is a provider with a chain, a client, and a plain libp2p host that knows
// the provider, in this process.
type pair struct {
	dir    string
	times  *leaseTimes // of the client
	client *daemon.Client
	raw    host.Host
	to     peer.ID
	stop   context.CancelFunc
	group  *errgroup.Group
}

func openPair(dir string) (m *pair, err error) {
	ctx, stop := context.WithCancel(context.Background())
	m = &pair{dir: dir, times: &leaseTimes{Handler: slog.DiscardHandler}, stop: stop, group: new(errgroup.Group)}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	quiet, err := fake.New(fake.Config{Guests: map[string]fake.Guest{"nothing": func(*fake.Process) int { return 0 }}})
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, "program"), "nothing"); err != nil {
		return nil, err
	}
	rpc, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	provider, err := m.start(ctx, "provider", func(c *node.Config) {
		c.Devnet, c.DevnetListen, c.Provide, c.Runners = true, rpc, true, []runner.Runner{quiet}
		c.Prices = map[string]souk.Atoms{gpu.ClassCPU: souk.AtomsPerToken}
	})
	if err != nil {
		return nil, err
	}
	at := provider.Status.Addresses[0] + "/p2p/" + provider.Status.Peer
	if m.raw, err = libp2p.New(libp2p.NoListenAddrs); err != nil {
		return nil, err
	}
	info, err := peer.AddrInfoFromString(at)
	if err != nil {
		return nil, err
	}
	if err := m.raw.Connect(ctx, *info); err != nil {
		return nil, err
	}
	m.to = info.ID
	client, err := m.start(ctx, "client", func(c *node.Config) {
		c.ChainURLs, c.Bootstrap = []string{"http://" + rpc}, []string{at}
		c.Log = slog.New(m.times)
	})
	if err != nil {
		return nil, err
	}
	m.client = client.Client
	return m, meet(ctx, m.client, provider.Client)
}

// start runs a node with keys and a home of its own until m is closed.
func (m *pair) start(ctx context.Context, name string, change func(*node.Config)) (*process.Daemon, error) {
	k, err := keys.Generate()
	if err != nil {
		return nil, err
	}
	cfg := node.Config{Home: filepath.Join(m.dir, name), Identity: k.Identity, Wallet: k.Wallet, VoucherKey: k.Voucher, API: "127.0.0.1:0",
		Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, ChainID: chain.DevnetChainID, Probes: []gpu.Probe{cpu.Probe{}}}
	change(&cfg)
	n, err := node.New(cfg)
	if err != nil {
		return nil, err
	}
	m.group.Go(func() error { return n.Run(ctx) })
	d := process.New(process.Config{Name: name, Home: cfg.Home})
	return d, process.Ready(ctx, d)
}

// roundTrips is two exchanges one after the other, each on a stream of its own,
// as order and lease are.
func (m *pair) roundTrips() (float64, error) {
	waits := make([]time.Duration, leasesInSample)
	for i := range waits {
		begun := time.Now()
		for range 2 {
			if err := m.echo(); err != nil {
				return 0, err
			}
		}
		waits[i] = time.Since(begun)
	}
	return middleWait(waits), nil
}

func (m *pair) echo() error {
	s, err := m.raw.NewStream(network.WithNoDial(context.Background(), "measuring"), m.to, ping.ID)
	if err != nil {
		return err
	}
	defer s.Reset()
	buf := make([]byte, ping.PingSize)
	if _, err := s.Write(buf); err != nil {
		return err
	}
	_, err = io.ReadFull(s, buf)
	return err
}

func (m *pair) close() error {
	m.stop()
	err := m.group.Wait()
	if m.raw != nil {
		err = errors.Join(err, m.raw.Close())
	}
	return err
}
