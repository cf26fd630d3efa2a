package files

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/boxo/ipld/merkledag"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// builder is what boxo's importer writes nodes to. It gathers blocks, so that a
// transaction holds more than one; flush ends it. One goroutine owns it.
type builder struct {
	to    *blockstore
	batch []blocks.Block
	size  int
}

// Add takes one node.
func (b *builder) Add(ctx context.Context, n ipld.Node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.batch = append(b.batch, n)
	if b.size += len(n.RawData()); b.size < batchBytes {
		return nil
	}
	return b.flush()
}

// AddMany takes nodes.
func (b *builder) AddMany(ctx context.Context, ns []ipld.Node) error {
	for _, n := range ns {
		if err := b.Add(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) flush() error {
	err := b.to.put(b.batch)
	clear(b.batch)
	b.batch, b.size = b.batch[:0], 0
	return err
}

// Get returns a node that is here or was just added: boxo's folders read back
// the shards that they wrote.
func (b *builder) Get(_ context.Context, c cid.Cid) (ipld.Node, error) {
	if err := b.flush(); err != nil {
		return nil, err
	}
	block, err := b.to.read(c)
	if errors.Is(err, ErrMissing) {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	if err != nil {
		return nil, err
	}
	return toNode(c, block)
}

func toNode(c cid.Cid, block []byte) (ipld.Node, error) {
	b, err := blocks.NewBlockWithCid(block, c)
	if err != nil {
		return nil, err
	}
	if c.Prefix().Codec == cid.Raw {
		return merkledag.DecodeRawBlock(b)
	}
	return merkledag.DecodeProtobufBlock(b)
}

// GetMany returns nodes, all at once.
func (b *builder) GetMany(ctx context.Context, cs []cid.Cid) <-chan *ipld.NodeOption {
	out := make(chan *ipld.NodeOption, len(cs))
	for _, c := range cs {
		n, err := b.Get(ctx, c)
		out <- &ipld.NodeOption{Node: n, Err: err}
	}
	close(out)
	return out
}

// Remove keeps the block: it may be part of another file.
func (b *builder) Remove(context.Context, cid.Cid) error { return nil }

// RemoveMany keeps the blocks.
func (b *builder) RemoveMany(context.Context, []cid.Cid) error { return nil }

// load returns the node of something that is here already, to be linked to.
func (b *builder) load(c cid.Cid) (ipld.Node, error) {
	block, err := b.to.read(c)
	if err != nil {
		return nil, err
	}
	if _, err := decode(c, block, expect{role: roleEntry}); err != nil {
		return nil, err
	}
	n, err := toNode(c, block)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (%w)", c, ErrMalformed, err)
	}
	return n, nil
}
