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
	neverArrives           = 10 * 365 * 24 * time.Hour // a latency that nothing here outlives
	linkBits               = 50 * simlibp2p.OneMbps
)

// conditions are what the network does to a packet: how late it is between two hosts,
// whether it is lost by chance, and which hosts a partition keeps apart.
type conditions struct {
	mu      sync.Mutex // guards what follows
	rand    *rand.Rand
	latency map[[2]string]time.Duration // by the hosts' addresses
	side    map[string]int              // of a partition, by address; nil: there is none
	silent  map[string]bool             // hosts that nothing reaches and that reach nobody
	sent    int
	dropped int
}

func newConditions(seed uint64) *conditions {
	return &conditions{rand: rand.New(rand.NewPCG(seed, 1)), latency: map[[2]string]time.Duration{}, silent: map[string]bool{}}
}

// delay is how long a packet takes.
func (w *conditions) delay(p *simnet.Packet) time.Duration {
	from, to := p.From.(*net.UDPAddr).IP.String(), p.To.(*net.UDPAddr).IP.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent++
	if w.silent[from] || w.silent[to] || w.side[from] != w.side[to] || w.rand.Float64() < loss {
		w.dropped++
		return neverArrives
	}
	pair := [2]string{min(from, to), max(from, to)}
	if w.latency[pair] == 0 {
		w.latency[pair] = minLatency + time.Duration(w.rand.Int64N(int64(maxLatency-minLatency)))
	}
	return w.latency[pair]
}

// partition cuts the hosts on different sides off from each other; nil ends that.
func (w *conditions) partition(side map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.side = side
}

// silence cuts a host off, or connects it again.
func (w *conditions) silence(host string, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent[host] = silent
}

func newNetwork(w *conditions) *simnet.Simnet {
	return &simnet.Simnet{LatencyFunc: w.delay, Logger: slog.New(slog.DiscardHandler)}
}

// transport is QUIC over the simulated network, with nothing else changed.
func transport(n *simnet.Simnet) libp2p.Option {
	link := simnet.LinkSettings{BitsPerSecond: linkBits}
	return libp2p.ChainOptions(libp2p.Transport(quic.NewTransport),
		simlibp2p.QUICSimnet(n, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}))
}

// pipeListener is a listener whose connections are pipes: a socket would stop the
// clock of the bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   atomic.Bool
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (w *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (w *pipeListener) Close() error {
	if !w.once.Swap(true) {
		close(w.closed)
	}
	return nil
}

// Addr implements [net.Listener].
func (w *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7071} }

// dial is a client's end of a new connection.
func (w *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
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
