package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain/mem"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
	storemem "github.com/souk-market/souk/storage/mem"
)

// shortWaits are waits that a test can sit through. What is a span between two
// of them in the defaults is so here.
func shortWaits() *waits {
	const second = slow * time.Second
	return &waits{Order: 3 * second / 2, Lease: 5 * second / 2, Channel: 5 * second, Sync: 2 * second, Attach: 2 * second, Write: 2 * second,
		Start: second / 2, Fund: 3 * second, Send: 5 * second, Collect: 3 * second, Release: second / 2, LetGo: 2 * second,
		Job: scheduler.AttemptConfig{Window: 2 * second, DialWithin: 4 * second, LeaseWithin: 14 * second / 5, FundWithin: 3 * second,
			Reconnect: 2 * second, FetchWithin: 3 * second / 2, FetchFor: 5 * second, SettleFor: 2 * second, Slack: second}}
}

// devicesOf is a machine's devices as a probe.
type devicesOf []gpu.Device

// Devices implements [gpu.Probe].
func (d devicesOf) Devices(context.Context) ([]gpu.Device, error) { return d, nil }

// stall is a provider with many devices, and clients beside it, on a chain in
// memory. Any of them may lie in what it sends; see [liar].
type stall struct {
	chain    *mem.Chain
	provider *Node
	liar     *liar // of the provider
}

// testDevice is the class of a stall's devices.
const testDevice = "TEST"

func newStall(t *testing.T, devices int, change func(*Config)) *stall {
	t.Helper()
	s := &stall{chain: mem.New(mem.Config{BlockTime: 50 * time.Millisecond}), liar: &liar{}}
	probe := devicesOf{{ID: "cpu-test", Class: gpu.ClassCPU, Model: "cpu", MemoryBytes: 64 << 30, Health: gpu.Healthy, CPU: true, CPUMilli: 1_000_000, Simulated: true}}
	for i := range devices {
		probe = append(probe, gpu.Device{ID: "GPU-test-" + string(rune('A'+i/26)) + string(rune('a'+i%26)), Class: testDevice, Model: testDevice, MemoryBytes: 8 << 30, ComputeCap: 80,
			Health: gpu.Healthy, Evidence: marketv1.Evidence_EVIDENCE_NONE, Simulated: true})
	}
	s.provider = s.start(t, s.liar, func(c *Config) {
		c.Provide, c.Prices, c.Probes = true, map[string]souk.Atoms{testDevice: 2 * souk.AtomsPerToken}, []gpu.Probe{probe}
		if change != nil {
			change(c)
		}
	})
	return s
}

// start runs a node on the stall's chain, with tokens.
func (s *stall) start(t *testing.T, lies *liar, change func(*Config)) *Node {
	t.Helper()
	cfg := testConfig(t)
	cfg.Store, cfg.waits = storemem.New(), shortWaits()
	cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	cfg.Chain = s.chain.Client(mem.ClientConfig{Wallet: cfg.Wallet, Authorizer: cfg.VoucherKey, Poll: 20 * time.Millisecond})
	change(&cfg)
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	lies.Host = n.host
	n.streams.host, n.client.cfg.Host = lies, lies
	runNode(t, n)
	if !fill(n) {
		t.Fatal("the faucet gave nothing")
	}
	return n
}

// client starts a client that knows the provider.
func (s *stall) client(t *testing.T, lies *liar) *Node {
	t.Helper()
	n := s.start(t, lies, func(c *Config) { c.Bootstrap = []string{address(s.provider)} })
	eventually(t, "the offer", func() bool { return n.book.Len() == 1 })
	return n
}

// stallJob is a job for one device of the stall.
func stallJob(t *testing.T, n *Node, guest string) *jobv1.Job {
	t.Helper()
	msg := testJob(t, n, guest)
	msg.Resources.CpuMilli, msg.Resources.GpuCount, msg.Resources.Models = 50, 1, []string{testDevice}
	msg.Limits.HoldPausedMs, msg.Limits.StartWithinMs, msg.Limits.MaxDurationMs = 700, 6_000*slow, 20_000*slow
	return msg
}

// idle tells whether no lease lives at the provider and all its devices are free.
func (s *stall) idle() bool {
	p := s.provider.provider
	o := p.offers(time.Now(), nil)[0]
	return p.live() == 0 && o.Free == o.Count
}

// unpaid is by how much the work under a lease, as the provider's receipts bill
// it, exceeds what the client signed for.
func (s *stall) unpaid(t *testing.T, id souk.LeaseID) souk.Atoms {
	t.Helper()
	receipts, err := s.provider.receipts.Of(id)
	if err != nil {
		t.Fatal(err)
	}
	var billed, signed uint64
	for _, r := range receipts {
		billed = max(billed, r.CumulativeDueAtoms)
		if len(r.ClientSignature) > 0 {
			signed = max(signed, r.CumulativeDueAtoms)
		}
	}
	return souk.Atoms(billed - signed)
}

// price is what a stall's device costs for a time, and one atom: of two sums each
// is rounded down.
func price(t *testing.T, d time.Duration) souk.Atoms {
	t.Helper()
	due, err := payment.Due(2*uint64(souk.AtomsPerToken), uint64(d.Milliseconds()))
	if err != nil {
		t.Fatal(err)
	}
	return due + 1
}

// ended is the record of a lease that has ended, pruned or not.
func (s *stall) ended(t *testing.T, id string) leaseRecord {
	t.Helper()
	value, err := s.provider.ledger.Get("lease/" + id)
	var rec leaseRecord
	if err == nil && value != nil {
		err = json.Unmarshal(value, &rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// hosting is a lease that the provider has not forgotten.
func (p *provider) hosting(id souk.LeaseID) *hosting {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hostings[id]
}

// of are the leases of a client that the provider has not forgotten.
func (p *provider) of(client peer.ID) (hs []*hosting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hostings {
		if h.client == client {
			hs = append(hs, h)
		}
	}
	return hs
}

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

// oneOf tells whether a reason is in a list parted by bars.
func oneOf(list, reason string) bool {
	for _, r := range strings.Split(list, "|") {
		if r == reason {
			return true
		}
	}
	return false
}
