package node_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain/mem"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	storemem "github.com/souk-market/souk/storage/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// shortWaits are waits that a test can sit through. What is a span between two
// of them in the defaults is so here.
func shortWaits() *network.Waits {
	const second = networktest.Slow * time.Second
	return &network.Waits{Order: 3 * second / 2, Lease: 5 * second / 2, Channel: 5 * second, Sync: 2 * second, Attach: 2 * second, Write: 2 * second,
		Start: second / 2, Fund: 3 * second, Send: 5 * second, Collect: 3 * second, Release: second / 2, ReleaseAway: 2 * second,
		Job: scheduler.JobConfig{Window: 2 * second, DialWithin: 4 * second, LeaseWithin: 14 * second / 5, FundWithin: 3 * second,
			Reconnect: 2 * second, FetchWithin: 3 * second / 2, FetchFor: 5 * second, SettleFor: 2 * second, Slack: second}}
}

// devicesOf is a machine's devices as a probe.
type devicesOf []gpu.Device

// Devices implements [gpu.Probe].
func (d devicesOf) Devices(context.Context) ([]gpu.Device, error) { return d, nil }

// stall is a provider with many devices, and clients beside it, on a chain in
// memory. Any of them may lie in what it sends; see [networktest.Liar].
type stall struct {
	chain    *mem.Chain
	provider *daemon
	liar     *networktest.Liar // of the provider

	mu    sync.Mutex // guards ended
	ended map[string]bool
}

// testDevice is the class of a stall's devices.
const testDevice = "TEST"

func newStall(t *testing.T, devices int, change func(*node.Config)) *stall {
	t.Helper()
	s := &stall{chain: mem.New(mem.Config{BlockTime: 50 * time.Millisecond}), liar: &networktest.Liar{}, ended: map[string]bool{}}
	probe := devicesOf{{ID: "cpu-test", Class: gpu.ClassCPU, Model: "cpu", MemoryBytes: 64 << 30, Health: gpu.Healthy, CPU: true, CPUMilli: 1_000_000, Simulated: true}}
	for i := range devices {
		probe = append(probe, gpu.Device{ID: "GPU-test-" + string(rune('A'+i/26)) + string(rune('a'+i%26)), Class: testDevice, Model: testDevice, MemoryBytes: 8 << 30, ComputeCap: 80,
			Health: gpu.Healthy, Evidence: marketv1.Evidence_EVIDENCE_NONE, Simulated: true})
	}
	s.provider = s.start(t, s.liar, func(c *node.Config) {
		c.Provide, c.Prices, c.Probes = true, map[string]souk.Atoms{testDevice: 2 * souk.AtomsPerToken}, []gpu.Probe{probe}
		if change != nil {
			change(c)
		}
	})
	return s
}

// config is a node on the stall's chain.
func (s *stall) config(t *testing.T) node.Config {
	t.Helper()
	cfg := testConfig(t)
	cfg.Store, cfg.Waits = keptStore{storemem.New()}, shortWaits()
	cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	cfg.Chain = s.chain.Client(mem.ClientConfig{Wallet: cfg.Wallet, Authorizer: cfg.VoucherKey, Poll: 20 * time.Millisecond})
	return cfg
}

// start runs a node on the stall's chain, with tokens.
func (s *stall) start(t *testing.T, lies *networktest.Liar, change func(*node.Config)) *daemon {
	t.Helper()
	cfg := s.config(t)
	cfg.WrapHost = func(h host.Host) host.Host { lies.Host = h; return lies }
	change(&cfg)
	d := start(t, cfg)
	d.fill(t)
	return d
}

// client starts a client that knows the provider.
func (s *stall) client(t *testing.T, lies *networktest.Liar) *daemon {
	t.Helper()
	return s.clientWith(t, lies, func(*node.Config) {})
}

func (s *stall) clientWith(t *testing.T, lies *networktest.Liar, change func(*node.Config)) *daemon {
	t.Helper()
	d := s.start(t, lies, func(c *node.Config) { c.Bootstrap = s.provider.addrs; change(c) })
	d.hears(t)
	return d
}

// hand is a [hand] on the stall's chain.
func (s *stall) hand(t *testing.T) *hand {
	t.Helper()
	return newHand(t, s.provider, s.config(t))
}

// stallJob makes of a job one for one device of the stall.
func stallJob(msg *jobv1.Job) *jobv1.Job {
	msg.Resources.CpuMilli, msg.Resources.GpuCount, msg.Resources.Models = 50, 1, []string{testDevice}
	msg.Limits.HoldPausedMs, msg.Limits.StartWithinMs, msg.Limits.MaxDurationMs = 700, 6_000*networktest.Slow, 20_000*networktest.Slow
	return msg
}

// finishes runs a job at the stall and tells how it ended.
func (d *daemon) finishes(t *testing.T, guest string) string {
	j := d.submit(t, stallJob(testJob(t, d, guest)))
	s := j.finished(t)
	end := s.State + " " + s.Reason
	if all := j.get(t); len(all.Attempts) > 0 && len(all.Attempts[0].Declines) > 0 {
		end += ": " + all.Attempts[0].Declines[0].Detail
	}
	return end
}

// idle tells whether every lease at the provider has ended and all its devices are on offer.
func (s *stall) idle(t *testing.T) bool {
	for _, o := range s.provider.market(t) {
		if o.Offer.Free < o.Offer.Count {
			return false
		}
	}
	return s.provider.status(t).Leases == 0 && s.provider.unused(t)
}

// unpaid is by how much the work under a lease, as the provider's receipts bill
// it, exceeds what the client signed for.
func (s *stall) unpaid(t *testing.T, lease string) souk.Atoms {
	t.Helper()
	got, err := s.provider.Receipts(t.Context(), &apiv1.ReceiptsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := souk.ParseDigest(lease)
	if err != nil {
		t.Fatal(err)
	}
	var billed, signed uint64
	for _, row := range got.Receipts {
		if r := row.Receipt; slices.Equal(r.Lease, id[:]) {
			billed = max(billed, r.CumulativeDueAtoms)
			if len(r.ClientSignature) > 0 {
				signed = max(signed, r.CumulativeDueAtoms)
			}
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

// tenancy is the provider's record of a lease, which stays in its ledger.
type tenancy struct {
	Payload []byte `json:"payload"`
	scheduler.TenancyState
}

// lease reads the provider's record of a lease; without a payload there is none.
func (s *stall) lease(t *testing.T, id string) (rec tenancy) {
	t.Helper()
	value, err := s.provider.books(t).Get("lease/" + id)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// taken waits until the provider has written a lease down.
func (s *stall) taken(t *testing.T, id souk.LeaseID) {
	t.Helper()
	networktest.Eventually(t, "the lease", func() bool { return s.lease(t, id.String()).Payload != nil })
}

// ends waits for the end of a lease at the provider, and returns why.
func (s *stall) ends(t *testing.T, id souk.LeaseID) runv1.EndReason {
	t.Helper()
	var rec tenancy
	networktest.Eventually(t, "the end of the lease", func() bool {
		if rec = s.lease(t, id.String()); rec.Payload == nil {
			t.Fatalf("no lease %s", id.Short())
		}
		return rec.Phase == runv1.Phase_PHASE_ENDED
	})
	return rec.Reason
}

// over tells whether every lease of a client has ended.
func (s *stall) over(t *testing.T, client peer.ID) bool {
	t.Helper()
	key, err := network.PeerKey(client)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	over := true
	err = s.provider.books(t).Scan("lease/", func(id string, value []byte) error {
		if s.ended[id] {
			return nil
		}
		var rec tenancy
		var l leasev1.Lease
		if err := json.Unmarshal(value, &rec); err != nil {
			return err
		}
		if err := proto.Unmarshal(rec.Payload, &l); err != nil {
			return err
		}
		s.ended[id] = rec.Phase == runv1.Phase_PHASE_ENDED
		over = over && (s.ended[id] || !slices.Equal(l.ClientKey, key[:]))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return over
}

// oneOf tells whether a reason is in a list parted by bars.
func oneOf(list, reason string) bool { return slices.Contains(strings.Split(list, "|"), reason) }

// unframe reads a message that was written as one frame.
func unframe(b []byte, m proto.Message) error {
	payload, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return protowire.ParseError(n)
	}
	return proto.Unmarshal(payload, m)
}
