package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/proto"
)

// OrderProtocol carries one exchange, a uvarint length before each frame: out, a
// Signed Order of at most [MaxOrderBytes]; back, an OrderReply of at most
// [MaxOrderReplyBytes], within [OrderLimits].Deadline.
const OrderProtocol = "/souk/order/1"

// LeaseProtocol carries one exchange: out, a LeaseRequest of at most
// [MaxLeaseBytes]; back, a LeaseReply of the same bound.
const LeaseProtocol = "/souk/lease/1"

// ChannelProtocol carries one exchange about a payment channel: out, a
// ChannelRequest of at most [MaxChannelBytes]; back, a ChannelReply of the same
// bound. The answer may wait for a transaction to be confirmed.
const ChannelProtocol = "/souk/channel/1"

// RunProtocol carries frames of at most [MaxRunBytes] both ways, ToProvider and
// ToClient, for as long as a run lasts: the stream has no deadline of its own.
const RunProtocol = "/souk/run/1"

// SyncProtocol carries a whole book: out, one SyncRequest of at most
// [MaxSyncRequestBytes]; back, SyncPages of at most [MaxSyncPageBytes] each and
// [MaxSyncOffers] offers in all, then the end of the stream, within
// [SyncLimits].Deadline.
const SyncProtocol = "/souk/sync/1"

const (
	// MaxOrderBytes bounds an order: sizes, regions and a list of device classes.
	MaxOrderBytes = 4 << 10
	// MaxOrderReplyBytes bounds a bid, which names devices and carries keys.
	MaxOrderReplyBytes = 16 << 10
	// MaxLeaseBytes bounds a lease with both keys, a voucher and a deposit.
	MaxLeaseBytes = 32 << 10
	// MaxChannelBytes bounds a question about a channel, and its answer.
	MaxChannelBytes = 8 << 10
	// MaxRunBytes bounds a frame of a run: a job message, or 64 KiB of log.
	MaxRunBytes = 128 << 10
	// LogPiece is how much of a log travels in one frame of a run.
	LogPiece = 32 << 10
	// MaxSyncRequestBytes bounds the request for a book.
	MaxSyncRequestBytes = 64
	// MaxSyncPageBytes bounds what one page makes its reader hold.
	MaxSyncPageBytes = 256 << 10
	// MaxSyncOffers bounds what one peer can make a joining node verify.
	MaxSyncOffers = 100_000
)

// StreamLimits bounds what a protocol's peers can make a node hold and wait for.
type StreamLimits struct {
	Concurrent int                // handlers at once, over all peers
	PerPeer    int                // handlers at once for one peer
	Strangers  int                // handlers at once for all peers that Known does not know; keys cost nothing
	Known      func(peer.ID) bool // nil: all are
	Deadline   time.Duration      // for the whole stream; 0: none
	Memory     int                // bytes reserved for one stream while its handler runs
}

// The limits of each protocol.
var (
	OrderLimits   = StreamLimits{Concurrent: 256, PerPeer: 8, Deadline: 5 * time.Second, Memory: MaxOrderBytes + MaxOrderReplyBytes}
	LeaseLimits   = StreamLimits{Concurrent: 64, PerPeer: 8, Deadline: 15 * time.Second, Memory: 2 * MaxLeaseBytes}
	ChannelLimits = StreamLimits{Concurrent: 32, PerPeer: 4, Deadline: 2 * time.Minute, Memory: 2 * MaxChannelBytes}
	RunLimits     = StreamLimits{Concurrent: 256, PerPeer: 64, Strangers: 32, Memory: 2 * MaxRunBytes}
	SyncLimits    = StreamLimits{Concurrent: 4, PerPeer: 1, Deadline: 30 * time.Second, Memory: MaxSyncPageBytes}
)

// StreamReject is why a stream did not end well, and how it is counted.
type StreamReject struct {
	Protocol protocol.ID
	Reason   string // busy, peer-busy, memory, oversized, malformed, signature, deadline, lost or failed
}

// Streams serves protocols on one host and counts the streams that did not end
// well. Its methods may be called at once.
type Streams struct {
	Host host.Host
	log  *slog.Logger

	mu      sync.Mutex // guards rejects
	rejects map[StreamReject]uint64
}

// NewStreams serves on h; it starts nothing.
func NewStreams(h host.Host, log *slog.Logger) *Streams {
	return &Streams{Host: h, log: log, rejects: map[StreamReject]uint64{}}
}

// Rejects counts the streams that did not end well.
func (s *Streams) Rejects() map[StreamReject]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.rejects)
}

func (s *Streams) reject(id protocol.ID, p peer.ID, reason string, err error) {
	s.mu.Lock()
	s.rejects[StreamReject{id, reason}]++
	s.mu.Unlock()
	s.log.Debug("stream refused", "protocol", id, "peer", p, "reason", reason, "err", err)
}

// Handle serves protocol id with serve, on a goroutine of libp2p's for each
// stream, until stop is called or ctx ends. A stream whose serve returns nil is
// closed, any other is reset; serve need not do either. Its context ends with
// ctx and at the deadline, and the stream is then reset, so that no read or
// write outlasts it. stop returns after the last handler has; call it once.
func (s *Streams) Handle(ctx context.Context, id protocol.ID, lim StreamLimits, serve func(context.Context, network.Stream) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	gate := &gate{lim: lim, perPeer: map[peer.ID]int{}}
	s.Host.SetStreamHandler(id, func(st network.Stream) {
		p := st.Conn().RemotePeer()
		leave, reason := gate.enter(p)
		if reason != "" {
			st.Reset()
			s.reject(id, p, reason, nil)
			return
		}
		defer leave()
		if err := serveStream(ctx, st, lim, serve); err != nil && ctx.Err() == nil {
			s.reject(id, p, reasonOf(err), err)
		}
	})
	return func() {
		s.Host.RemoveStreamHandler(id)
		cancel()
		gate.shut()
	}
}

// serveStream runs one handler within its limits.
func serveStream(ctx context.Context, st network.Stream, lim StreamLimits, serve func(context.Context, network.Stream) error) error {
	if err := st.Scope().ReserveMemory(lim.Memory, network.ReservationPriorityMedium); err != nil {
		st.Reset()
		return fmt.Errorf("reserve memory: %w", err)
	}
	defer st.Scope().ReleaseMemory(lim.Memory)
	if lim.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lim.Deadline)
		defer cancel()
	}
	release := bind(ctx, st)
	defer release()
	if err := serve(ctx, st); err != nil {
		st.Reset()
		return errors.Join(ctx.Err(), err) // at the deadline the stream only says that it was reset
	}
	return st.Close()
}

// bind ends st when ctx ends, until release is called. A reset wakes a reader
// and a writer; a deadline would have to be set again for each.
func bind(ctx context.Context, st network.Stream) (release func()) {
	done := context.AfterFunc(ctx, func() { st.Reset() })
	return func() { done() }
}

// reasonOf names an error for the count of rejects: a closed set.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return "memory"
	case errors.Is(err, wire.ErrTooLarge):
		return "oversized"
	case errors.Is(err, wire.ErrSignature):
		return "signature"
	case errors.Is(err, wire.ErrEnvelope), errors.Is(err, proto.Error):
		return "malformed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, network.ErrReset), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "lost"
	default:
		return "failed"
	}
}

// gate counts the handlers of one protocol. A handler that has entered is
// waited for; once shut, nobody enters.
type gate struct {
	lim StreamLimits

	mu        sync.Mutex // guards what follows
	closed    bool
	total     int
	strangers int
	perPeer   map[peer.ID]int
	wg        sync.WaitGroup
}

// enter lets a handler for p in, until it calls leave, or says why not.
func (g *gate) enter(p peer.ID) (leave func(), reason string) {
	stranger := 0
	if g.lim.Known != nil && !g.lim.Known(p) {
		stranger = 1
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed || g.total >= g.lim.Concurrent || stranger > 0 && g.strangers >= g.lim.Strangers:
		return nil, "busy"
	case g.perPeer[p] >= g.lim.PerPeer:
		return nil, "peer-busy"
	}
	g.count(p, 1, stranger)
	g.wg.Add(1)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.count(p, -1, -stranger)
		g.wg.Done()
	}, ""
}

func (g *gate) count(p peer.ID, n, strangers int) {
	g.total += n
	g.strangers += strangers
	if g.perPeer[p] += n; g.perPeer[p] == 0 {
		delete(g.perPeer, p)
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

// OpenStream opens a stream to p that is reset when ctx ends. release must be
// called; it resets the stream too, unless it was closed.
func OpenStream(ctx context.Context, h host.Host, p peer.ID, id protocol.ID) (st network.Stream, release func(), err error) {
	st, err = h.NewStream(ctx, p, id)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s to %s: %w", id, p, err)
	}
	unbind := bind(ctx, st)
	return st, func() { unbind(); st.Reset() }, nil
}

// Exchange sends one frame and reads one of at most max bytes into in. It gives
// up when ctx ends, and then says that it did.
func Exchange(ctx context.Context, h host.Host, p peer.ID, id protocol.ID, out, in proto.Message, max int) error {
	st, release, err := OpenStream(ctx, h, p, id)
	if err != nil {
		return err
	}
	defer release()
	if err := talk(st, out, in, max); err != nil {
		return fmt.Errorf("%s with %s: %w", id, p, errors.Join(ctx.Err(), err))
	}
	return nil
}

func talk(st network.Stream, out, in proto.Message, max int) error {
	if err := wire.Write(st, out); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	closed := st.CloseWrite() // an error where the answer came first and closed the stream: it is there to be read
	if err := wire.NewReader(st, max).Read(in); err != nil {
		return fmt.Errorf("receive: %w", errors.Join(err, closed))
	}
	st.Close()
	return nil
}

// MustMarshal encodes a message of our own making; failure is our bug.
func MustMarshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encode %s: %v", m.ProtoReflect().Descriptor().Name(), err))
	}
	return b
}

// Clip cuts text that travels to n bytes.
func Clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "") // a cut may fall inside a letter
}
