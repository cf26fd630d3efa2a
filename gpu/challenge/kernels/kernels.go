// Package kernels computes a challenge on an accelerator, by the kernels of
// challenge.cl: the same source for every kind.
//
// What drives an accelerator is a small interface, [Accelerator]: package opencl
// implements it with a machine's OpenCL driver.
package kernels

import (
	"context"
	_ "embed" // the source of the kernels
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/souk-market/souk/gpu/challenge"
)

// Source is the kernels in OpenCL C 1.2.
//
//go:embed challenge.cl
var Source string

// Names are the kernels in [Source].
func Names() []string { return []string{"fill", "multiply", "multiply_half", "hash", "pair"} }

// Work that one launch may do, so that a card that also draws a screen stays
// responsive: about a tenth of a second on a small one.
const (
	groupItems  = 256     // work items of a group of multiply, as the source says
	fillItems   = 1 << 22 // blocks of 16 elements
	productWork = 1 << 36 // multiplications
	hashItems   = 1 << 12 // tiles
)

// Buffer is memory of an accelerator.
type Buffer any

// Accelerator runs kernels one after the other. Its methods are called one at a time.
type Accelerator interface {
	// Allocate takes memory until Close. Its content is not defined.
	Allocate(bytes uint64) (Buffer, error)
	// Launch runs a kernel over items work items, in groups of group, or of any size
	// where group is 0. Each argument is a Buffer or a uint32. It may return before
	// the kernel has ended; what it did wrong then is an error of a later call.
	Launch(kernel string, items, group uint32, args ...any) error
	// Read copies from memory, once what was launched has ended.
	Read(from Buffer, offset uint64, to []byte) error
	// Write copies into memory.
	Write(to Buffer, from []byte) error
}

// Device computes one challenge on an accelerator. It implements [challenge.Device].
// Its memory is that of the accelerator, which whoever made it closes.
type Device struct {
	challenge challenge.Challenge
	on        Accelerator
	a, b      Buffer // operands
	nonce     Buffer
	rounds    []round
}

// round is what stays of a product.
type round struct {
	tiles    Buffer
	nodes    Buffer // the tree of the commitment, the leaves first, the root last
	recalled Buffer // the tree of the recall
}

// New takes memory for the operands.
func New(c challenge.Challenge, on Accelerator) (*Device, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d := &Device{challenge: c, on: on}
	n := uint64(c.Size)
	for _, take := range []struct {
		to    *Buffer
		bytes uint64
	}{{&d.a, n * n}, {&d.b, n * n}, {&d.nonce, hashBytes}} {
		var err error
		if *take.to, err = on.Allocate(take.bytes); err != nil {
			return nil, err
		}
	}
	return d, nil
}

const hashBytes = uint64(len(challenge.Hash{}))

// Multiply implements [challenge.Device].
func (d *Device) Multiply(ctx context.Context, seed challenge.Hash) (root challenge.Hash, err error) {
	r, err := d.newRound()
	if err != nil {
		return root, err
	}
	if err := d.fill(seed); err != nil {
		return root, err
	}
	if err := d.multiply(ctx, r.tiles); err != nil {
		return root, err
	}
	if err := d.tree(ctx, r.tiles, r.nodes, 0); err != nil {
		return root, err
	}
	d.rounds = append(d.rounds, r)
	return d.root(r.nodes)
}

func (d *Device) newRound() (r round, err error) {
	tiles := uint64(d.challenge.Tiles())
	for _, take := range []struct {
		to    *Buffer
		bytes uint64
	}{{&r.tiles, tiles * challenge.TileBytes}, {&r.nodes, (2*tiles - 1) * hashBytes}, {&r.recalled, (2*tiles - 1) * hashBytes}} {
		if *take.to, err = d.on.Allocate(take.bytes); err != nil {
			return r, err
		}
	}
	return r, nil
}

// fill makes both operands.
func (d *Device) fill(seed challenge.Hash) error {
	words, narrow := d.challenge.Size/4, uint32(0)
	if d.challenge.Arithmetic == challenge.Half {
		narrow = 1
	}
	key0, key1, salt := binary.LittleEndian.Uint32(seed[0:]), binary.LittleEndian.Uint32(seed[4:]), binary.LittleEndian.Uint32(seed[8:])
	blocks := d.challenge.Size / 16 * d.challenge.Size
	for matrix, to := range []Buffer{d.a, d.b} {
		for first := uint32(0); first < blocks; first += fillItems {
			if err := d.on.Launch("fill", min(fillItems, blocks-first), 0, to, first, words, uint32(matrix), narrow, key0, key1, salt); err != nil {
				return err
			}
		}
	}
	return nil
}

// multiply makes the tiles of the product.
func (d *Device) multiply(ctx context.Context, to Buffer) error {
	kernel, n, tiles := "multiply", d.challenge.Size, d.challenge.Tiles()
	if d.challenge.Arithmetic == challenge.Half {
		kernel = "multiply_half"
	}
	at := uint32(max(1, productWork/(challenge.TileSide*challenge.TileSide*uint64(n))))
	for first := uint32(0); first < tiles; first += at {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.on.Launch(kernel, min(at, tiles-first)*groupItems, groupItems, d.a, d.b, to, first, n/4); err != nil {
			return err
		}
	}
	return nil
}

// tree makes the tree over the tiles of a product; withNonce is 1 for a recall.
func (d *Device) tree(ctx context.Context, tiles, nodes Buffer, withNonce uint32) error {
	count := d.challenge.Tiles()
	for first := uint32(0); first < count; first += hashItems {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.on.Launch("hash", min(hashItems, count-first), 0, tiles, nodes, d.nonce, withNonce, first); err != nil {
			return err
		}
	}
	for from, width := uint32(0), count; width > 1; width /= 2 {
		if err := d.on.Launch("pair", width/2, 0, nodes, from, from+width); err != nil {
			return err
		}
		from += width
	}
	return nil
}

// root reads the last node of a tree.
func (d *Device) root(nodes Buffer) (root challenge.Hash, err error) {
	return d.node(nodes, 2*d.challenge.Tiles()-2)
}

func (d *Device) node(nodes Buffer, index uint32) (h challenge.Hash, err error) {
	err = d.on.Read(nodes, uint64(index)*hashBytes, h[:])
	return h, err
}

// Recall implements [challenge.Device].
func (d *Device) Recall(ctx context.Context, nonce challenge.Hash) ([]challenge.Hash, error) {
	if err := d.on.Write(d.nonce, nonce[:]); err != nil {
		return nil, err
	}
	for _, r := range d.rounds {
		if err := d.tree(ctx, r.tiles, r.recalled, 1); err != nil {
			return nil, err
		}
	}
	roots := make([]challenge.Hash, len(d.rounds))
	for i, r := range d.rounds {
		var err error
		if roots[i], err = d.root(r.recalled); err != nil {
			return nil, err
		}
	}
	return roots, nil
}

// Open implements [challenge.Device].
func (d *Device) Open(_ context.Context, round, tile uint32) (o challenge.Opening, err error) {
	if round >= uint32(len(d.rounds)) || tile >= d.challenge.Tiles() {
		return o, fmt.Errorf("tile %d of round %d is not there", tile, round)
	}
	r := d.rounds[round]
	o.Tile = make([]byte, challenge.TileBytes)
	if err := d.on.Read(r.tiles, uint64(tile)*challenge.TileBytes, o.Tile); err != nil {
		return o, err
	}
	if o.Path, err = d.path(r.nodes, tile); err == nil {
		o.Recall, err = d.path(r.recalled, tile)
	}
	return o, err
}

// path reads the neighbours of the nodes between a leaf and the root.
func (d *Device) path(nodes Buffer, leaf uint32) ([]challenge.Hash, error) {
	width := d.challenge.Tiles()
	path := make([]challenge.Hash, 0, bits.Len32(width))
	for from, at := uint32(0), leaf; width > 1; width, at = width/2, at/2 {
		neighbour, err := d.node(nodes, from+(at^1))
		if err != nil {
			return nil, err
		}
		path = append(path, neighbour)
		from += width
	}
	return path, nil
}
