package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/proof"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
	"golang.org/x/sync/errgroup"
)

// Provers computes challenges on this machine's devices.
type Provers interface {
	// Backend names what computes on a device. The error is why it cannot be measured,
	// which is no fault of it.
	Backend(gpu.Device) (string, error)
	// Start makes a device ready for a challenge. Closing what it returns gives all of
	// the device's memory back.
	Start(ctx context.Context, c challenge.Challenge, d gpu.Device) (ProvingDevice, error)
}

// ProvingDevice is a device that computes a challenge.
type ProvingDevice interface {
	challenge.Device
	Close() error
}

// ChallengeRates bound what challenges cost an owner: each is energy that nobody pays.
type ChallengeRates struct {
	Every    time.Duration // pause in which a challenger earns one more; default 5m
	Burst    int           // of one challenger at once; default 3
	AllEvery time.Duration // the same, of all challengers together; default 1m
	AllBurst int           // default 10
}

const (
	maxChallengers = 4096            // whose rate is remembered
	challengeHold  = 5 * time.Minute // for which devices are kept at most, whatever a challenger does
	proving        = "challenge"     // what the floor keeps devices for
)

// ServeChallenge proves the idle devices of a class to whoever asks, one challenge at
// a time. No lease and no bid is disturbed, and the devices are on sale again when it
// returns.
func (p *Provider) ServeChallenge(ctx context.Context, s p2pnet.Stream) error {
	a, refused, err := proof.Answer(s, p.key, time.Now(), p.cfg.Times)
	if err != nil {
		return err
	}
	if key, err := network.PeerKey(s.Conn().RemotePeer()); refused == nil && (err != nil || key != a.Request().Challenger) {
		refused = malformed("the challenge is not from you")
	}
	if refused == nil {
		if refused = p.prove(ctx, a, &err); refused == nil {
			return err
		}
	}
	return a.Decline(p.decline(a.Subject(), refused))
}

// prove keeps the devices, has them answer, and gives them back. What went wrong on
// the stream is in failed.
func (p *Provider) prove(ctx context.Context, a *proof.Answering, failed *error) *market.Refusal {
	devices, backend, refused := p.keepForProof(time.Now(), a.Request())
	if refused != nil {
		return refused
	}
	ctx, cancel := context.WithTimeout(ctx, challengeHold)
	defer cancel()
	*failed = p.compute(ctx, a, devices, backend)
	p.mu.Lock()
	p.floor.Unkeep(proving)
	p.mu.Unlock()
	p.Changed()
	if *failed != nil {
		p.cfg.Log.Info("challenge not answered", "class", a.Request().Class, "err", *failed)
		return nil
	}
	e, err := a.Evidence()
	if err == nil {
		p.cfg.Log.Info("challenge answered", "class", e.Class, "devices", len(e.Devices), "proved", e.Proved())
	}
	*failed = err
	return nil
}

// keepForProof takes the idle devices of a class off sale.
func (p *Provider) keepForProof(now time.Time, r *proof.Request) (devices []gpu.Device, backend string, refused *market.Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return nil, "", draining("")
	}
	if p.cfg.Provers == nil {
		return nil, "", notMeasured(errors.New("this provider answers no challenges"))
	}
	has := slices.ContainsFunc(p.floorConfig().Devices, func(d scheduler.FloorDevice) bool { return d.Class == r.Class })
	if !has {
		return nil, "", &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_DEVICE, Shortfall: 1}
	}
	bid := p.bidden(now)
	ids := slices.DeleteFunc(p.floor.Idle(now, r.Class), func(id string) bool { return bid[id] })
	if len(ids) == 0 || p.floor.Keeps(now, proving) {
		return nil, "", &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_BUSY, Shortfall: 1, Detail: "a challenge disturbs no lease, no bid and no other challenge"}
	}
	for _, d := range p.devices {
		if !slices.Contains(ids, d.ID) {
			continue
		}
		by, err := p.cfg.Provers.Backend(d)
		if err != nil {
			return nil, "", notMeasured(err)
		}
		devices, backend = append(devices, d), by
	}
	wait := p.challengers.Allow(now, r.Challenger)
	if wait == 0 {
		wait = p.challenges.Allow(now, souk.NodeKey{})
	}
	if wait > 0 {
		return nil, "", &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_RATE, Shortfall: uint64(wait.Milliseconds()) + 1}
	}
	return devices, backend, p.floor.Keep(now, proving, ids, now.Add(challengeHold+time.Minute))
}

// bidden are the devices of bids that may still become leases: who has a bid comes
// before who challenges.
func (p *Provider) bidden(now time.Time) map[string]bool {
	devices := map[string]bool{}
	for _, b := range p.bids {
		if now.After(b.until.Add(bidFirm)) {
			continue
		}
		for _, id := range b.bid.Devices {
			devices[id] = true
		}
	}
	return devices
}

func notMeasured(why error) *market.Refusal {
	return &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_NOT_MEASURED, Detail: why.Error()}
}

// compute starts the devices, all at once, answers with them, and ends them.
func (p *Provider) compute(ctx context.Context, a *proof.Answering, devices []gpu.Device, backend string) (err error) {
	ids := make([]string, len(devices))
	for i, d := range devices {
		ids[i] = d.ID
	}
	started := make([]ProvingDevice, len(devices))
	g, gctx := errgroup.WithContext(ctx)
	for i, d := range devices {
		g.Go(func() (err error) {
			started[i], err = p.cfg.Provers.Start(gctx, a.Request().Terms(ids), d)
			return err
		})
	}
	err = g.Wait()
	if err != nil {
		err = a.Fail(fmt.Errorf("start: %w", err))
	} else {
		answering := make([]challenge.Device, len(started))
		for i, d := range started {
			answering[i] = d
		}
		err = a.Prove(ctx, ids, backend, answering)
	}
	for _, d := range started {
		if d != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return err
}
