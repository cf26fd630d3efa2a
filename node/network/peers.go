package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// maxRemembered bounds the peers kept for the next start, and maxFound those
	// that multicast told of and that were not reached yet.
	maxRemembered, maxFound = 100, 100
	// maxAddresses bounds the addresses kept of one peer.
	maxAddresses = 8
	// wantPeers is how many peers a node has before it stops dialling remembered
	// ones: more than a mesh needs. Those found on the local network are dialled
	// up to wantLocal.
	wantPeers, wantLocal = 16, 64
	// maxDials bounds the dials under way at once.
	maxDials = 8
	// redialFirst is the wait after a first failure. It doubles up to redialLast.
	redialFirst, redialLast = time.Second, time.Minute
	// saveAfter lets the news of a moment be saved together.
	saveAfter = 2 * time.Second
	// mdnsService is what souk nodes on one local network look for.
	mdnsService = "_souk._udp"
)

// PeersConfig holds what peers needs.
type PeersConfig struct {
	Host      host.Host
	Bootstrap []peer.AddrInfo                 // dialled for ever
	Load      func() ([]peer.AddrInfo, error) // peers remembered from before; default: none
	Save      func([]peer.AddrInfo) error     // remembers at most 100 peers, the last seen first; default: not at all
	MDNS      bool                            // look for peers on the local network, and be found there
	OnConnect func(peer.ID)                   // a peer that speaks SyncProtocol is connected; must not block; default: nothing
	Rand      *rand.Rand                      // spreads dials; belongs to peers once Run starts
	Log       *slog.Logger
}

// Peers keeps this node connected: it dials the bootstrap peers, those it
// remembers and those on the local network, and remembers the good ones.
type Peers struct {
	cfg   PeersConfig
	found chan peer.AddrInfo // by multicast; what does not fit is told of again
}

// NewPeers starts nothing.
func NewPeers(cfg PeersConfig) *Peers {
	return &Peers{cfg: cfg, found: make(chan peer.AddrInfo, maxFound)}
}

// target is a peer that we want to be connected to.
type target struct {
	info      peer.AddrInfo
	bootstrap bool
	local     bool // found by multicast
	dialing   bool
	failures  int
	next      time.Time // when to dial
}

// peersRun is the state of one Run; only its goroutine touches it.
type peersRun struct {
	*Peers
	targets    map[peer.ID]*target
	good       map[peer.ID]bool // connected peers that speak SyncProtocol
	remembered []peer.AddrInfo  // the last seen first
	dirty      bool
	dials      int
	dialed     chan dialed
	workers    sync.WaitGroup
}

// dialed is the end of one dial.
type dialed struct {
	peer peer.ID
	err  error
}

// Run keeps the connections until ctx ends.
func (ps *Peers) Run(ctx context.Context) error {
	r := &peersRun{Peers: ps, targets: map[peer.ID]*target{}, good: map[peer.ID]bool{}, dialed: make(chan dialed, maxDials)}
	now := time.Now()
	for _, info := range ps.cfg.Bootstrap {
		r.aim(target{info: info, bootstrap: true, next: now})
		ps.cfg.Host.ConnManager().Protect(info.ID, "bootstrap")
	}
	if err := r.load(now); err != nil {
		return err
	}
	// The bus waits for a slow subscriber: this loop must stay quick.
	sub, err := ps.cfg.Host.EventBus().Subscribe([]any{new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated), new(event.EvtPeerConnectednessChanged)})
	if err != nil {
		return fmt.Errorf("peers: subscribe: %w", err)
	}
	defer sub.Close()
	for _, c := range ps.cfg.Host.Network().Conns() {
		r.seen(c.RemotePeer(), c)
	}
	if ps.cfg.MDNS {
		service := mdns.NewMdnsService(ps.cfg.Host, mdnsService, ps)
		if err := service.Start(); err != nil {
			ps.cfg.Log.Warn("no discovery on the local network", "err", err)
		}
		defer service.Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer r.workers.Wait()
	defer cancel() // before the wait
	return r.loop(ctx, sub.Out())
}

func (r *peersRun) loop(ctx context.Context, events <-chan any) error {
	tick := time.NewTicker(redialFirst / 4)
	defer tick.Stop()
	save := time.NewTicker(saveAfter)
	defer save.Stop()
	for {
		r.dial(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil // the host is closed
			}
			r.event(e)
		case info := <-r.found:
			r.aim(target{info: info, local: true, next: time.Now()})
		case d := <-r.dialed:
			r.finished(d, time.Now())
		case <-tick.C:
		case <-save.C:
			r.save()
		}
	}
}

// HandlePeerFound is called by multicast discovery.
func (ps *Peers) HandlePeerFound(info peer.AddrInfo) {
	select {
	case ps.found <- info:
	default: // it is told of again in its next announcement
	}
}

// aim adds a target, or refreshes the addresses of a known one.
func (r *peersRun) aim(t target) {
	if t.info.ID == r.cfg.Host.ID() {
		return
	}
	if _, err := PeerKey(t.info.ID); err != nil {
		return
	}
	t.info.Addrs = t.info.Addrs[:min(len(t.info.Addrs), maxAddresses)]
	known := r.targets[t.info.ID]
	switch {
	case known != nil && known.bootstrap && !t.bootstrap:
		return // what the owner wrote is not for others to change
	case known != nil:
		known.info, known.bootstrap, known.local = t.info, known.bootstrap || t.bootstrap, known.local || t.local
		if t.next.Before(known.next) && known.failures == 0 {
			known.next = t.next
		}
	case t.bootstrap || len(r.targets) < len(r.cfg.Bootstrap)+maxRemembered+maxFound:
		r.targets[t.info.ID] = &t
	}
}

func (r *peersRun) load(now time.Time) error {
	if r.cfg.Load == nil {
		return nil
	}
	infos, err := r.cfg.Load()
	if err != nil {
		return fmt.Errorf("peers: load: %w", err)
	}
	r.remembered = infos[:min(len(infos), maxRemembered)]
	for _, info := range r.remembered {
		r.aim(target{info: info, next: now})
	}
	return nil
}

func (r *peersRun) save() {
	if !r.dirty || r.cfg.Save == nil {
		return
	}
	r.dirty = false
	if err := r.cfg.Save(slices.Clone(r.remembered)); err != nil {
		r.dirty = true
		r.cfg.Log.Warn("remember peers", "err", err)
	}
}

// dial starts the dials that are due.
func (r *peersRun) dial(ctx context.Context, now time.Time) {
	for _, t := range r.targets {
		if r.dials == maxDials {
			return
		}
		if t.dialing || t.next.After(now) || !r.wanted(t) || r.cfg.Host.Network().Connectedness(t.info.ID) == network.Connected {
			continue
		}
		t.dialing = true
		r.dials++
		info := t.info
		r.workers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			r.dialed <- dialed{info.ID, r.cfg.Host.Connect(ctx, info)} // has room for every dial
		})
	}
}

// wanted tells whether t is worth a dial with the peers we have.
func (r *peersRun) wanted(t *target) bool {
	switch {
	case t.bootstrap:
		return true
	case t.local:
		return len(r.good) < wantLocal
	default:
		return len(r.good) < wantPeers
	}
}

func (r *peersRun) finished(d dialed, now time.Time) {
	r.dials--
	t := r.targets[d.peer]
	if t == nil {
		return
	}
	t.dialing = false
	if d.err == nil {
		t.failures = 0
		t.next = now.Add(redialFirst)
		return
	}
	t.failures++
	wait := redialWait(t.failures, r.cfg.Rand)
	t.next = now.Add(wait)
	r.cfg.Log.Debug("dial", "peer", d.peer, "again_in", wait, "err", d.err)
	if t.local && t.failures > 3 {
		delete(r.targets, d.peer) // multicast tells of it again if it is there
	}
}

// redialWait doubles with each failure, and is spread over half to the whole
// of that so that a network does not dial in step.
func redialWait(failures int, r *rand.Rand) time.Duration {
	wait := redialLast
	if failures < 7 {
		wait = min(redialFirst<<(failures-1), redialLast)
	}
	return wait/2 + time.Duration(r.Int64N(int64(wait/2)+1))
}

// event follows one change of a connection.
func (r *peersRun) event(e any) {
	switch e := e.(type) {
	case event.EvtPeerIdentificationCompleted:
		if slices.Contains(e.Protocols, protocol.ID(SyncProtocol)) {
			r.joined(e.Peer, e.Conn)
		}
	case event.EvtPeerProtocolsUpdated:
		if slices.Contains(e.Added, protocol.ID(SyncProtocol)) {
			r.joined(e.Peer, nil)
		}
	case event.EvtPeerConnectednessChanged:
		if e.Connectedness == network.Connected {
			return // it is of use once it has said what it speaks
		}
		delete(r.good, e.Peer)
		if t := r.targets[e.Peer]; t != nil && t.failures == 0 {
			t.next = time.Now().Add(redialWait(1, r.cfg.Rand))
		}
	}
}

// seen takes in a connection that was there before Run.
func (r *peersRun) seen(p peer.ID, c network.Conn) {
	speaks, err := r.cfg.Host.Peerstore().SupportsProtocols(p, SyncProtocol)
	if err == nil && len(speaks) > 0 {
		r.joined(p, c)
	}
}

// joined greets a peer that speaks our language, and remembers it if we can
// reach it.
func (r *peersRun) joined(p peer.ID, c network.Conn) {
	if r.good[p] || r.cfg.Host.Network().Connectedness(p) != network.Connected {
		return
	}
	r.good[p] = true
	r.cfg.Log.Info("peer connected", "peer", p)
	if r.cfg.OnConnect != nil {
		r.cfg.OnConnect(p)
	}
	info := peer.AddrInfo{ID: p, Addrs: dialable(r.cfg.Host, p, c)}
	if len(info.Addrs) == 0 {
		return
	}
	r.remembered = slices.DeleteFunc(r.remembered, func(i peer.AddrInfo) bool { return i.ID == p })
	r.remembered = slices.Insert(r.remembered, 0, info)
	r.remembered = r.remembered[:min(len(r.remembered), maxRemembered)]
	r.dirty = true
	r.aim(target{info: info, next: time.Now()})
}

// Connect makes sure that p is connected and says how long a message takes to
// it and back. addrs may be empty if p is connected or known already.
func (ps *Peers) Connect(ctx context.Context, p peer.ID, addrs []ma.Multiaddr) (rtt time.Duration, err error) {
	h := ps.cfg.Host
	if s, ok := h.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(p) // somebody waits for this very peer, which may just be back
	}
	if err := h.Connect(ctx, peer.AddrInfo{ID: p, Addrs: addrs}); err != nil {
		return 0, fmt.Errorf("connect to %s: %w", p, err)
	}
	if rtt := h.Peerstore().LatencyEWMA(p); rtt > 0 {
		return rtt, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	results := ping.Ping(ctx, h, p)
	first, ok := <-results
	cancel()
	for range results { // it ends with its goroutine
	}
	switch {
	case !ok:
		return 0, fmt.Errorf("ping %s: %w", p, errors.Join(context.Cause(ctx), errNoPong))
	case first.Error != nil:
		return 0, fmt.Errorf("ping %s: %w", p, first.Error)
	}
	return first.RTT, nil
}

var errNoPong = errors.New("no answer")
