// Package reference computes a challenge on the processor, in plain Go: slowly, and
// in the bytes that every other device must give.
//
// It is for tests and for small sizes. What it proves is that a peer has a
// processor and some memory.
package reference

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/souk-market/souk/gpu/challenge"
)

// Device implements [challenge.Device].
type Device struct {
	challenge challenge.Challenge
	rounds    [][][]byte // tiles by round
	trees     []*challenge.Tree
	recalled  []*challenge.Tree
}

// New returns a device for one challenge.
func New(c challenge.Challenge) *Device { return &Device{challenge: c} }

// Multiply implements [challenge.Device].
func (d *Device) Multiply(ctx context.Context, seed challenge.Hash) (challenge.Hash, error) {
	tiles := make([][]byte, d.challenge.Tiles())
	leaves := make([]challenge.Hash, len(tiles))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range tiles {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			tiles[i] = challenge.Multiply(d.challenge, seed, uint32(i))
			leaves[i] = challenge.LeafHash(tiles[i])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return challenge.Hash{}, err
	}
	tree, err := challenge.NewTree(leaves)
	if err != nil {
		return challenge.Hash{}, err
	}
	d.rounds, d.trees = append(d.rounds, tiles), append(d.trees, tree)
	return tree.Root()
}

// Recall implements [challenge.Device].
func (d *Device) Recall(_ context.Context, nonce challenge.Hash) ([]challenge.Hash, error) {
	roots := make([]challenge.Hash, len(d.rounds))
	d.recalled = d.recalled[:0]
	for round, tiles := range d.rounds {
		leaves := make([]challenge.Hash, len(tiles))
		for i, tile := range tiles {
			leaves[i] = challenge.RecallHash(nonce, tile)
		}
		tree, err := challenge.NewTree(leaves)
		if err != nil {
			return nil, err
		}
		d.recalled = append(d.recalled, tree)
		if roots[round], err = tree.Root(); err != nil {
			return nil, err
		}
	}
	return roots, nil
}

// Open implements [challenge.Device].
func (d *Device) Open(_ context.Context, round, tile uint32) (o challenge.Opening, err error) {
	if round >= uint32(len(d.recalled)) || tile >= d.challenge.Tiles() {
		return o, fmt.Errorf("tile %d of round %d is not there", tile, round)
	}
	o.Tile = d.rounds[round][tile]
	if o.Path, err = d.trees[round].Path(tile); err == nil {
		o.Recall, err = d.recalled[round].Path(tile)
	}
	return o, err
}
