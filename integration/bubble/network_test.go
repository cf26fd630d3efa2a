package bubble

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
)

const (
	minLatency, maxLatency = 20 * time.Millisecond, 120 * time.Millisecond
	loss                   = 0.01                      // of packets
	lost                   = 10 * 365 * 24 * time.Hour // a latency that nothing here outlives
	linkBits               = 50 * simlibp2p.OneMbps
)

// weather is what the network does to a packet: how late it is between two hosts,
// whether it is lost by chance, and which hosts a partition keeps apart.
type weather struct {
	mu      sync.Mutex // guards what follows
	rand    *rand.Rand
	latency map[[2]string]time.Duration // by the hosts' addresses
	side    map[string]int              // of a partition, by address; nil: there is none
	silent  map[string]bool             // hosts that nothing reaches and that reach nobody
	sent    int
	dropped int
}

func newWeather(seed uint64) *weather {
	return &weather{rand: rand.New(rand.NewPCG(seed, 1)), latency: map[[2]string]time.Duration{}, silent: map[string]bool{}}
}

// delay is how long a packet takes.
func (w *weather) delay(p *simnet.Packet) time.Duration {
	from, to := p.From.(*net.UDPAddr).IP.String(), p.To.(*net.UDPAddr).IP.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent++
	if w.silent[from] || w.silent[to] || w.side[from] != w.side[to] || w.rand.Float64() < loss {
		w.dropped++
		return lost
	}
	pair := [2]string{min(from, to), max(from, to)}
	if w.latency[pair] == 0 {
		w.latency[pair] = minLatency + time.Duration(w.rand.Int64N(int64(maxLatency-minLatency)))
	}
	return w.latency[pair]
}

// part keeps the hosts on different sides from each other; nil heals.
func (w *weather) part(side map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.side = side
}

// hush cuts a host off, or lets it speak again.
func (w *weather) hush(host string, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent[host] = silent
}

func newNetwork(w *weather) *simnet.Simnet {
	return &simnet.Simnet{LatencyFunc: w.delay, Logger: slog.New(slog.DiscardHandler)}
}

// transport is QUIC over the simulated network, with nothing else changed.
func transport(n *simnet.Simnet) libp2p.Option {
	link := simnet.LinkSettings{BitsPerSecond: linkBits}
	return libp2p.ChainOptions(libp2p.Transport(quic.NewTransport),
		simlibp2p.QUICSimnet(n, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}))
}

// wire is a listener whose connections are pipes: a socket would hold up the
// bubble's clock.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
	once   atomic.Bool
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements [net.Listener].
func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (w *wire) Close() error {
	if !w.once.Swap(true) {
		close(w.closed)
	}
	return nil
}

// Addr implements [net.Listener].
func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7071} }

// dial is a client's end of a new connection.
func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case w.conns <- theirs:
		return ours, nil
	case <-w.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
