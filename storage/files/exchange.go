package files

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/boxo/bitswap/message"
	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/boxo/bitswap/network"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// exchange is the receiving half of bitswap: it asks a peer for blocks and hands
// them to the transfers that wait. It speaks to the peers it fetches from and to
// no other: boxo's own client shows its wants to every peer, waits on timers
// meant for crowds, and takes a block from whoever sends it first.
type exchange struct {
	net network.BitSwapNetwork

	mu    sync.Mutex // guards all below, and the state of sources and transfers
	peers map[peer.ID]*source
	total Stats
}

// source is one peer that transfers fetch from.
type source struct {
	peer      peer.ID
	transfers map[*transfer]struct{}
	wants     map[cid.Cid][]*transfer // who waits for a block
	told      map[cid.Cid]struct{}    // wants that the peer knows of
	refused   map[cid.Cid]struct{}    // wants that it says it has no block for
	strays    int                     // blocks that it sent and nobody waited for
	renew     bool                    // it may have lost our wants: tell it all of them
	full      bool                    // a transfer wanted more than there was room for
	quiet     time.Time               // until then nothing is asked for, see relinked
	settled   time.Time               // quiet goes no further

	sending sync.Mutex // held while a message goes out; guards sender
	sender  network.MessageSender
}

// transfer is one Fetch, as the exchange sees it.
type transfer struct {
	arrived chan blocks.Block // has room for every want: the exchange never waits
	wake    chan struct{}     // the source's state changed: look again
	queued  int               // bytes in arrived
	failed  error             // the peer sent what nobody sends in good faith
}

// The most that one transfer waits for at a time. It keeps a fast link busy and
// bounds the memory that a peer can make us spend.
const (
	windowBlocks = 256
	windowBytes  = 16 << 20
	queuedBytes  = windowBytes + 2*MaxBlockBytes // a peer that sends more lied about sizes
	// sourceBlocks is for all transfers from one peer: bitswap servers drop, and
	// do not say so, what goes beyond 1024 wants.
	sourceBlocks = 1000
)

// sendTimeout bounds one message of wants; the next attempt sends them again.
const sendTimeout = 10 * time.Second

// settle is how long a new connection is given, beside two round trips, to bring
// what the peer was sending when the last one broke; as long again after each
// message that does, up to maxSettle: a loaded machine takes its time.
const (
	settle    = 100 * time.Millisecond
	maxSettle = 2 * time.Second
)

var errSettling = errors.New("a connection was cut; waiting for what is still on its way")

// leaveTimeout bounds the message that takes wants back, for which a Fetch that
// has failed has to wait.
const leaveTimeout = time.Second

func newExchange(net network.BitSwapNetwork) *exchange {
	return &exchange{net: net, peers: map[peer.ID]*source{}}
}

func (x *exchange) stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.total
}

// join begins a transfer from p.
func (x *exchange) join(p peer.ID) (*source, *transfer) {
	t := &transfer{arrived: make(chan blocks.Block, windowBlocks), wake: make(chan struct{}, 1)}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.peers[p]
	if s == nil {
		s = &source{
			peer: p, transfers: map[*transfer]struct{}{}, wants: map[cid.Cid][]*transfer{},
			told: map[cid.Cid]struct{}{}, refused: map[cid.Cid]struct{}{},
			renew: true, // the peer may remember wants of an earlier source
		}
		x.peers[p] = s
	}
	s.transfers[t] = struct{}{}
	return s, t
}

// leave ends a transfer, and tells the peer what is not wanted any more.
func (x *exchange) leave(ctx context.Context, s *source, t *transfer) {
	x.mu.Lock()
	delete(s.transfers, t)
	for c, ts := range s.wants {
		var others []*transfer
		for _, other := range ts {
			if other != t {
				others = append(others, other)
			}
		}
		if s.wants[c] = others; len(others) == 0 {
			delete(s.wants, c)
			delete(s.refused, c)
		}
	}
	s.makeRoom()
	x.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	// A message that does not get through is no loss: the peer forgets with the
	// connection, and what it sends regardless is dropped.
	_ = x.sync(ctx, s)

	x.mu.Lock()
	defer x.mu.Unlock()
	if len(s.transfers) == 0 && x.peers[s.peer] == s {
		delete(x.peers, s.peer)
	}
}

// want makes t wait for a block, which the next sync asks for. It tells whether
// there was room; if not, t is woken when there is some.
func (x *exchange) want(s *source, t *transfer, c cid.Cid) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(s.wants) >= sourceBlocks && s.wants[c] == nil {
		s.full = true
		return false
	}
	s.wants[c] = append(s.wants[c], t)
	return true
}

// makeRoom wakes the transfers that had no room for their wants.
func (s *source) makeRoom() {
	if s.full && len(s.wants) < sourceBlocks {
		s.full = false
		for t := range s.transfers {
			t.poke()
		}
	}
}

// again forgets that the peer refused blocks, and with all set also that it was
// asked at all, so that the next sync asks once more.
func (x *exchange) again(s *source, all bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(s.refused)
	s.renew = s.renew || all
}

// refusals counts the wants that the peer has no block for, or shows us none of;
// strays the blocks that it sent and nobody waited for.
func (x *exchange) refusals(s *source) (refused, strays int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(s.refused), s.strays
}

// state returns why the transfer must end, if it must.
func (x *exchange) state(t *transfer) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return t.failed
}

// took tells that t has handled a block of n bytes.
func (x *exchange) took(t *transfer, n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	t.queued -= n
}

// sync tells the peer what is wanted now and was not before, and the reverse.
// It does nothing while there is no connection: to dial is the node's business.
func (x *exchange) sync(ctx context.Context, s *source) error {
	if !x.net.IsConnectedToPeer(ctx, s.peer) {
		return nil
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	msg, err := x.message(s)
	if err != nil || msg.Empty() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := x.send(ctx, s, msg); err != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		s.renew = true
		return fmt.Errorf("ask %s for blocks: %w", s.peer, err)
	}
	return nil
}

// message is the difference between what is wanted and what the peer knows,
// which it then counts as known: an answer may come before sending returns.
func (x *exchange) message(s *source) (message.BitSwapMessage, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if time.Now().Before(s.quiet) {
		return nil, errSettling
	}
	msg := message.New(s.renew && len(s.wants) > 0)
	if s.renew {
		clear(s.told)
		s.renew = false
	}
	for c := range s.told {
		if _, wanted := s.wants[c]; !wanted {
			msg.Cancel(c)
			delete(s.told, c)
		}
	}
	for c := range s.wants {
		_, known := s.told[c]
		_, refused := s.refused[c]
		if !known && !refused {
			msg.AddEntry(c, 1, pb.Message_Wantlist_Block, true)
			s.told[c] = struct{}{}
		}
	}
	return msg, nil
}

func (x *exchange) send(ctx context.Context, s *source, msg message.BitSwapMessage) (err error) {
	if s.sender == nil {
		opts := network.MessageSenderOpts{MaxRetries: 1, SendTimeout: sendTimeout}
		if s.sender, err = x.net.NewMessageSender(ctx, s.peer, &opts); err != nil {
			s.sender = nil
			return err
		}
	}
	if err = s.sender.SendMsg(ctx, msg); err != nil {
		err = errors.Join(err, s.sender.Reset())
		s.sender = nil
	}
	return err
}

// ReceiveMessage takes the blocks and refusals of one message. Bitswap hashed
// the blocks: a false one has another content id, which nobody waits for.
func (x *exchange) ReceiveMessage(_ context.Context, from peer.ID, m message.BitSwapMessage) {
	got, refused := m.Blocks(), m.DontHaves()
	if len(got) == 0 && len(refused) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.peers[from]
	if s == nil {
		x.total.Unwanted += uint64(len(got))
		return
	}
	if now := time.Now(); len(got) > 0 && now.Before(s.quiet) {
		if s.quiet = now.Add(settle); s.quiet.After(s.settled) {
			s.quiet = s.settled
		}
	}
	touched := map[*transfer]struct{}{}
	for _, b := range got {
		ts, wanted := s.wants[b.Cid()]
		if !wanted {
			x.total.Unwanted++
			s.strays++
			continue
		}
		x.total.Blocks++
		x.total.Bytes += uint64(len(b.RawData()))
		delete(s.wants, b.Cid())
		delete(s.told, b.Cid())
		delete(s.refused, b.Cid())
		for _, t := range ts {
			t.take(b)
			touched[t] = struct{}{}
		}
	}
	for _, c := range refused {
		x.total.Refused++
		for _, t := range s.wants[c] {
			s.refused[c] = struct{}{}
			delete(s.told, c)
			touched[t] = struct{}{}
		}
	}
	for t := range touched {
		t.poke()
	}
	s.makeRoom()
}

// take queues a block for the transfer; a want brings one at most, so there is room.
func (t *transfer) take(b blocks.Block) {
	t.queued += len(b.RawData())
	if len(b.RawData()) > MaxBlockBytes {
		t.failed = &LimitError{What: "bytes in one block", Max: MaxBlockBytes}
	} else if t.queued > queuedBytes {
		t.failed = &LimitError{What: "bytes waiting to be checked", Max: queuedBytes}
	}
	if t.failed == nil {
		t.arrived <- b
	}
}

func (t *transfer) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// relinked makes transfers from p ask again for all they wait for: with a
// connection, messages are lost, and the peer may have forgotten our wants. But
// not at once: a peer sends over the new connection what it could not over the
// old one, and would send it twice.
func (x *exchange) relinked(p peer.ID) {
	latency := x.net.Latency(p)
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.peers[p]; s != nil {
		if len(s.told) > 0 {
			now := time.Now()
			s.quiet = now.Add(settle + 2*min(latency, time.Second))
			s.settled = s.quiet.Add(maxSettle)
		}
		s.renew = true
		clear(s.refused)
		for t := range s.transfers {
			t.poke()
		}
	}
}

// PeerConnected is nothing to us: it tells of the first connection to a peer
// only, and leaves out what comes and goes quickly. See relinked.
func (x *exchange) PeerConnected(peer.ID) {}

// PeerDisconnected is nothing to us either.
func (x *exchange) PeerDisconnected(peer.ID) {}

// ReceiveError is told of broken streams, which bitswap has closed already.
func (x *exchange) ReceiveError(error) {}
