package node

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// liar is a node's host whose frames do not arrive as they were meant. A deed is
// done to the frames that it names, in the streams with one peer or with all.
type liar struct {
	host.Host

	mu    sync.Mutex // guards deeds
	deeds map[peer.ID]*deed
}

// deed is what happens to a frame: to the nth that the step names, and by its
// nature to what follows.
type deed struct {
	protocol protocol.ID
	step     func(frame []byte) bool
	do       func(d *deed, st network.Stream, frame []byte) error
	once     bool // whether later frames are as they should be
	client   bool // whether a client does it

	mu   sync.Mutex // guards what follows
	done int
	held []byte // a frame kept back
}

// lie sets the deed for one peer; nil is honesty.
func (l *liar) lie(p peer.ID, d *deed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deeds == nil {
		l.deeds = map[peer.ID]*deed{}
	}
	l.deeds[p] = d
}

func (l *liar) about(p peer.ID) *deed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deeds[p]
}

// SetStreamHandler implements [host.Host]: what is served lies.
func (l *liar) SetStreamHandler(id protocol.ID, serve network.StreamHandler) {
	l.Host.SetStreamHandler(id, func(st network.Stream) { serve(&lyingStream{Stream: st, id: id, by: l}) })
}

// NewStream implements [host.Host]: what is asked lies.
func (l *liar) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	st, err := l.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return &lyingStream{Stream: st, id: ids[0], by: l}, nil
}

// lyingStream is one stream of a liar. Each Write is one frame; see [wire.Write].
type lyingStream struct {
	network.Stream
	id protocol.ID
	by *liar
}

// Write implements [network.Stream].
func (s *lyingStream) Write(b []byte) (int, error) {
	d := s.by.about(s.Conn().RemotePeer())
	if d == nil || d.protocol != s.id {
		return s.Stream.Write(b)
	}
	size, n := binary.Uvarint(b)
	if n <= 0 || size != uint64(len(b)-n) {
		return 0, errors.New("a write that is not one frame")
	}
	d.mu.Lock()
	ours := d.step(b[n:]) && (!d.once || d.done == 0)
	if ours {
		d.done++
	}
	d.mu.Unlock()
	if !ours {
		return s.Stream.Write(b)
	}
	return len(b), d.do(d, s.Stream, b)
}

// happened tells whether the deed was done.
func (d *deed) happened() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done > 0
}

func anyFrame([]byte) bool { return true }

// deeds are what is done at each spot.
var deeds = []struct {
	name string
	do   func(*deed, network.Stream, []byte) error
	once bool
}{
	{"silence", silence, false},
	{"silence once", silence, true},
	{"close", goAway, false},
	{"close once", goAway, true},
	{"reset", reset, false},
	{"reset once", reset, true},
	{"half a frame", half, false},
	{"endless frame", tooLong, false},
	{"garbage", garbage, false},
	{"garbage once", garbage, true},
	{"no message", nothing, false},
	{"wrong kind", wrongKind, false},
	{"repeated", repeat, false},
	{"out of order", swapped, false},
	{"forged", forged, false},
	{"late", late, false},
}

// The deeds that can be done to any frame.
var (
	silence = func(d *deed, _ network.Stream, _ []byte) error {
		if d.protocol != RunProtocol { // what follows a frame there is the end of the stream
			<-time.After(lateBy)
		}
		return nil
	}
	goAway = func(_ *deed, st network.Stream, _ []byte) error {
		return errors.Join(st.CloseWrite(), io.ErrClosedPipe)
	}
	reset   = func(_ *deed, st network.Stream, _ []byte) error { return errors.Join(st.Reset(), io.ErrClosedPipe) }
	half    = func(_ *deed, st network.Stream, b []byte) error { return raw(st, b[:len(b)/2]) }
	tooLong = func(_ *deed, st network.Stream, b []byte) error { return raw(st, binary.AppendUvarint(nil, 1<<40)) }
	garbage = func(_ *deed, st network.Stream, b []byte) error {
		return raw(st, append([]byte{12}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...))
	}
	nothing = func(_ *deed, st network.Stream, b []byte) error { return raw(st, []byte{0}) } // a frame without a message
	repeat  = func(_ *deed, st network.Stream, b []byte) error {
		return errors.Join(raw(st, b), raw(st, b), raw(st, b))
	}
	late = func(d *deed, st network.Stream, b []byte) error {
		if d.protocol != RunProtocol {
			<-time.After(lateBy)
			return raw(st, b)
		}
		time.AfterFunc(lateBy, func() { st.Write(b) }) // by then the stream may be gone
		return nil
	}
	// swapped lets the next frame that the step names go first.
	swapped = func(d *deed, st network.Stream, b []byte) error {
		d.mu.Lock()
		held := d.held
		d.held = b
		d.mu.Unlock()
		if held == nil {
			return nil
		}
		return errors.Join(raw(st, b), raw(st, held))
	}
)

// lateBy is longer than any of [shortWaits] for a single answer.
const lateBy = 3 * slow * time.Second

func raw(st network.Stream, b []byte) error {
	_, err := st.Write(b)
	return err
}

// wrongKind sends a good frame of another place in the same conversation.
func wrongKind(d *deed, st network.Stream, _ []byte) error {
	m := proto.Message(&runv1.ToClient{Message: &runv1.ToClient_Receipt{Receipt: &runv1.Receipt{Seq: 1, Kind: 1}}})
	if d.client {
		m = &runv1.ToProvider{Message: &runv1.ToProvider_Countersign{Countersign: &runv1.Countersign{Receipt: make([]byte, 32)}}}
	}
	return frame(st, mustMarshal(m))
}

// forged spoils a signature, which in most of what is signed comes last.
func forged(d *deed, st network.Stream, b []byte) error {
	var f runv1.ToProvider
	size, n := binary.Uvarint(b)
	if d.client && proto.Unmarshal(b[n:], &f) == nil && f.GetCountersign() != nil {
		f.GetCountersign().Signature[0] ^= 1
		if b = append(binary.AppendUvarint(nil, size), mustMarshal(&f)...); len(b) != n+int(size) {
			return errors.New("another length")
		}
		return raw(st, b)
	}
	b = slices.Clone(b)
	last := len(b) - 1
	if d.client && (d.protocol == LeaseProtocol || d.protocol == ChannelProtocol) {
		last -= 2 // the version ends these frames: what is signed lies before it
	}
	b[last] ^= 1
	return raw(st, b)
}

// frame sends a short message as one frame.
func frame(st network.Stream, b []byte) error {
	return raw(st, append(binary.AppendUvarint(nil, uint64(len(b))), b...))
}
