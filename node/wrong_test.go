package node

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain/mem"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
	storemem "github.com/souk-market/souk/storage/mem"
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
// memory. Any of them may lie in what it sends; see [Liar].
type stall struct {
	chain    *mem.Chain
	provider *Node
	liar     *networktest.Liar // of the provider
}

// testDevice is the class of a stall's devices.
const testDevice = "TEST"

func newStall(t *testing.T, devices int, change func(*Config)) *stall {
	t.Helper()
	s := &stall{chain: mem.New(mem.Config{BlockTime: 50 * time.Millisecond}), liar: &networktest.Liar{}}
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
func (s *stall) start(t *testing.T, lies *networktest.Liar, change func(*Config)) *Node {
	t.Helper()
	cfg := testConfig(t)
	cfg.Store, cfg.Waits = storemem.New(), shortWaits()
	cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
	cfg.Chain = s.chain.Client(mem.ClientConfig{Wallet: cfg.Wallet, Authorizer: cfg.VoucherKey, Poll: 20 * time.Millisecond})
	cfg.WrapHost = func(h host.Host) host.Host { lies.Host = h; return lies }
	change(&cfg)
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, n)
	if !fill(n) {
		t.Fatal("the faucet gave nothing")
	}
	return n
}

// client starts a client that knows the provider.
func (s *stall) client(t *testing.T, lies *networktest.Liar) *Node {
	t.Helper()
	n := s.start(t, lies, func(c *Config) { c.Bootstrap = []string{address(s.provider)} })
	networktest.Eventually(t, "the offer", func() bool { return n.book.Len() == 1 })
	return n
}

// stallJob is a job for one device of the stall.
func stallJob(t *testing.T, n *Node, guest string) *jobv1.Job {
	t.Helper()
	msg := testJob(t, n, guest)
	msg.Resources.CpuMilli, msg.Resources.GpuCount, msg.Resources.Models = 50, 1, []string{testDevice}
	msg.Limits.HoldPausedMs, msg.Limits.StartWithinMs, msg.Limits.MaxDurationMs = 700, 6_000*networktest.Slow, 20_000*networktest.Slow
	return msg
}

// idle tells whether no lease lives at the provider and all its devices are free.
func (s *stall) idle() bool {
	p := s.provider.provider
	o := p.Offers(time.Now(), nil)[0]
	return p.Live() == 0 && o.Free == o.Count
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
func (s *stall) ended(t *testing.T, id string) scheduler.TenancyState {
	t.Helper()
	value, err := s.provider.ledger.Get("lease/" + id)
	var rec scheduler.TenancyState
	if err == nil && value != nil {
		err = json.Unmarshal(value, &rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rec
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
