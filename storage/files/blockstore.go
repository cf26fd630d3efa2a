package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/storage"
)

// ErrHash is returned for a block that is not what its hash says.
var ErrHash = errors.New("block does not match its hash")

// store is what a blockstore needs of a key-value store.
type store interface {
	Update(fn func(storage.Txn) error) error
	View(fn func(storage.Txn) error) error
}

// blockstore keeps blocks by their SHA-256. A block is cut into parts that stay
// in Badger's tree, away from its value log: a value log would be written once
// instead of once a level, but after a loss of power its pointers may hang, and
// what is deleted would have to be collected by rewriting it. Beside the parts
// lies the block's size, so that asking for it reads no data.
type blockstore struct{ db store }

// partBytes is the most that one key holds of a block.
const partBytes = storage.MaxValueBytes

// batchBytes is how much one transaction writes; memTable allows for one
// largest block more.
const batchBytes = 1 << 20

// verify checks block against the hash in c.
func verify(c cid.Cid, block []byte) error {
	if sha256.Sum256(block) != digest(c) {
		return fmt.Errorf("%s: %w", c, ErrHash)
	}
	return nil
}

func sizeKey(c cid.Cid) []byte {
	d := digest(c)
	return append([]byte{'s'}, d[:]...)
}

func partKey(c cid.Cid, part int) []byte {
	d := digest(c)
	return append(append([]byte{'b'}, d[:]...), byte(part))
}

// size returns how long a block is, or false if it is not here.
func (b *blockstore) size(c cid.Cid) (n uint64, ok bool, err error) {
	if err := check(c); err != nil {
		return 0, false, err
	}
	err = b.db.View(func(tx storage.Txn) error {
		n, ok, err = sizeIn(tx, c)
		return err
	})
	return n, ok, err
}

// nothing is the hash of the empty block, which is always here: it needs no
// fetching, and boxo's server takes its size for a sign that it is missing.
var nothing = souk.Digest(sha256.Sum256(nil))

func sizeIn(tx storage.Txn, c cid.Cid) (uint64, bool, error) {
	if digest(c) == nothing {
		return 0, true, nil
	}
	v, err := tx.Get(sizeKey(c))
	if v == nil || err != nil {
		return 0, false, err
	}
	n, read := binary.Uvarint(v)
	if read <= 0 || n > MaxBlockBytes {
		return 0, false, fmt.Errorf("size of block %s: %w", c, ErrHash)
	}
	return n, true, nil
}

// get returns a block, unchecked, or nil if it is not here.
func (b *blockstore) get(c cid.Cid) (block []byte, err error) {
	if err := check(c); err != nil {
		return nil, err
	}
	err = b.db.View(func(tx storage.Txn) error {
		n, ok, err := sizeIn(tx, c)
		if !ok || err != nil {
			return err
		}
		block = []byte{}
		for part := 0; uint64(len(block)) < n; part++ {
			v, err := tx.Get(partKey(c, part))
			if err != nil {
				return err
			}
			if len(v) == 0 {
				return fmt.Errorf("part %d of block %s: %w", part, c, ErrHash)
			}
			if part == 0 && uint64(len(v)) == n {
				block = v // the usual case: one part, no second copy
				return nil
			}
			block = append(block, v...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return block, nil
}

// put keeps blocks that match their hashes, in few transactions.
func (b *blockstore) put(bs []blocks.Block) error {
	for len(bs) > 0 {
		n, size := 0, 0
		for n < len(bs) && (n == 0 || size+len(bs[n].RawData()) <= batchBytes) && n < 1024 {
			size += len(bs[n].RawData())
			n++
		}
		err := b.db.Update(func(tx storage.Txn) error {
			for _, block := range bs[:n] {
				if err := putIn(tx, block.Cid(), block.RawData()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("keep blocks: %w", err)
		}
		bs = bs[n:]
	}
	return nil
}

func putIn(tx storage.Txn, c cid.Cid, block []byte) error {
	if err := check(c); err != nil {
		return err
	}
	if len(block) > MaxBlockBytes {
		return &LimitError{What: "bytes in one block", Max: MaxBlockBytes}
	}
	if _, here, err := sizeIn(tx, c); here || err != nil {
		return err
	}
	n := binary.AppendUvarint(nil, uint64(len(block)))
	for part := 0; len(block) > 0; part++ {
		cut := min(len(block), partBytes)
		if err := tx.Set(partKey(c, part), block[:cut]); err != nil {
			return err
		}
		block = block[cut:]
	}
	return tx.Set(sizeKey(c), n)
}

// The rest is what bitswap's server asks of a block store.

// Has tells whether a block is here.
func (b *blockstore) Has(_ context.Context, c cid.Cid) (bool, error) {
	_, ok, err := b.size(c)
	return ok, err
}

// Get returns a block; it is the receiver that checks the hash.
func (b *blockstore) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	block, err := b.get(c)
	if err != nil {
		return nil, err
	}
	if block == nil {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	return blocks.NewBlockWithCid(block, c)
}

// GetSize returns how long a block is.
func (b *blockstore) GetSize(_ context.Context, c cid.Cid) (int, error) {
	n, ok, err := b.size(c)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, ipld.ErrNotFound{Cid: c}
	}
	return int(n), nil
}

// Put keeps one block.
func (b *blockstore) Put(_ context.Context, block blocks.Block) error {
	return b.put([]blocks.Block{block})
}

// PutMany keeps blocks.
func (b *blockstore) PutMany(_ context.Context, bs []blocks.Block) error { return b.put(bs) }

// DeleteBlock forgets a block.
func (b *blockstore) DeleteBlock(_ context.Context, c cid.Cid) error {
	if err := check(c); err != nil {
		return err
	}
	return b.db.Update(func(tx storage.Txn) error {
		n, ok, err := sizeIn(tx, c)
		if !ok || err != nil {
			return err
		}
		for part := range (n + partBytes - 1) / partBytes {
			if err := tx.Delete(partKey(c, int(part))); err != nil {
				return err
			}
		}
		return tx.Delete(sizeKey(c))
	})
}

// AllKeysChan is for garbage collectors and filters, of which we have none.
func (b *blockstore) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, errors.ErrUnsupported
}
