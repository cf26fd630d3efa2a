package proof_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/reference"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/payment/ledger"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
)

// memory keeps evidence as a ledger does.
type memory map[string][]byte

func (m memory) Commit(_ context.Context, b ledger.Batch) error {
	for _, r := range b.Records {
		m[r.Key] = r.Value
	}
	return nil
}

func (m memory) Scan(prefix string, fn func(string, []byte) error) error {
	for k, v := range m {
		if strings.HasPrefix(k, prefix) {
			if err := fn(k, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// times are short: both ends are on this machine.
func times() proof.Times {
	return proof.Times{Turn: time.Second, Start: time.Second, Work: 20 * time.Second}
}

// prover is a provider over a real host, whose answers a test may change.
type prover struct {
	host    host.Host
	key     ed25519.PrivateKey
	devices []string
	backend atomic.Value // a string
	refuse  *market.Refusal
	slow    time.Duration                         // before a product is computed
	bend    func(*challengev1.ToChallenger) frame // what travels in place of a frame
	heard   chan *proof.Evidence                  // what the challenger said came of it
	ended   chan error
}

// frame is what travels: nil in place of a message ends the stream.
type frame = []*challengev1.ToChallenger

func honest(m *challengev1.ToChallenger) frame { return frame{m} }

func newProver(t *testing.T, devices ...string) *prover {
	t.Helper()
	key := networktest.NewKey(t)
	p := &prover{host: networktest.Loopback(t, key), key: key, devices: devices, bend: honest,
		heard: make(chan *proof.Evidence, 1), ended: make(chan error, 1)}
	p.backend.Store("cuda")
	return p
}

func (p *prover) node() souk.NodeKey { return souk.NodeKey(p.key.Public().(ed25519.PublicKey)) }

// slowDevice takes its time.
type slowDevice struct {
	*reference.Device
	by time.Duration
}

func (d slowDevice) Multiply(ctx context.Context, seed challenge.Hash) (challenge.Hash, error) {
	timer := time.NewTimer(d.by)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return challenge.Hash{}, ctx.Err()
	case <-timer.C:
	}
	return d.Device.Multiply(ctx, seed)
}

// bent is a stream whose frames to the challenger are changed on their way.
type bent struct {
	p2pnet.Stream
	bend func(*challengev1.ToChallenger) frame
}

func (b bent) Write(p []byte) (int, error) {
	var m challengev1.ToChallenger
	if err := wire.NewReader(strings.NewReader(string(p)), 1<<20).Read(&m); err != nil {
		return 0, err
	}
	for _, out := range b.bend(&m) {
		if out == nil {
			return 0, b.Stream.Reset()
		}
		if err := wire.Write(b.Stream, out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// serve answers challenges until the test ends.
func (p *prover) serve(t *testing.T) {
	t.Helper()
	stop := network.NewStreams(p.host, slog.New(slog.DiscardHandler)).Handle(t.Context(), proof.Protocol, proof.Limits, func(ctx context.Context, s p2pnet.Stream) error {
		err := p.answer(ctx, s)
		select {
		case p.ended <- err:
		default:
		}
		return err
	})
	t.Cleanup(stop)
}

func (p *prover) answer(ctx context.Context, s p2pnet.Stream) error {
	a, refused, err := proof.Answer(bent{s, p.bend}, p.node(), time.Now(), times())
	if err != nil {
		return err
	}
	if refused == nil {
		refused = p.refuse
	}
	if refused != nil {
		payload := network.MustMarshal(refused.Proto(a.Subject()))
		return a.Decline(wire.Seal(p.key, souk.DomainDecline, payload))
	}
	var devices []challenge.Device
	for range p.devices {
		devices = append(devices, slowDevice{reference.New(a.Request().Terms(p.devices)), p.slow})
	}
	if err := a.Prove(ctx, p.devices, p.backend.Load().(string), devices); err != nil {
		return err
	}
	e, err := a.Evidence()
	if err == nil {
		p.heard <- e
	}
	return err
}

// challenger asks.
type challenger struct {
	*proof.Challenger
	host host.Host
	key  ed25519.PrivateKey
	kept memory
}

func newChallenger(t *testing.T) *challenger {
	t.Helper()
	c := &challenger{key: networktest.NewKey(t), kept: memory{}}
	c.host = networktest.Loopback(t, c.key)
	c.open(t)
	return c
}

func (c *challenger) open(t *testing.T) {
	t.Helper()
	var err error
	c.Challenger, err = proof.NewChallenger(proof.Config{Key: c.key, Host: c.host, Ledger: c.kept, Times: times(), Log: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, peer.ID, []string) (time.Duration, error) { return 0, nil }})
	if err != nil {
		t.Fatal(err)
	}
}

// ask challenges a prover.
func (c *challenger) ask(t *testing.T, p *prover, band challenge.Band) (*proof.Evidence, error) {
	t.Helper()
	if err := c.host.Connect(t.Context(), peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	offer := &market.Offer{Offer: &marketv1.Offer{Class: "L4"}, Provider: p.node()}
	plan := proof.Plan{Class: "L4", Arithmetic: challenge.Int8, Size: challenge.MinSize, Rounds: 2, Band: band}
	return c.Challenge(t.Context(), offer, plan, func(string) {})
}

// filled is what each device fills of its memory, in bytes.
const filled = 2 * 4 * challenge.MinSize * challenge.MinSize

func TestHonest(t *testing.T) {
	p, c := newProver(t, "GPU-1", "GPU-2"), newChallenger(t)
	p.serve(t)
	e, err := c.ask(t, p, challenge.Band{CommitMost: time.Minute, RecallMost: time.Minute})
	if err != nil || !e.Proved() || !e.Judged || !slices.Equal(e.Devices, p.devices) || e.Tiles != 32 || !e.Counts(time.Now(), filled) {
		t.Fatalf("%v, %v", e, err)
	}
	if heard := <-p.heard; string(heard.Envelope) != string(e.Envelope) {
		t.Error("the provider heard other evidence")
	}
	if e.Counts(time.Now().Add(proof.Fresh+time.Second), filled) {
		t.Error("evidence counts after a day")
	}
	if !e.Counts(time.Now(), 2*filled) || e.Counts(time.Now(), 2*filled+2) {
		t.Error("half of the memory has to be filled, and no more")
	}
	c.open(t) // again, as after a restart
	if own := c.Own(p.node(), "L4"); own == nil || !own.Proved() {
		t.Errorf("after a restart: %v", own)
	}
	p.backend.Store("reference")
	if e, err := c.ask(t, p, challenge.Band{}); err != nil || !e.Proved() || e.Counts(time.Now(), filled) {
		t.Errorf("a GPU that leaves the work to the processor: %v, %v", e, err)
	}
}

func TestRefused(t *testing.T) {
	p, c := newProver(t, "GPU-1"), newChallenger(t)
	p.refuse = &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_RATE, Shortfall: 5000}
	p.serve(t)
	_, err := c.ask(t, p, challenge.Band{})
	if r, ok := errors.AsType[*market.Refusal](err); !ok || r.Reason != p.refuse.Reason || r.Shortfall != 5000 {
		t.Errorf("got %v", err)
	}
	if own := c.Own(p.node(), "L4"); own != nil {
		t.Errorf("a refusal is kept as evidence: %v", own)
	}
}

// onFrame changes the frames of one kind.
func onFrame(is func(*challengev1.ToChallenger) bool, do func(*challengev1.ToChallenger) frame) func(*challengev1.ToChallenger) frame {
	return func(m *challengev1.ToChallenger) frame {
		if is(m) {
			return do(m)
		}
		return frame{m}
	}
}

func commits(m *challengev1.ToChallenger) bool  { return m.GetCommitted() != nil }
func recalls(m *challengev1.ToChallenger) bool  { return m.GetRecalled() != nil }
func openings(m *challengev1.ToChallenger) bool { return m.GetOpening() != nil }
func readies(m *challengev1.ToChallenger) bool  { return m.GetReady() != nil }

// TestCheats has providers lie over real streams. What begins after Ready is evidence
// against them; before it nothing is known.
func TestCheats(t *testing.T) {
	silent := func(*challengev1.ToChallenger) frame { return frame{} }
	cut := func(*challengev1.ToChallenger) frame { return frame{nil} }
	twice := func(m *challengev1.ToChallenger) frame { return frame{m, m} }
	var earlier *challengev1.ToChallenger
	for _, tt := range []struct {
		name  string
		band  challenge.Band
		set   func(*prover)
		fault string // empty: no evidence
		says  string
	}{
		{"wrong tile", challenge.Band{}, bending(onFrame(openings, func(m *challengev1.ToChallenger) frame { m.GetOpening().Tile[77] ^= 1; return frame{m} })), "wrong", "not the one that was committed to"},
		{"wrong root", challenge.Band{}, bending(onFrame(commits, func(m *challengev1.ToChallenger) frame { m.GetCommitted().Hashes[3] ^= 1; return frame{m} })), "wrong", ""},
		{"nothing kept", challenge.Band{}, bending(onFrame(recalls, func(m *challengev1.ToChallenger) frame { clear(m.GetRecalled().Hashes); return frame{m} })), "wrong", "not in memory"},
		{"late", challenge.Band{CommitMost: 100 * time.Millisecond}, func(p *prover) { p.slow = 150 * time.Millisecond }, "too slow", "need at most"},
		{"too early", challenge.Band{CommitLeast: time.Minute}, func(*prover) {}, "too fast", "need at least"},
		{"a part of the rounds", challenge.Band{}, bending(onFrame(commits, func(m *challengev1.ToChallenger) frame {
			m.GetCommitted().Hashes = m.GetCommitted().Hashes[:32]
			return frame{m}
		})), "partial", "1 rounds of 2"},
		{"a broken hash", challenge.Band{}, bending(onFrame(commits, func(m *challengev1.ToChallenger) frame {
			m.GetCommitted().Hashes = m.GetCommitted().Hashes[:63]
			return frame{m}
		})), "partial", "broken"},
		{"devices swapped", challenge.Band{}, bending(onFrame(commits, func(m *challengev1.ToChallenger) frame { m.GetCommitted().Device ^= 1; return frame{m} })), "out of order", ""},
		{"recalled before it is asked", challenge.Band{}, bending(onFrame(commits, func(m *challengev1.ToChallenger) frame {
			return frame{{Frame: &challengev1.ToChallenger_Recalled{Recalled: m.GetCommitted()}}}
		})), "out of order", ""},
		{"committed twice", challenge.Band{}, bending(onFrame(commits, twice)), "out of order", ""},
		{"replayed", challenge.Band{}, bending(onFrame(commits, func(m *challengev1.ToChallenger) frame {
			if earlier == nil {
				earlier = m
			}
			return frame{{Frame: &challengev1.ToChallenger_Committed{Committed: &challengev1.Roots{Device: m.GetCommitted().Device, Hashes: earlier.GetCommitted().Hashes}}}}
		})), "wrong", ""},
		{"silent", challenge.Band{}, bending(onFrame(recalls, silent)), "unanswered", "did not answer"},
		{"a cut stream", challenge.Band{}, bending(onFrame(openings, cut)), "unanswered", "did not answer"},
		{"oversized", challenge.Band{}, bending(onFrame(openings, func(m *challengev1.ToChallenger) frame {
			m.GetOpening().Tile = make([]byte, proof.MaxFrameBytes)
			return frame{m}
		})), "unanswered", "too large"},
		{"devices that fail", challenge.Band{}, bending(onFrame(commits, func(*challengev1.ToChallenger) frame {
			return frame{{Frame: &challengev1.ToChallenger_Failed{Failed: &challengev1.Failed{Detail: "out of \x1b[2J memory"}}}}
		})), "unanswered", "a line that cannot be shown"},
		{"silent from the start", challenge.Band{}, bending(onFrame(readies, silent)), "", "wait for the devices"},
		{"no devices", challenge.Band{}, bending(onFrame(readies, func(m *challengev1.ToChallenger) frame { m.GetReady().Devices = nil; return frame{m} })), "", "devices"},
		{"one device twice", challenge.Band{}, bending(onFrame(readies, func(m *challengev1.ToChallenger) frame {
			m.GetReady().Devices[1] = m.GetReady().Devices[0]
			return frame{m}
		})), "", "twice"},
		{"ids that move a cursor", challenge.Band{}, bending(onFrame(readies, func(m *challengev1.ToChallenger) frame {
			m.GetReady().Devices[0] = "\x1b[2J"
			return frame{m}
		})), "", "which devices"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, c := newProver(t, "GPU-1", "GPU-2"), newChallenger(t)
			tt.set(p)
			p.serve(t)
			e, err := c.ask(t, p, tt.band)
			if tt.name == "replayed" { // the first was itself
				e, err = c.ask(t, p, tt.band)
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			own := c.Own(p.node(), "L4")
			switch {
			case tt.fault == "" && (e != nil || own != nil):
				t.Errorf("evidence of what nobody knows: %v", e)
			case tt.fault != "" && (e == nil || e.Proved() || e.Fault != tt.fault || e.Counts(time.Now(), filled) || own != e):
				t.Errorf("evidence %v, want the fault %q", e, tt.fault)
			}
		})
	}
}

// bending is a provider that changes what it says.
func bending(bend func(*challengev1.ToChallenger) frame) func(*prover) {
	return func(p *prover) { p.bend = bend }
}

// relay hands on what one side says to another.
func relay(ctx context.Context, h host.Host, to peer.ID, from p2pnet.Stream) error {
	st, release, err := network.OpenStream(ctx, h, to, proof.Protocol)
	if err != nil {
		return err
	}
	defer release()
	go func() { _, _ = io.Copy(st, from); st.CloseWrite() }() // ends with the streams
	_, err = io.Copy(from, st)
	return err
}

// TestProxied has a provider hand its challenges on to another one. That one refuses
// them: a challenge names its provider. (An accomplice who computes under the
// cheater's key, on an equal card nearby, cannot be told from it.)
func TestProxied(t *testing.T) {
	victim, cheat, c := newProver(t, "GPU-1"), newProver(t, "GPU-1"), newChallenger(t)
	victim.serve(t)
	if err := cheat.host.Connect(t.Context(), peer.AddrInfo{ID: victim.host.ID(), Addrs: victim.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	stop := network.NewStreams(cheat.host, slog.New(slog.DiscardHandler)).Handle(t.Context(), proof.Protocol, proof.Limits, func(ctx context.Context, s p2pnet.Stream) error {
		return relay(ctx, cheat.host, victim.host.ID(), s)
	})
	t.Cleanup(stop)
	if e, err := c.ask(t, cheat, challenge.Band{}); e != nil || err == nil || !strings.Contains(err.Error(), "signed by another provider") {
		t.Errorf("%v, %v", e, err)
	}
}

// oneCard is a card that stands for several devices: it does their work in turn.
type oneCard struct {
	turn chan struct{}
	slowDevice
}

func (d oneCard) Multiply(ctx context.Context, seed challenge.Hash) (challenge.Hash, error) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	return d.slowDevice.Multiply(ctx, seed)
}

// TestSoldTwice has one card answer for two: it is late against the band of one.
func TestSoldTwice(t *testing.T) {
	p, c := newProver(t, "GPU-1", "GPU-2"), newChallenger(t)
	turn := make(chan struct{}, 1)
	stop := network.NewStreams(p.host, slog.New(slog.DiscardHandler)).Handle(t.Context(), proof.Protocol, proof.Limits, func(ctx context.Context, s p2pnet.Stream) error {
		a, _, err := proof.Answer(s, p.node(), time.Now(), times())
		if err != nil {
			return err
		}
		var devices []challenge.Device
		for range p.devices {
			devices = append(devices, oneCard{turn, slowDevice{reference.New(a.Request().Terms(p.devices)), 500 * time.Millisecond}})
		}
		return a.Prove(ctx, p.devices, "cuda", devices)
	})
	t.Cleanup(stop)
	// Two rounds of half a second are one second of a card, and two of one that is sold twice.
	e, err := c.ask(t, p, challenge.Band{CommitMost: 1800 * time.Millisecond})
	if err == nil || e == nil || e.Fault != "too slow" {
		t.Errorf("%v, %v", e, err)
	}
}

// TestLeavers are challengers that hold devices and do nothing: the provider has them
// back within a turn.
func TestLeavers(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(t *testing.T, st p2pnet.Stream)
	}{
		{"never starts", func(*testing.T, p2pnet.Stream) {}},
		{"leaves while devices compute", func(t *testing.T, st p2pnet.Stream) {
			say(t, st, &challengev1.ToProvider{Frame: &challengev1.ToProvider_Start{Start: &challengev1.Start{Nonce: make([]byte, 32)}}})
			if err := st.Reset(); err != nil {
				t.Error(err)
			}
		}},
		{"starts out of turn", func(t *testing.T, st p2pnet.Stream) {
			say(t, st, &challengev1.ToProvider{Frame: &challengev1.ToProvider_Recall{Recall: &challengev1.Recall{Nonce: make([]byte, 32)}}})
		}},
		{"a short nonce", func(t *testing.T, st p2pnet.Stream) {
			say(t, st, &challengev1.ToProvider{Frame: &challengev1.ToProvider_Start{Start: &challengev1.Start{Nonce: make([]byte, 31)}}})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, c := newProver(t, "GPU-1"), newChallenger(t)
			p.slow = 10 * time.Second
			p.serve(t)
			if err := c.host.Connect(t.Context(), peer.AddrInfo{ID: p.host.ID(), Addrs: p.host.Addrs()}); err != nil {
				t.Fatal(err)
			}
			st, release, err := network.OpenStream(t.Context(), c.host, p.host.ID(), proof.Protocol)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(release)
			if _, err := st.Write(framed(request(c.key, p.node()))); err != nil {
				t.Fatal(err)
			}
			var in challengev1.ToChallenger
			if err := wire.NewReader(st, proof.MaxFrameBytes).Read(&in); err != nil || in.GetReady() == nil {
				t.Fatalf("%v, %v", &in, err)
			}
			began := time.Now()
			tt.act(t, st)
			if err := <-p.ended; err == nil || time.Since(began) > 5*time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
}

func say(t *testing.T, st p2pnet.Stream, m *challengev1.ToProvider) {
	t.Helper()
	if err := wire.Write(st, m); err != nil {
		t.Error(err)
	}
}

// request is a signed challenge.
func request(key ed25519.PrivateKey, provider souk.NodeKey) []byte {
	return wire.Seal(key, souk.DomainChallenge, network.MustMarshal(&challengev1.Challenge{Version: 1, Nonce: make([]byte, 16), ProviderKey: provider[:],
		Class: "L4", Arithmetic: challengev1.Arithmetic_ARITHMETIC_INT8, Size: challenge.MinSize, Rounds: 2, SignedMs: time.Now().UnixMilli()}))
}

// framed puts an envelope behind its length.
func framed(envelope []byte) []byte {
	n := len(envelope)
	if n < 128 {
		return append([]byte{byte(n)}, envelope...)
	}
	return append([]byte{byte(n&127) | 128, byte(n >> 7)}, envelope...)
}

func TestOpenRequest(t *testing.T) {
	now, key, provider := time.UnixMilli(1_800_000_000_000), networktest.NewKey(t), souk.NodeKey{7}
	good := func() *challengev1.Challenge {
		return &challengev1.Challenge{Version: 1, Nonce: make([]byte, 16), ProviderKey: provider[:], Class: "L4",
			Arithmetic: challengev1.Arithmetic_ARITHMETIC_HALF, Size: 1024, Rounds: 3, SignedMs: now.UnixMilli()}
	}
	for _, tt := range []struct {
		name   string
		change func(*challengev1.Challenge)
		want   marketv1.DeclineReason // 0: none
	}{
		{"as it is", func(*challengev1.Challenge) {}, 0},
		{"a later version", func(m *challengev1.Challenge) { m.Version = 2 }, marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED},
		{"an extension", func(m *challengev1.Challenge) { m.MustUnderstand = []string{"later"} }, marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED},
		{"a short nonce", func(m *challengev1.Challenge) { m.Nonce = m.Nonce[1:] }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
		{"for another", func(m *challengev1.Challenge) { m.ProviderKey = make([]byte, 32) }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
		{"no class", func(m *challengev1.Challenge) { m.Class = "" }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
		{"old", func(m *challengev1.Challenge) { m.SignedMs -= 31_000 }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
		{"no arithmetic", func(m *challengev1.Challenge) { m.Arithmetic = 0 }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
		{"an arithmetic past a byte", func(m *challengev1.Challenge) { m.Arithmetic = 257 }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
		{"too many rounds", func(m *challengev1.Challenge) { m.Rounds = 1025 }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
		{"no size", func(m *challengev1.Challenge) { m.Size = 0 }, marketv1.DeclineReason_DECLINE_REASON_MALFORMED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := good()
			tt.change(m)
			payload := network.MustMarshal(m)
			r, refused := proof.OpenRequest(wire.Seal(key, souk.DomainChallenge, payload), provider, now)
			var got marketv1.DeclineReason
			if refused != nil {
				got = refused.Reason
			}
			if got != tt.want || r == nil || r.Subject != souk.Digest(sha256.Sum256(payload)) {
				t.Errorf("got %v for %v", refused, r)
			}
		})
	}
	if _, refused := proof.OpenRequest(wire.Seal(key, souk.DomainEvidence, network.MustMarshal(good())), provider, now); refused == nil {
		t.Error("a challenge in another domain is taken")
	}
}

func FuzzOpenRequest(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	f.Add(request(key, souk.NodeKey{}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, envelope := range [][]byte{payload, wire.Seal(key, souk.DomainChallenge, payload)} {
			if r, refused := proof.OpenRequest(envelope, souk.NodeKey{}, time.Now()); refused == nil && r.Terms([]string{"any"}).Validate() != nil {
				t.Error("an impossible challenge is taken")
			}
		}
	})
}

func FuzzOpenEvidence(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	f.Add(network.MustMarshal(&challengev1.Evidence{Version: 1, ProviderKey: make([]byte, 32), Class: "L4", Devices: []string{"GPU-1"}, Challenge: make([]byte, 32),
		Arithmetic: 1, Size: 256, Rounds: 1, Backend: "cuda", Verdict: challengev1.Verdict_VERDICT_PROVED, AtMs: 1}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, envelope := range [][]byte{payload, wire.Seal(key, souk.DomainEvidence, payload)} {
			e, err := proof.OpenEvidence(envelope)
			if err != nil {
				continue
			}
			if len(e.Devices) == 0 || len(e.Devices) > challenge.MaxDevices || e.Backend == "" {
				t.Errorf("%v is taken", e)
			}
			if again, err := proof.OpenEvidence(e.Envelope); err != nil || string(again.Envelope) != string(e.Envelope) {
				t.Errorf("what was opened does not open again: %v", err)
			}
		}
	})
}

// FuzzFrames is a challenger that says anything.
func FuzzFrames(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	start := framed(network.MustMarshal(&challengev1.ToProvider{Frame: &challengev1.ToProvider_Start{Start: &challengev1.Start{Nonce: make([]byte, 32)}}}))
	f.Add(start)
	f.Add(append(start, framed(network.MustMarshal(&challengev1.ToProvider{Frame: &challengev1.ToProvider_Draw{Draw: &challengev1.Draw{Places: []*challengev1.Place{{Device: 9}}}}}))...))
	provider := souk.NodeKey{}
	f.Fuzz(func(t *testing.T, said []byte) {
		conn := &tape{Reader: strings.NewReader(string(framed(request(key, provider))) + string(said))}
		a, refused, err := proof.Answer(conn, provider, time.Now(), times())
		if refused != nil || err != nil {
			t.Fatalf("%v, %v", refused, err)
		}
		_ = a.Prove(t.Context(), []string{"GPU-1"}, "reference", []challenge.Device{reference.New(a.Request().Terms([]string{"GPU-1"}))})
		_, _ = a.Evidence()
	})
}

// tape is a stream on which all was said already.
type tape struct{ *strings.Reader }

func (*tape) Write(p []byte) (int, error)      { return len(p), nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }
