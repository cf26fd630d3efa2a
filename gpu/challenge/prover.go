package challenge

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Device computes the products of one challenge on one device, and keeps them all
// in that device's memory. Its methods are called one at a time.
type Device interface {
	// Multiply computes the product of the operands of a seed, keeps it as the
	// next round's, and returns the root of its tiles.
	Multiply(ctx context.Context, seed Hash) (root Hash, err error)
	// Recall hashes the tiles of every round that it keeps again, by [RecallHash],
	// and returns the roots by round.
	Recall(ctx context.Context, nonce Hash) (roots []Hash, err error)
	// Open returns a tile and its paths. It comes after Recall.
	Open(ctx context.Context, round, tile uint32) (Opening, error)
}

// Opening is a tile with its proofs.
type Opening struct {
	Tile   []byte // [TileBytes]
	Path   []Hash // to the root of its round
	Recall []Hash // to the round's root of the recall
}

// Prover answers one challenge with all of its devices at once: a device that
// stands for two is late.
type Prover struct {
	challenge Challenge
	devices   []Device
}

// NewProver takes a device for each id of a challenge, in its order.
func NewProver(c Challenge, devices []Device) (*Prover, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(devices) != len(c.Devices) {
		return nil, fmt.Errorf("challenge: %d devices are asked, %d answer", len(c.Devices), len(devices))
	}
	return &Prover{challenge: c, devices: devices}, nil
}

// each runs do for all devices at once.
func (p *Prover) each(ctx context.Context, do func(ctx context.Context, device int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, id := range p.challenge.Devices {
		g.Go(func() error {
			if err := do(ctx, i); err != nil {
				return fmt.Errorf("challenge: device %s: %w", id, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Commit computes every round and returns its roots, by device and round.
func (p *Prover) Commit(ctx context.Context) ([][]Hash, error) {
	roots := make([][]Hash, len(p.devices))
	err := p.each(ctx, func(ctx context.Context, i int) error {
		var before Hash
		for round := range p.challenge.Rounds {
			root, err := p.devices[i].Multiply(ctx, p.challenge.Seed(p.challenge.Devices[i], round, before))
			if err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
			roots[i], before = append(roots[i], root), root
		}
		return nil
	})
	return roots, err
}

// Recall hashes all that the devices keep, with a nonce that was not known before,
// and returns the roots by device and round.
func (p *Prover) Recall(ctx context.Context, nonce Hash) ([][]Hash, error) {
	roots := make([][]Hash, len(p.devices))
	err := p.each(ctx, func(ctx context.Context, i int) (err error) {
		roots[i], err = p.devices[i].Recall(ctx, nonce)
		return err
	})
	return roots, err
}

// Open returns the tiles at some places, with their proofs.
func (p *Prover) Open(ctx context.Context, places []Place) ([]Opening, error) {
	openings := make([]Opening, len(places))
	for _, at := range places {
		if err := p.challenge.check(at); err != nil {
			return nil, err
		}
	}
	err := p.each(ctx, func(ctx context.Context, i int) (err error) {
		for k, at := range places {
			if at.Device != uint32(i) {
				continue
			}
			if openings[k], err = p.devices[i].Open(ctx, at.Round, at.Tile); err != nil {
				return fmt.Errorf("open tile %d of round %d: %w", at.Tile, at.Round, err)
			}
		}
		return nil
	})
	return openings, err
}
