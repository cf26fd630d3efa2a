package offers

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network/networktest"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// traffic counts the messages that a node's gossip receives and sends on.
type traffic struct {
	mu             sync.Mutex // guards what follows
	sent, received int
	mesh           map[string]map[peer.ID]bool
}

func (c *traffic) counts() (sent, received int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.received
}

func (c *traffic) inMesh(topic string, p peer.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mesh[topic][p]
}

func (c *traffic) SendRPC(rpc *pubsub.RPC, _ peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += len(rpc.GetPublish())
}

func (c *traffic) RecvRPC(rpc *pubsub.RPC) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received += len(rpc.GetPublish())
}

func (c *traffic) Graft(p peer.ID, topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mesh == nil {
		c.mesh = map[string]map[peer.ID]bool{}
	}
	if c.mesh[topic] == nil {
		c.mesh[topic] = map[peer.ID]bool{}
	}
	c.mesh[topic][p] = true
}

func (c *traffic) Prune(p peer.ID, topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mesh[topic], p)
}

func (c *traffic) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (c *traffic) OnClosedOutboundStream(peer.ID)           {}
func (c *traffic) Join(string)                              {}
func (c *traffic) Leave(string)                             {}
func (c *traffic) ValidateMessage(*pubsub.Message)          {}
func (c *traffic) DeliverMessage(*pubsub.Message)           {}
func (c *traffic) RejectMessage(*pubsub.Message, string)    {}
func (c *traffic) DuplicateMessage(*pubsub.Message)         {}
func (c *traffic) ThrottlePeer(peer.ID)                     {}
func (c *traffic) DropRPC(*pubsub.RPC, peer.ID)             {}
func (c *traffic) UndeliverableMessage(*pubsub.Message)     {}

// wrapped is an envelope with an unknown field added: the signature still covers
// its payload, and its bytes are new.
func wrapped(envelope []byte, i int) []byte {
	w := slices.Clone(envelope)
	w = binary.AppendUvarint(w, uint64(4+i%16)<<3) // a varint field that Signed does not have
	return binary.AppendUvarint(w, uint64(i))
}

func TestGossipLine(t *testing.T) {
	a, b, c := startNode(t, nil), startNode(t, nil), startNode(t, nil)
	b.connect(t, a, c)
	topic := offerTopic("RTX_4090")
	b.meshed(t, topic, a.Host, c.Host)
	b.meshed(t, revokeTopic, a.Host, c.Host)

	a.publish(t, "RTX_4090", 1)
	networktest.Eventually(t, "the offer at the end of the line", func() bool { return c.book.Len() == 1 })
	a.publish(t, "RTX_4090", 2)
	networktest.Eventually(t, "the newer offer", func() bool {
		offers := c.book.Offers()
		return len(offers) == 1 && offers[0].Sequence == 2
	})

	gone := seal(t, a.key, souk.DomainRevoke, &marketv1.Revocation{Epoch: offerOf("X", 1).Epoch, Sequence: 2, IssuedMs: time.Now().UnixMilli()})
	if err := a.gossip.PublishRevocation(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	networktest.Eventually(t, "the end of the offer", func() bool { return c.book.Len() == 0 && b.book.Len() == 0 && a.book.Len() == 0 })
}

// What no honest peer sends is not passed on, and costs its sender its voice.
func TestGossipRefusesBeforeForwarding(t *testing.T) {
	good := offerOf("RTX_4090", 1)
	signed := sealOffer(t, networktest.NewKey(t), good)
	for _, tt := range []struct {
		name string
		make func(i int) []byte
		want market.Reason
	}{
		{"another's signature", func(i int) []byte {
			e := slices.Clone(signed)
			binary.BigEndian.PutUint16(e[len(e)-2:], binary.BigEndian.Uint16(e[len(e)-2:])^uint16(i+1))
			return e
		}, market.Signature},
		{"signed in another domain", func(i int) []byte {
			return seal(t, networktest.NewKey(t), souk.DomainBid, good)
		}, market.Signature},
		{"one payload in many envelopes", func(i int) []byte {
			return wrapped(signed, i)
		}, market.Malformed},
		{"larger than an offer may be", func(i int) []byte {
			return append(wrapped(signed, i), make([]byte, market.MaxOfferBytes)...)
		}, market.Oversized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, c := startNode(t, nil), startNode(t, nil)
			a := startRogue(t, b)
			b.connect(t, c)
			topic := offerTopic(good.Class)
			b.meshed(t, topic, a.host, c.Host)

			const sent = 500
			for i := range sent {
				a.send(t, topic, tt.make(i))
			}
			networktest.Eventually(t, "every message at the middle", func() bool { _, n := b.traffic.counts(); return n >= sent })
			// An honest offer goes the same way, after them.
			b.publish(t, good.Class, 1)
			networktest.Eventually(t, "the honest offer", func() bool { return c.book.Len() == 1 })

			if sent, _ := b.traffic.counts(); sent != 1 {
				t.Errorf("the middle sent %d messages; want the honest one", sent)
			}
			if _, got := c.traffic.counts(); got != 1 {
				t.Errorf("the end received %d messages; want the honest one", got)
			}
			rejects := b.gossip.Rejects()
			if n := rejects[string(tt.want)]; n < 3 || len(rejects) != 1 {
				t.Errorf("rejects %v; want some %s", rejects, tt.want)
			}
		})
	}
}

func TestGossipValidate(t *testing.T) {
	key := networktest.NewKey(t)
	const class = "RTX_4090"
	base := time.Now()
	offer := func(edit func(*marketv1.Offer)) []byte {
		o := offerOf(class, 1)
		edit(o)
		return sealOffer(t, key, o)
	}
	keep := func(*marketv1.Offer) {}
	first := offer(keep)
	otherShard := ""
	for i := 0; otherShard == ""; i++ {
		if c := fmt.Sprintf("GPU_%d", i); offerTopic(c) != offerTopic(class) {
			otherShard = c
		}
	}
	for _, tt := range []struct {
		name string
		data []byte
		want pubsub.ValidationResult
	}{
		{"news", offer(func(o *marketv1.Offer) { o.Sequence = 2 }), pubsub.ValidationAccept},
		{"the same again", first, pubsub.ValidationIgnore},
		{"the same number, other bytes", offer(func(o *marketv1.Offer) { o.PriceAtomsPerHour++ }), pubsub.ValidationIgnore},
		{"older", offer(func(o *marketv1.Offer) { o.Sequence = 0 }), pubsub.ValidationIgnore},
		{"in another envelope", wrapped(first, 1), pubsub.ValidationReject},
		{"cut short", first[:len(first)-1], pubsub.ValidationReject},
		{"empty", nil, pubsub.ValidationReject},
		{"of another shard", offer(func(o *marketv1.Offer) { o.Class = otherShard }), pubsub.ValidationReject},
		{"ahead of our clock", offer(func(o *marketv1.Offer) {
			o.IssuedMs = base.Add(2 * time.Minute).UnixMilli()
		}), pubsub.ValidationIgnore},
		{"ended a moment ago", offer(func(o *marketv1.Offer) {
			o.IssuedMs, o.ExpiresMs = base.Add(-time.Minute).UnixMilli(), base.Add(-time.Second).UnixMilli()
		}), pubsub.ValidationIgnore},
		{"ended long ago", offer(func(o *marketv1.Offer) {
			o.IssuedMs, o.ExpiresMs = base.Add(-time.Hour).UnixMilli(), base.Add(-30*time.Minute).UnixMilli()
		}), pubsub.ValidationReject},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := networktest.Loopback(t, networktest.NewKey(t))
			g := NewGossip(GossipConfig{Host: h, Book: NewBook(market.Config{}, time.Now), Log: slog.New(slog.DiscardHandler)})
			topic := offerTopic(class)
			if got := g.validate(t.Context(), "peer", &pubsub.Message{Message: &pb.Message{Data: first, Topic: &topic}}); got != pubsub.ValidationAccept {
				t.Fatalf("first offer: %v", got)
			}
			before := g.cfg.Book.Offers()[0]
			got := g.validate(t.Context(), "peer", &pubsub.Message{Message: &pb.Message{Data: tt.data, Topic: &topic}})
			if got != tt.want {
				t.Errorf("validate = %v; want %v (rejects %v)", got, tt.want, g.Rejects())
			}
			after := g.cfg.Book.Offers()
			if changed := len(after) != 1 || after[0] != before; changed != (tt.want == pubsub.ValidationAccept) {
				t.Errorf("book changed: %t; want it to follow the verdict %v", changed, tt.want)
			}
		})
	}
}

// To count against its sender is one thing: not one of the wrapped messages
// would go on even if its sender were still listened to.
func TestGossipRefusesEveryWrapping(t *testing.T) {
	h := networktest.Loopback(t, networktest.NewKey(t))
	g := NewGossip(GossipConfig{Host: h, Book: NewBook(market.Config{}, time.Now), Log: slog.New(slog.DiscardHandler)})
	topic, signed := offerTopic("CPU"), sealOffer(t, networktest.NewKey(t), offerOf("CPU", 1))
	for i := range 500 {
		m := &pubsub.Message{Message: &pb.Message{Data: wrapped(signed, i), Topic: &topic}}
		if got := g.validate(t.Context(), "peer", m); got != pubsub.ValidationReject {
			t.Fatalf("wrapping %d: %v; want it rejected", i, got)
		}
	}
	if n := g.cfg.Book.Len(); n != 0 {
		t.Errorf("%d offers in the book", n)
	}
}

// A provider that offers too often is not passed on, and those who pass it on
// are not blamed.
func TestGossipRate(t *testing.T) {
	now := time.Now()
	g := NewGossip(GossipConfig{Host: networktest.Loopback(t, networktest.NewKey(t)), Book: NewBook(market.Config{}, func() time.Time { return now }), Log: slog.New(slog.DiscardHandler)})
	key, topic := networktest.NewKey(t), offerTopic("CPU")
	got := map[pubsub.ValidationResult]int{}
	for i := range 20 {
		data := sealOffer(t, key, offerOf("CPU", uint64(i+1)))
		got[g.validate(context.Background(), "peer", &pubsub.Message{Message: &pb.Message{Data: data, Topic: &topic}})]++
	}
	want := map[pubsub.ValidationResult]int{pubsub.ValidationAccept: market.OfferBurst, pubsub.ValidationIgnore: 20 - market.OfferBurst}
	if !maps.Equal(got, want) {
		t.Errorf("verdicts %v; want %v", got, want)
	}
	if g.Rejects()["rate"] != 20-market.OfferBurst {
		t.Errorf("rejects %v", g.Rejects())
	}
}
