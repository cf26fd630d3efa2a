package node_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "record the bytes of a made-up next version anew, in testdata/next.txt")

// nextBytes is what a node of a made-up next version adds to today's messages, and
// frames that it alone has, as testdata/next.txt records them. Added to the bytes of
// a message, they are fields of it.
func nextBytes(t *testing.T) map[string][]byte {
	t.Helper()
	fields := protowire.AppendTag(nil, 40, protowire.BytesType)
	fields = protowire.AppendBytes(fields, append(protowire.AppendVarint([]byte{0x08}, 412), "\x12\x02DE"...))
	fields = protowire.AppendFixed64(protowire.AppendTag(fields, 42, protowire.Fixed64Type), 1<<40)
	with := func(m proto.Message) []byte { return append(network.MustMarshal(m), fields...) }
	needs := []string{"warp"}
	made := map[string][]byte{
		"fields":                      fields,
		"order":                       with(&marketv1.Order{Version: 3}),
		"order that needs warp":       with(&marketv1.Order{Version: 3, MustUnderstand: needs}),
		"lease of version 3":          with(&leasev1.Lease{Version: 3}),
		"lease that needs warp":       with(&leasev1.Lease{MustUnderstand: needs}),
		"request":                     with(&leasev1.LeaseRequest{Version: 3}),
		"request that needs warp":     with(&leasev1.LeaseRequest{Version: 3, MustUnderstand: needs}),
		"attach":                      with(&runv1.Attach{Version: 3}),
		"attach that needs warp":      with(&runv1.Attach{Version: 3, MustUnderstand: needs}),
		"frame to a provider":         fields,
		"frame to a client":           fields,
		"log of another stream":       with(&runv1.ToClient{Message: &runv1.ToClient_Log{Log: &runv1.Log{Stream: 9, Offset: 1 << 40, Data: []byte("x")}}}),
		"state of another phase":      with(&runv1.ToClient{Message: &runv1.ToClient_State{State: &runv1.State{Phase: 99, Reason: 99}}}),
		"channel request":             with(&leasev1.ChannelRequest{Version: 3}),
		"channel terms":               with(&leasev1.ChannelRequest{Version: 3, Request: &leasev1.ChannelRequest_Terms{Terms: &leasev1.TermsRequest{}}}),
		"channel terms and need warp": with(&leasev1.ChannelRequest{Version: 3, MustUnderstand: needs, Request: &leasev1.ChannelRequest_Terms{Terms: &leasev1.TermsRequest{}}}),
	}
	const name = "testdata/next.txt"
	if *update {
		b := bytes.NewBufferString("# What a node of a made-up next version adds to today's messages, and frames that it alone has.\n")
		for _, k := range slices.Sorted(maps.Keys(made)) {
			fmt.Fprintf(b, "%s: %x\n", k, made[k])
		}
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return networktest.ReadNext(t, name, len(made))
}

// TestNextClient is a client of a made-up next version at a provider of today:
// what is understood is served, and what must be and is not is declined by name.
func TestNextClient(t *testing.T) {
	next := nextBytes(t)
	s := newStall(t, 2, nil)
	c := s.hand(t)
	order := func(name string) *marketv1.OrderReply {
		payload := append(network.MustMarshal(&marketv1.Order{Nonce: make([]byte, 16), Resources: stallJob(c.job(t, "brief")).Resources, MaxDurationMs: 1000,
			MaxPriceAtomsPerHour: 10 * uint64(souk.AtomsPerToken), DeadlineMs: time.Now().Add(5 * time.Second).UnixMilli(), ProviderKey: s.provider.key[:]}), next[name]...)
		var reply marketv1.OrderReply
		c.say(t, network.OrderProtocol, wire.Seal(c.cfg.Identity, souk.DomainOrder, payload), &reply)
		if env := reply.GetDecline(); env != nil {
			why, err := client.OpenDecline(env, sha256.Sum256(payload), s.provider.key)
			wantUnsupported(t, why, err, "warp")
		}
		return &reply
	}
	if order("order").GetBid() == nil {
		t.Error("an order with more fields gets no bid")
	}
	if order("order that needs warp").GetDecline() == nil {
		t.Error("an order that needs warp is not declined")
	}
	for _, tt := range []struct{ lease, request, want string }{
		{"lease of version 3", "request", "version-3"},
		{"lease that needs warp", "request", "warp"},
		{"fields", "request that needs warp", "warp"},
		{"fields", "request", ""},
	} {
		msg := stallJob(c.job(t, "brief"))
		g := c.propose(t, msg, idOf(msg))
		promised := g.ID
		g.Payload = append(g.Payload, next[tt.lease]...)
		g.ID.Digest = sha256.Sum256(g.Payload)
		g.Request.Lease = wire.Seal(c.cfg.Identity, souk.DomainLease, g.Payload)
		var reply leasev1.LeaseReply
		c.say(t, network.LeaseProtocol, append(network.MustMarshal(g.Request), next[tt.request]...), &reply)
		if tt.want == "" {
			if reply.GetLease() == nil {
				t.Fatalf("a lease with more fields: %v", &reply)
			}
			c.nextRun(t, g, network.MustMarshal(msg), next)
			continue
		}
		why, err := client.OpenDecline(reply.GetDecline(), g.ID.Digest, g.Terms.ProviderKey)
		wantUnsupported(t, why, err, tt.want)
		if err := c.CloseLease(t.Context(), g.Terms.Channel, promised); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{"channel request": "", "channel terms": "terms", "channel terms and need warp": "warp"} {
		var reply leasev1.ChannelReply
		c.say(t, network.ChannelProtocol, next[name], &reply)
		if want == "terms" && reply.GetTerms() == nil {
			t.Errorf("%s: %v", name, &reply)
		} else if want != "terms" {
			why, err := client.OpenDecline(reply.GetDecline(), souk.Digest{}, s.provider.key)
			if err != nil || why.Reason != marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED || want != "" && !slices.Contains(why.Unsupported, want) {
				t.Errorf("%s: %v, %v", name, why, err)
			}
		}
	}
}

// nextRun attaches to a run as a client of the next version does: first with a need,
// then without, and in between with a frame that this version has not.
func (h *hand) nextRun(t *testing.T, g *client.Proposal, job []byte, next map[string][]byte) {
	t.Helper()
	var attach runv1.Attach
	for _, name := range []string{"attach that needs warp", "attach"} {
		if err := proto.Unmarshal(next[name], &attach); err != nil {
			t.Fatal(err)
		}
		attach.Lease, attach.Job = g.ID.Digest[:], job
		var first runv1.ToClient
		st := h.open(t, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &attach}})
		err := networktest.Frame(st, next["frame to a provider"])
		if err == nil {
			err = wire.NewReader(st, network.MaxRunBytes).Read(&first)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if name == "attach" && first.GetState() == nil {
			t.Errorf("%s: %v", name, &first)
		} else if name != "attach" {
			why, err := client.OpenDecline(first.GetDecline(), g.ID.Digest, g.Terms.ProviderKey)
			wantUnsupported(t, why, err, "warp")
		}
		attach = runv1.Attach{}
	}
}

// say sends one message, as bytes, to the provider, and reads the answer.
func (h *hand) say(t *testing.T, id protocol.ID, b []byte, reply proto.Message) {
	t.Helper()
	st, done, err := network.OpenStream(t.Context(), h.host, h.to.id, id)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if err := networktest.Frame(st, b); err != nil {
		t.Fatal(err)
	}
	if err := wire.NewReader(st, network.MaxLeaseBytes).Read(reply); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
}

// TestNextProvider is a provider of a made-up next version with a client of today:
// frames, log streams, phases and fields that this version has not change nothing.
func TestNextProvider(t *testing.T) {
	next := nextBytes(t)
	s := newStall(t, 1, nil)
	client := s.client(t, &networktest.Liar{})
	var sent atomic.Int32 // frames; the last may still be on its way when the job has ended
	s.liar.Lie(client.id, &networktest.Deed{Protocol: network.RunProtocol, Step: networktest.AnyFrame, Do: func(_ *networktest.Deed, st p2pnet.Stream, b []byte) error {
		var f runv1.ToClient
		if unframe(b, &f) != nil {
			return networktest.Raw(st, b)
		}
		for _, name := range []string{"frame to a client", "log of another stream", "state of another phase"} {
			if err := networktest.Frame(st, next[name]); err != nil {
				return err
			}
		}
		for _, m := range []proto.Message{f.GetState(), f.GetReceipt(), f.GetLog()} {
			if m.ProtoReflect().IsValid() {
				m.ProtoReflect().SetUnknown(next["fields"])
				sent.Add(1)
			}
		}
		return networktest.Frame(st, append(network.MustMarshal(&f), next["fields"]...))
	}})
	if end := client.finishes(t, "brief"); end != "done completed" || sent.Load() == 0 {
		t.Errorf("the job ended as %s after %d such frames", end, sent.Load())
	}
}
