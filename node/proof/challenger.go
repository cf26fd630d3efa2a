package proof

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/ledger"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
	"github.com/souk-market/souk/proto/wire"
)

// Config holds what a [Challenger] needs. A field without a default is required.
type Config struct {
	Key    ed25519.PrivateKey // signs challenges and evidence
	Host   host.Host
	Dial   func(ctx context.Context, p peer.ID, addrs []string) (rtt time.Duration, err error)
	Ledger Store
	Times  Times // default: [DefaultTimes]
	Log    *slog.Logger
}

// Store keeps this node's evidence.
type Store interface {
	Commit(context.Context, ledger.Batch) error
	Scan(prefix string, fn func(key string, value []byte) error) error
}

// Challenger asks providers for proof, and keeps what came of it: the newest of each
// provider and class. Its methods may be called at once.
type Challenger struct {
	cfg Config
	key souk.NodeKey

	mu  sync.Mutex           // guards own
	own map[string]*Evidence // by provider and class
}

// NewChallenger reads what earlier challenges came to.
func NewChallenger(cfg Config) (*Challenger, error) {
	if cfg.Times == (Times{}) {
		cfg.Times = DefaultTimes()
	}
	c := &Challenger{cfg: cfg, key: souk.NodeKey(cfg.Key.Public().(ed25519.PublicKey)), own: map[string]*Evidence{}}
	err := cfg.Ledger.Scan(keyPrefix, func(key string, value []byte) error {
		e, err := OpenEvidence(value)
		if err != nil { // of a later version: it counts for a day, and is no reason to stand still
			cfg.Log.Warn("evidence is not understood", "record", key, "err", err)
			return nil
		}
		c.own[strings.TrimPrefix(key, keyPrefix)] = e
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return c, nil
}

// errSelf is a node that would be its own witness.
var errSelf = &souk.Error{Code: souk.CodeInvalid, Err: errors.New("a node's proof to itself shows nobody anything"), Fix: "challenge it from another node"}

const keyPrefix = "evidence/"

func nameOf(provider souk.NodeKey, class string) string { return provider.String() + "/" + class }

// Own is what this node's newest challenge of a provider's class came to; nil: it
// asked none.
func (c *Challenger) Own(provider souk.NodeKey, class string) *Evidence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own[nameOf(provider, class)]
}

// Challenge asks the provider of an offer, and keeps what comes of it. Where its
// devices were ready and did not do what was asked there is evidence beside the error.
// A *[market.Refusal] in the error says why the provider does not answer now: then
// nothing is known, and nothing kept. Progress is told each step.
func (c *Challenger) Challenge(ctx context.Context, o *market.Offer, plan Plan, progress func(step string)) (*Evidence, error) {
	to, err := network.PeerID(o.Provider)
	if err != nil {
		return nil, err
	}
	if o.Provider == c.key {
		return nil, errSelf
	}
	ctx, cancel := context.WithTimeout(ctx, Limits.Deadline)
	defer cancel()
	progress("connecting")
	if _, err := c.cfg.Dial(ctx, to, o.Addresses); err != nil {
		return nil, fmt.Errorf("challenge %s: %w", to, err)
	}
	st, release, err := network.OpenStream(ctx, c.cfg.Host, to, Protocol)
	if err != nil {
		return nil, fmt.Errorf("challenge %s: %w", to, err)
	}
	defer release()
	a, envelope, err := newAsking(st, c.cfg.Key, o.Provider, plan, c.cfg.Times, time.Now())
	if err != nil {
		return nil, fmt.Errorf("challenge %s: %w", to, err)
	}
	a.progress = progress
	said, err := a.run(ctx, envelope)
	if said == nil {
		return nil, fmt.Errorf("challenge %s: %w", to, errors.Join(ctx.Err(), err))
	}
	e, kept := c.keep(ctx, said)
	if kept != nil {
		return nil, kept
	}
	c.cfg.Log.Info("challenge", "peer", to, "class", plan.Class, "proved", e.Proved(), "err", err)
	if err != nil {
		return e, fmt.Errorf("challenge %s: %w", to, err)
	}
	// The provider may show it; who does not listen for it loses nothing but that.
	if a.frames.write(&challengev1.ToProvider{Frame: &challengev1.ToProvider_Evidence{Evidence: e.Envelope}}, c.cfg.Times.Turn) == nil {
		st.CloseWrite()
		st.SetReadDeadline(time.Now().Add(c.cfg.Times.Turn))
		_, _ = a.frames.buf.Peek(1) // until it has it
	}
	progress("done")
	return e, nil
}

// keep signs what came of a challenge and makes it durable.
func (c *Challenger) keep(ctx context.Context, said *challengev1.Evidence) (*Evidence, error) {
	envelope := wire.Seal(c.cfg.Key, souk.DomainEvidence, network.MustMarshal(said))
	e, err := OpenEvidence(envelope)
	if err != nil {
		return nil, err
	}
	name := nameOf(e.Provider, e.Class)
	if err := c.cfg.Ledger.Commit(ctx, ledger.Batch{Records: []ledger.Record{{Key: keyPrefix + name, Value: envelope}}}); err != nil {
		return nil, fmt.Errorf("keep evidence: %w", err)
	}
	c.mu.Lock()
	c.own[name] = e
	c.mu.Unlock()
	return e, nil
}
