// Package networktest holds what tests of the packages in node share: keys,
// hosts on loopback, and a host that lies to its peers.
package networktest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/souk-market/souk/node/network"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// Liar is a node's host whose frames do not arrive as they were meant. A deed is
// done to the frames that it names, in the streams with one peer or with all.
type Liar struct {
	host.Host

	mu    sync.Mutex // guards deeds
	deeds map[peer.ID]*Deed
}

// Deed is what happens to a frame: to the nth that the step names, and by its
// nature to what follows.
type Deed struct {
	Protocol protocol.ID
	Step     func(frame []byte) bool
	Do       func(d *Deed, st p2pnet.Stream, frame []byte) error
	Once     bool // whether later frames are as they should be
	Client   bool // whether a client does it

	mu   sync.Mutex // guards what follows
	done int
	held []byte // a frame kept back
}

// Lie sets the deed for one peer; nil is honesty.
func (l *Liar) Lie(p peer.ID, d *Deed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deeds == nil {
		l.deeds = map[peer.ID]*Deed{}
	}
	l.deeds[p] = d
}

func (l *Liar) about(p peer.ID) *Deed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deeds[p]
}

// SetStreamHandler implements [host.Host]: what is served lies.
func (l *Liar) SetStreamHandler(id protocol.ID, serve p2pnet.StreamHandler) {
	l.Host.SetStreamHandler(id, func(st p2pnet.Stream) { serve(&lyingStream{Stream: st, id: id, by: l}) })
}

// NewStream implements [host.Host]: what is asked lies.
func (l *Liar) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (p2pnet.Stream, error) {
	st, err := l.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return &lyingStream{Stream: st, id: ids[0], by: l}, nil
}

// lyingStream is one stream of a liar. Each Write is one frame; see [wire.Write].
type lyingStream struct {
	p2pnet.Stream
	id protocol.ID
	by *Liar
}

// Write implements [network.Stream].
func (s *lyingStream) Write(b []byte) (int, error) {
	d := s.by.about(s.Conn().RemotePeer())
	if d == nil || d.Protocol != s.id {
		return s.Stream.Write(b)
	}
	size, n := binary.Uvarint(b)
	if n <= 0 || size != uint64(len(b)-n) {
		return 0, errors.New("a write that is not one frame")
	}
	d.mu.Lock()
	ours := d.Step(b[n:]) && (!d.Once || d.done == 0)
	if ours {
		d.done++
	}
	d.mu.Unlock()
	if !ours {
		return s.Stream.Write(b)
	}
	return len(b), d.Do(d, s.Stream, b)
}

// Happened tells whether the deed was done.
func (d *Deed) Happened() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done > 0
}

// AnyFrame is a step that names every frame.
func AnyFrame([]byte) bool { return true }

// Deeds are what is done at each spot.
var Deeds = []struct {
	Name string
	Do   func(*Deed, p2pnet.Stream, []byte) error
	Once bool
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
	silence = func(d *Deed, _ p2pnet.Stream, _ []byte) error {
		if d.Protocol != network.RunProtocol { // what follows a frame there is the end of the stream
			<-time.After(LateBy)
		}
		return nil
	}
	goAway = func(_ *Deed, st p2pnet.Stream, _ []byte) error {
		return errors.Join(st.CloseWrite(), io.ErrClosedPipe)
	}
	reset   = func(_ *Deed, st p2pnet.Stream, _ []byte) error { return errors.Join(st.Reset(), io.ErrClosedPipe) }
	half    = func(_ *Deed, st p2pnet.Stream, b []byte) error { return Raw(st, b[:len(b)/2]) }
	tooLong = func(_ *Deed, st p2pnet.Stream, b []byte) error { return Raw(st, binary.AppendUvarint(nil, 1<<40)) }
	garbage = func(_ *Deed, st p2pnet.Stream, b []byte) error {
		return Raw(st, append([]byte{12}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"...))
	}
	nothing = func(_ *Deed, st p2pnet.Stream, b []byte) error { return Raw(st, []byte{0}) } // a frame without a message
	repeat  = func(_ *Deed, st p2pnet.Stream, b []byte) error {
		return errors.Join(Raw(st, b), Raw(st, b), Raw(st, b))
	}
	late = func(d *Deed, st p2pnet.Stream, b []byte) error {
		if d.Protocol != network.RunProtocol {
			<-time.After(LateBy)
			return Raw(st, b)
		}
		time.AfterFunc(LateBy, func() { st.Write(b) }) // by then the stream may be gone
		return nil
	}
	// swapped lets the next frame that the step names go first.
	swapped = func(d *Deed, st p2pnet.Stream, b []byte) error {
		d.mu.Lock()
		held := d.held
		d.held = b
		d.mu.Unlock()
		if held == nil {
			return nil
		}
		return errors.Join(Raw(st, b), Raw(st, held))
	}
)

// LateBy is longer than the tests of lies have any node wait for a single answer.
const LateBy = 3 * Slow * time.Second

// Raw sends bytes as they are.
func Raw(st p2pnet.Stream, b []byte) error {
	_, err := st.Write(b)
	return err
}

// wrongKind sends a good frame of another place in the same conversation.
func wrongKind(d *Deed, st p2pnet.Stream, _ []byte) error {
	m := proto.Message(&runv1.ToClient{Message: &runv1.ToClient_Receipt{Receipt: &runv1.Receipt{Seq: 1, Kind: 1}}})
	if d.Client {
		m = &runv1.ToProvider{Message: &runv1.ToProvider_Countersign{Countersign: &runv1.Countersign{Receipt: make([]byte, 32)}}}
	}
	return Frame(st, network.MustMarshal(m))
}

// forged spoils a signature, which in most of what is signed comes last.
func forged(d *Deed, st p2pnet.Stream, b []byte) error {
	var f runv1.ToProvider
	size, n := binary.Uvarint(b)
	if d.Client && proto.Unmarshal(b[n:], &f) == nil && f.GetCountersign() != nil {
		f.GetCountersign().Signature[0] ^= 1
		if b = append(binary.AppendUvarint(nil, size), network.MustMarshal(&f)...); len(b) != n+int(size) {
			return errors.New("another length")
		}
		return Raw(st, b)
	}
	b = slices.Clone(b)
	last := len(b) - 1
	if d.Client && (d.Protocol == network.LeaseProtocol || d.Protocol == network.ChannelProtocol) {
		last -= 2 // the version ends these frames: what is signed lies before it
	}
	b[last] ^= 1
	return Raw(st, b)
}

// Frame sends a short message as one frame.
func Frame(st p2pnet.Stream, b []byte) error {
	return Raw(st, append(binary.AppendUvarint(nil, uint64(len(b))), b...))
}
