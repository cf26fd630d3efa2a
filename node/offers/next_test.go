package offers

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network/networktest"
	syncv1 "github.com/souk-market/souk/proto/souk/sync/v1"
	"github.com/souk-market/souk/proto/wire"
)

// TestNextGossip gives gossip and sync the recorded offers of a made-up next
// version: they are taken or ignored, and only bytes that no version has count
// against who sent them.
func TestNextGossip(t *testing.T) {
	recorded := networktest.ReadNext(t, "../../market/testdata/next.txt", 9)
	now := func() time.Time { return time.UnixMilli(1_800_000_000_000) }
	n := startNode(t, nil)
	page := &syncv1.SyncPage{}
	for name, want := range map[string]pubsub.ValidationResult{
		"offer with more fields": pubsub.ValidationAccept, "offer of another runner": pubsub.ValidationAccept,
		"offer of more evidence": pubsub.ValidationAccept, "offer with another unit": pubsub.ValidationAccept,
		"offer with more extensions": pubsub.ValidationAccept, "revocation with more fields": pubsub.ValidationAccept,
		"offer with more lines":              pubsub.ValidationIgnore,
		"offer in bytes that no version has": pubsub.ValidationReject,
	} {
		g := NewGossip(GossipConfig{Host: n.Host, Book: NewBook(market.Config{}, now), Log: slog.New(slog.DiscardHandler)})
		topic := revokeTopic
		if strings.HasPrefix(name, "offer") {
			topic = offerTopic("RTX_4090")
			page.Offers = append(page.Offers, recorded[name])
		}
		got := g.validate(t.Context(), "somebody", &pubsub.Message{Message: &pb.Message{Data: recorded[name], Topic: &topic}})
		if got != want {
			t.Errorf("%s: %v; want %v", name, got, want)
		}
		if rejects := g.Rejects(); want == pubsub.ValidationIgnore && rejects["newer"] != 1 {
			t.Errorf("%s is counted as %v", name, rejects)
		}
	}
	var b bytes.Buffer
	if err := wire.Write(&b, page); err != nil {
		t.Fatal(err)
	}
	s := NewSyncer(SyncConfig{Book: NewBook(market.Config{}, now)})
	if took, err := s.read(&b, func(*market.Offer) {}); err != nil || took.Bad != 1 || took.Added != 1 {
		t.Errorf("a book of such offers: %+v, %v; want one bad, and one for the class that all are of", took, err)
	}
}
