package node_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// newMixedStall is a stall with two devices of one class and two of another.
func newMixedStall(t *testing.T) *stall {
	t.Helper()
	return newStall(t, 0, func(c *node.Config) {
		c.Prices = map[string]souk.Atoms{"RTX_4090": 2 * souk.AtomsPerToken, "L40S": 5 * souk.AtomsPerToken}
		c.Probes = append(c.Probes, fake.Probe{Name: "a", Model: "NVIDIA GeForce RTX 4090", Count: 2, MemoryBytes: 24 << 30, ComputeCap: 89},
			fake.Probe{Name: "b", Model: "NVIDIA L40S", Count: 2, MemoryBytes: 48 << 30, ComputeCap: 89})
	})
}

// mixedClient starts a client that knows both offers.
func (s *stall) mixedClient(t *testing.T) *daemon {
	t.Helper()
	d := s.start(t, &networktest.Liar{}, func(c *node.Config) { c.Bootstrap = s.provider.addrs })
	networktest.Eventually(t, "both offers", func() bool { return len(d.market(t)) == 2 })
	return d
}

// mixedJob makes of a job one for three devices of the two classes.
func mixedJob(msg *jobv1.Job) *jobv1.Job {
	stallJob(msg)
	msg.Resources.GpuCount, msg.Resources.Mixed, msg.Resources.Models = 3, true, []string{"RTX_4090", "L40S"}
	msg.Price.MaxAtomsPerHour, msg.Price.MaxTotalAtoms = 3*5*uint64(souk.AtomsPerToken), 10*uint64(souk.AtomsPerToken)
	return msg
}

// free is how many devices of all that the provider sells are in no lease.
func (s *stall) free(t *testing.T) (n int) {
	t.Helper()
	got, err := s.provider.Devices(t.Context(), &apiv1.DevicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range got.Devices {
		if d.PriceAtomsPerHour > 0 && d.Lease == "" {
			n++
		}
	}
	return n
}

// TestMixed runs a job on devices of two classes: the plan, the lease, each receipt and
// what the job's owner is shown have both, and both sides agree on what is due.
func TestMixed(t *testing.T) {
	s := newMixedStall(t)
	client := s.mixedClient(t)
	msg := mixedJob(testJob(t, client, "brief"))
	plan, err := client.Plan(t.Context(), &apiv1.PlanRequest{Job: msg})
	if err != nil || len(plan.Candidates) != 1 {
		t.Fatalf("plan: %v, %v", plan, err)
	}
	c := plan.Candidates[0]
	if classesText(c.Devices) != "2 RTX_4090 at 2, 1 L40S at 5" || len(c.Lines) != 2 || c.Lines[0].Unit != "device-ms/RTX_4090" || c.Lines[1].Unit != "device-ms/L40S" ||
		c.EstimateAtoms != c.Lines[0].Atoms+c.Lines[1].Atoms || c.Lines[0].Atoms/4 != c.Lines[1].Atoms/5 || c.CapAtoms < c.EstimateAtoms || c.CapAtoms > c.EstimateAtoms+2 {
		t.Errorf("candidate: %v", c)
	}
	checkMixedPlans(t, client)
	j := client.submit(t, msg)
	end := j.finished(t)
	if end.State != "done" || classesText(end.Devices) != classesText(c.Devices) || end.ReserveAtoms != c.CapAtoms {
		t.Fatalf("the job ended as %v", end)
	}
	got := j.get(t)
	if len(got.Receipts) == 0 || len(got.Attempts) != 1 || classesText(got.Attempts[0].Devices) != classesText(c.Devices) {
		t.Fatalf("job: %v", got)
	}
	for _, r := range got.Receipts {
		u := r.Usage
		if len(u) != 2 || u[0].Unit != "device-ms/RTX_4090" || u[1].Unit != "device-ms/L40S" || u[0].Quantity != 2*u[1].Quantity || r.CumulativeDueAtoms != u[0].DueAtoms+u[1].DueAtoms {
			t.Errorf("receipt %d: %v", r.Seq, r)
		}
	}
	networktest.Eventually(t, "the devices", func() bool { return s.provider.status(t).Leases == 0 && s.free(t) == 4 })
	due := got.Receipts[len(got.Receipts)-1].CumulativeDueAtoms
	for _, d := range []*daemon{s.provider, client} {
		if all, err := d.Channels(t.Context(), &apiv1.ChannelsRequest{}); err != nil || len(all.Channels) != 1 || all.Channels[0].DueAtoms != due {
			t.Errorf("channels %v, %v; want one over %d", all, err, due)
		}
	}
}

// checkMixedPlans asks for three devices of one class and for five of two: nobody has
// them, and the plan says why.
func checkMixedPlans(t *testing.T, client *daemon) {
	t.Helper()
	one := mixedJob(testJob(t, client, "brief"))
	one.Resources.Mixed = false
	if plan, err := client.Plan(t.Context(), &apiv1.PlanRequest{Job: one}); err != nil || len(plan.Candidates) != 0 {
		t.Errorf("three devices of one class: %v, %v", plan, err)
	}
	one.Resources.GpuCount, one.Resources.Mixed, one.Price.MaxAtomsPerHour = 5, true, 5*5*uint64(souk.AtomsPerToken)
	if plan, err := client.Plan(t.Context(), &apiv1.PlanRequest{Job: one}); err != nil || len(plan.Candidates) != 0 || !strings.Contains(plan.Query, "together=5") {
		t.Errorf("five devices: %v, %v", plan, err)
	} else if last := plan.Removals[len(plan.Removals)-1]; last.Clause != "together=5" || last.Removed != 2 || last.Without != 2 {
		t.Errorf("explained by %v", last)
	}
}

// classesText is devices by class: "2 A at 1, 1 B at 3".
func classesText(classes []*apiv1.DeviceClass) string {
	var text []string
	for _, d := range classes {
		text = append(text, fmt.Sprint(d.Count, " ", d.Class)+" at "+souk.Atoms(d.PriceAtomsPerHour).String())
	}
	return strings.Join(text, ", ")
}

// TestMixedBidLies has a provider sign bids whose groups are not what was ordered: the
// client refuses each by a typed reason, and no lease is signed.
func TestMixedBidLies(t *testing.T) {
	s := newMixedStall(t)
	client := s.mixedClient(t)
	for _, tt := range []struct {
		name, why string
		change    func(*marketv1.Bid)
	}{
		{"a device too few", "device: 1 device of the kind missing", func(b *marketv1.Bid) { b.Devices, b.Groups[0].Devices = b.Devices[1:], b.Devices[1:2] }},
		{"a class that was not asked for", "the bid has class H100", func(b *marketv1.Bid) { b.Groups[1].Class, b.Tariff[1].Unit = "H100", "device-ms/H100" }},
		{"a device in no group", "the bid's groups are not its devices", func(b *marketv1.Bid) { b.Groups[1].Devices = []string{"GPU-9"} }},
		{"one price for all", "the bid's tariff", func(b *marketv1.Bid) { b.Tariff = payment.HourlyTariff(b.PriceAtomsPerHour).Proto() }},
		{"a need that is not known", "unsupported: warp", func(b *marketv1.Bid) { b.MustUnderstand = append(b.MustUnderstand, "warp") }},
	} {
		lie := &networktest.Deed{Protocol: network.OrderProtocol, Step: networktest.AnyFrame, Do: func(_ *networktest.Deed, st p2pnet.Stream, frame []byte) error {
			return networktest.Frame(st, s.rebid(t, frame, tt.change))
		}}
		s.liar.Lie(client.id, lie)
		j := client.submit(t, mixedJob(testJob(t, client, "brief")))
		end := j.finished(t)
		if told := shown(j.get(t)); end.State != "no-match" || end.Reason != "declined" || !strings.Contains(told, tt.why) || !lie.Happened() {
			t.Errorf("%s: the job ended as %s, %s: %s", tt.name, end.State, end.Reason, told)
		}
	}
	nothingRuns(t)
}

// rebid is a reply of the stall's provider with its bid changed and signed again.
func (s *stall) rebid(t *testing.T, frame []byte, change func(*marketv1.Bid)) []byte {
	var reply marketv1.OrderReply
	if unframe(frame, &reply) != nil || reply.GetBid() == nil {
		t.Errorf("no bid in %x", frame)
		return frame
	}
	payload, _, err := wire.Open(souk.DomainBid, reply.GetBid(), market.MaxBidBytes)
	bid := new(marketv1.Bid)
	if err != nil || proto.Unmarshal(payload, bid) != nil {
		t.Errorf("bid: %v", err)
	}
	change(bid)
	return network.MustMarshal(&marketv1.OrderReply{Answer: &marketv1.OrderReply_Bid{Bid: wire.Seal(s.provider.cfg.Identity, souk.DomainBid, network.MustMarshal(bid))}})
}

// TestMixedLeaseRefusals asks for leases whose groups are not those of the bid: each
// is declined, and the one that has them is countersigned.
func TestMixedLeaseRefusals(t *testing.T) {
	s := newMixedStall(t)
	c := s.hand(t)
	for _, tt := range []struct {
		name   string
		change func(*leasev1.Lease)
		want   string // of the refusal; empty: it is countersigned
	}{
		{"no groups", func(l *leasev1.Lease) { l.Groups, l.Tariff = nil, payment.HourlyTariff(l.PriceAtomsPerHour).Proto() }, "the lease's tariff differs from the bid's"},
		{"classes exchanged", func(l *leasev1.Lease) { l.Groups[0].Class, l.Groups[1].Class = l.Groups[1].Class, l.Groups[0].Class }, "the lease's groups differ from the bid's"},
		{"a dear device among the cheap", func(l *leasev1.Lease) {
			a, b := l.Groups[0].Devices, l.Groups[1].Devices
			a[0], b[0] = b[0], a[0]
		}, "the lease's groups differ from the bid's"},
		{"groups in another order", func(l *leasev1.Lease) { l.Groups[0], l.Groups[1] = l.Groups[1], l.Groups[0] }, "the lease's groups differ from the bid's"},
		{"a device of the same class", func(l *leasev1.Lease) {
			l.Devices[2], l.Groups[1].Devices = "GPU-fake-b-1", []string{"GPU-fake-b-1"}
		}, "the lease differs from the bid"},
		{"fewer devices", func(l *leasev1.Lease) { l.Devices, l.Groups[0].Devices = l.Devices[1:], l.Groups[0].Devices[1:] }, "the lease differs from the bid"},
		{"one price", func(l *leasev1.Lease) { l.Tariff[1].PriceAtoms = l.Tariff[0].PriceAtoms }, "the lease's tariff differs from the bid's"},
		{"the resources of one class", func(l *leasev1.Lease) { l.Resources = proto.CloneOf(l.Resources); l.Resources.Mixed = false }, "the lease asks for more than the order"},
		{"as bid", func(*leasev1.Lease) {}, ""},
	} {
		g := c.propose(t, mixedJob(c.job(t, "brief")), souk.JobID{Digest: souk.Digest{1}})
		promised := g.ID
		tt.change(g.Lease)
		g.Payload = network.MustMarshal(g.Lease)
		g.ID.Digest = sha256.Sum256(g.Payload)
		g.Request.Lease = wire.Seal(c.cfg.Identity, souk.DomainLease, g.Payload)
		why, err := c.Countersign(t.Context(), g)
		if err != nil || (why == nil) != (tt.want == "") || why != nil && !strings.Contains(why.Detail, tt.want) {
			t.Errorf("%s: declined with %v, %v; want %q", tt.name, why, err, tt.want)
		}
		if why == nil {
			if free := s.free(t); free != 1 {
				t.Errorf("%s: %d devices are free beside the lease", tt.name, free)
			}
			continue
		}
		if err := c.CloseLease(t.Context(), g.Terms.Channel, promised); err != nil {
			t.Error(err)
		}
	}
}

// TestMixedIsAnnounced: what a client sends for a mixed job lists mixed in the order and
// in the lease, so that a provider that does not know it declines both by name.
func TestMixedIsAnnounced(t *testing.T) {
	liar := &networktest.Liar{}
	s := newMixedStall(t)
	cfg := s.config(t)
	cfg.WrapHost = func(h host.Host) host.Host { liar.Host = h; return liar }
	c := newHand(t, s.provider, cfg)
	var listed []string
	liar.Lie(s.provider.id, &networktest.Deed{Protocol: network.OrderProtocol, Client: true, Step: networktest.AnyFrame, Do: func(_ *networktest.Deed, st p2pnet.Stream, frame []byte) error {
		_, n := protowire.ConsumeVarint(frame)
		payload, _, err := wire.Open(souk.DomainOrder, frame[n:], market.MaxOrderBytes)
		var o marketv1.Order
		if err != nil || proto.Unmarshal(payload, &o) != nil {
			t.Errorf("order: %v", err)
		}
		listed = o.MustUnderstand
		return networktest.Raw(st, frame)
	}})
	g := c.propose(t, mixedJob(c.job(t, "brief")), souk.JobID{Digest: souk.Digest{1}})
	for what, names := range map[string][]string{"order": listed, "lease": g.Lease.MustUnderstand} {
		if len(names) != 1 || names[0] != market.ExtensionMixed {
			t.Errorf("the %s lists %q", what, names)
		}
	}
}
