package offers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk/market"
)

const (
	// offerShards is how many topics the offers are spread over, by device class,
	// so that a small node may follow a part of a large market.
	offerShards = 16
	// revokeTopic carries Signed Revocations of at most [market.MaxOfferBytes].
	revokeTopic = "/souk/1/revoke"

	// messageIDBytes of SHA-256 name a message. A collision only lets a publisher
	// split its own offer.
	messageIDBytes = 12
	// maxRPCBytes bounds what one peer makes us read at once: a batch of messages
	// of at most 4 KiB each with control messages.
	maxRPCBytes, maxControlBytes = 128 << 10, 64 << 10
	// gossipQueue bounds messages that wait to be validated, and those that wait
	// for one peer; past it the newest are dropped and counted by the tracer.
	gossipQueue = 1024
	// maxSubscriptions bounds the topics of one subscription message.
	maxSubscriptions = 100

	// followWait is how long to wait for a new peer to follow the topics.
	followWait = time.Second
	// stopDelay is how long gossip goes on after it is told to stop, so that
	// revocations are still sent.
	stopDelay = 250 * time.Millisecond
	// forwardSlack is how long a message may be under way after an honest peer
	// checked its time.
	forwardSlack = 30 * time.Second
)

// offerTopic carries the offers of a device class: Signed Offers of at most
// [market.MaxOfferBytes].
func offerTopic(class string) string { return shardTopic(shardOf(class)) }

func shardOf(class string) int { return int(sha256.Sum256([]byte(class))[0]) % offerShards }

func shardTopic(shard int) string { return fmt.Sprintf("/souk/1/offer/%d", shard) }

// gossipTopics is every topic a node follows.
func gossipTopics() []string {
	topics := []string{revokeTopic}
	for i := range offerShards {
		topics = append(topics, shardTopic(i))
	}
	return topics
}

// messageID names a message by its bytes alone: who sent it, and when, is no
// part of it.
func messageID(m *pb.Message) string {
	sum := sha256.Sum256(m.Data)
	return string(sum[:messageIDBytes])
}

// GossipConfig holds what gossip needs.
type GossipConfig struct {
	Host   host.Host
	Book   *Book            // takes in what is accepted
	Log    *slog.Logger     // peers that sent what no honest peer sends
	Tracer pubsub.RawTracer // sees what travels; default: none
}

// Gossip spreads offers and revocations, and takes those of others into the
// book. A message is forwarded only if it changed the book: the book is asked
// before the message goes on, so both always agree.
type Gossip struct {
	cfg   GossipConfig
	ready chan struct{} // closed once topics is set

	topics map[string]*pubsub.Topic // fixed once ready, as is ps
	ps     *pubsub.PubSub

	mu      sync.Mutex // guards rejects
	rejects map[string]uint64
}

// NewGossip starts nothing.
func NewGossip(cfg GossipConfig) *Gossip {
	return &Gossip{cfg: cfg, ready: make(chan struct{}), rejects: map[string]uint64{}}
}

// Run joins the topics and forwards until a moment after ctx ends, so that a
// provider that is told to stop can still revoke its offers; call it once. What
// the library started ends with it and with the host.
func (g *Gossip) Run(ctx context.Context) error {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ps, err := pubsub.NewGossipSub(lasting, g.cfg.Host, g.options()...)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	topics := map[string]*pubsub.Topic{}
	for _, name := range gossipTopics() {
		// Inline: validation is short and never blocks, and the number of workers
		// then bounds how much of it runs at once.
		if err := ps.RegisterTopicValidator(name, g.validate, pubsub.WithValidatorInline(true)); err != nil {
			return fmt.Errorf("gossip: validate %s: %w", name, err)
		}
		t, err := ps.Join(name)
		if err != nil {
			return fmt.Errorf("gossip: join %s: %w", name, err)
		}
		// To relay is to be in the mesh without a subscription to drain: the
		// validator has taken the message in by then.
		if _, err := t.Relay(); err != nil {
			return fmt.Errorf("gossip: relay %s: %w", name, err)
		}
		topics[name] = t
	}
	g.topics, g.ps = topics, ps
	close(g.ready)
	<-ctx.Done()
	<-time.After(stopDelay)
	return nil
}

// PublishOffer puts our own offer into the book and sends it to the peers. It
// waits until Run has joined the topics. Others ignore more than
// [market.OfferBurst] offers of one provider at once: pacing is the caller's.
func (g *Gossip) PublishOffer(ctx context.Context, class string, envelope []byte) error {
	if _, err := g.cfg.Book.PutSnapshot(envelope); err != nil {
		return fmt.Errorf("publish offer of %s: %w", class, err)
	}
	return g.publish(ctx, offerTopic(class), envelope)
}

// PublishRevocation takes our own offers out of the book and sends the
// revocation to the peers. It waits until Run has joined the topics.
func (g *Gossip) PublishRevocation(ctx context.Context, envelope []byte) error {
	if err := g.cfg.Book.Revoke(envelope); err != nil {
		return fmt.Errorf("publish revocation: %w", err)
	}
	return g.publish(ctx, revokeTopic, envelope)
}

// Relay sends on an offer that is in the book but did not come by gossip.
func (g *Gossip) Relay(ctx context.Context, o *market.Offer) error {
	return g.publish(ctx, offerTopic(o.Class), o.Envelope)
}

// Follows waits until p gets what we publish, or a second has passed: p may not
// speak gossip at all.
func (g *Gossip) Follows(ctx context.Context, p peer.ID) {
	ctx, cancel := context.WithTimeout(ctx, followWait)
	defer cancel()
	select {
	case <-g.ready:
	case <-ctx.Done():
		return
	}
	t := time.NewTicker(followWait / 50)
	defer t.Stop()
	for !slices.Contains(g.ps.ListPeers(revokeTopic), p) {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (g *Gossip) publish(ctx context.Context, topic string, envelope []byte) error {
	select {
	case <-g.ready:
	case <-ctx.Done():
		return fmt.Errorf("publish on %s: %w", topic, ctx.Err())
	}
	if err := g.topics[topic].Publish(ctx, envelope); err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	return nil
}

// Rejects counts the messages that were not forwarded, by reason.
func (g *Gossip) Rejects() map[string]uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.rejects)
}

// Validate takes a message into the book and says whether it goes on.
func (g *Gossip) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == g.cfg.Host.ID() {
		return pubsub.ValidationAccept // it is in the book
	}
	err := g.take(m.GetTopic(), m.Data)
	if err == nil {
		return pubsub.ValidationAccept
	}
	g.mu.Lock()
	g.rejects[string(rejectReason(err))]++
	g.mu.Unlock()
	if g.honest(m, err) {
		return pubsub.ValidationIgnore
	}
	g.cfg.Log.Debug("gossip refused", "peer", from, "topic", m.GetTopic(), "err", err)
	return pubsub.ValidationReject
}

// take brings a message of a topic into the book.
func (g *Gossip) take(topic string, data []byte) error {
	if topic == revokeTopic {
		return g.cfg.Book.Revoke(data)
	}
	o, err := g.cfg.Book.open(data)
	if err != nil {
		return err
	}
	if offerTopic(o.Class) != topic {
		return &market.RejectError{Reason: market.Malformed, Detail: "class of another shard"}
	}
	return g.cfg.Book.add(o, (*market.Book).Put)
}

// honest tells whether a peer that checks as we do may have sent a message that
// we refused with err. Clocks differ, and what a peer has not seen it cannot
// refuse: if such a message counted against whoever passed it on, its author
// could make honest peers drop each other.
func (g *Gossip) honest(m *pubsub.Message, err error) bool {
	switch rejectReason(err) {
	case market.Oversized, market.Signature, market.Malformed, market.Mismatch:
		return false
	case market.Expired:
		return g.lately(m.GetTopic(), m.Data)
	default:
		return true
	}
}

// lately tells whether a message that has expired was still good when an
// honest peer may have passed it on.
func (g *Gossip) lately(topic string, data []byte) bool {
	then := g.cfg.Book.now().Add(-market.Skew - forwardSlack)
	if topic == revokeTopic {
		_, err := market.OpenRevocation(data, then)
		return rejectReason(err) != market.Expired
	}
	_, err := market.OpenOffer(data, then)
	return rejectReason(err) != market.Expired
}

// rejectReason is the reason inside err; what is no reject is none of the peer's doing.
func rejectReason(err error) market.Reason {
	if r, ok := errors.AsType[*market.RejectError](err); ok {
		return r.Reason
	}
	return "other"
}

func (g *Gossip) options() []pubsub.Option {
	params := pubsub.DefaultGossipSubParams()
	params.D, params.Dlo, params.Dhi, params.Dlazy = 6, 5, 12, 6
	params.GossipFactor = 0.1 // offers are refreshed, and sync heals what is missed
	params.HistoryGossip = 2
	params.HeartbeatInterval = time.Second
	opts := []pubsub.Option{
		pubsub.WithGossipSubParams(params),
		pubsub.WithPeerScore(scoreParams(), scoreThresholds()),
		pubsub.WithFloodPublish(true), // a few hostile neighbours in the mesh cannot hide our own offers
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(maxRPCBytes),
		pubsub.WithMaxControlMessageSize(maxControlBytes),
		pubsub.WithValidateQueueSize(gossipQueue),
		pubsub.WithPeerOutboundQueueSize(gossipQueue),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(
			pubsub.NewAllowlistSubscriptionFilter(gossipTopics()...), maxSubscriptions)),
	}
	if g.cfg.Tracer != nil {
		opts = append(opts, pubsub.WithRawTracer(g.cfg.Tracer))
	}
	return opts
}

// scoreParams lets a peer's score fall by invalid messages (P4) and by broken
// protocol (P7), and never rise: silence is normal on quiet topics, so there is
// no penalty for it (P3), and no credit can be saved up for an attack (P1, P2).
// The resource manager, not P6, caps the connections of one address.
func scoreParams() *pubsub.PeerScoreParams {
	const decayEvery = 10 * time.Second
	topics := map[string]*pubsub.TopicScoreParams{}
	for _, name := range gossipTopics() {
		topics[name] = &pubsub.TopicScoreParams{
			SkipAtomicValidation:           true,
			TopicWeight:                    1,
			TimeInMeshQuantum:              time.Second,
			InvalidMessageDeliveriesWeight: -10, // times the square of their number
			InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecayWithBase(time.Hour, decayEvery, 0.01),
		}
	}
	return &pubsub.PeerScoreParams{
		SkipAtomicValidation:      true,
		Topics:                    topics,
		AppSpecificScore:          func(peer.ID) float64 { return 0 },
		BehaviourPenaltyWeight:    -10,
		BehaviourPenaltyThreshold: 6,
		BehaviourPenaltyDecay:     pubsub.ScoreParameterDecayWithBase(10*time.Minute, decayEvery, 0.01),
		DecayInterval:             decayEvery,
		DecayToZero:               0.01,
		RetainScore:               time.Hour, // so that to reconnect does not wash it off
	}
}

// scoreThresholds: after a second invalid message on a topic a peer gets no
// gossip, after a third nothing it says is read.
func scoreThresholds() *pubsub.PeerScoreThresholds {
	return &pubsub.PeerScoreThresholds{GossipThreshold: -20, PublishThreshold: -39, GraylistThreshold: -80}
}
