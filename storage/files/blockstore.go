package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"

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
	Room() error // an error while the disk is too full to write
	Update(fn func(storage.Txn) error) error
	View(fn func(storage.Txn) error) error
}

// blockstore keeps blocks by their SHA-256. Small ones, and the size of each, are
// in a Badger database; large ones are plain files named by their hash. Inside
// Badger a large block would be rewritten at each level of its tree (a quarter
// of the speed), or lie in its value log, where a loss of power leaves pointers
// that hang and what is deleted is collected by rewriting. A file is written
// once, is gone when it is removed, and a full disk is an error and not a SIGBUS.
//
// A block is here when its size is: that comes last. Its bytes are checked
// against the hash by whoever reads them.
type blockstore struct {
	db   store
	dir  string        // of the large blocks
	sync bool          // large blocks are on the disk before their size is
	temp atomic.Uint64 // numbers the files that are being written
}

// inlineBytes is the largest block that is kept in the database: what a file of
// its own would waste on its last sector matters up to about here.
const inlineBytes = 16 << 10

// batchBytes is about how much is gathered before it is written.
const batchBytes = 1 << 20

// newBlockstore removes what a crash left half written.
func newBlockstore(db store, dir string, sync bool) (*blockstore, error) {
	b := &blockstore{db: db, dir: dir, sync: sync}
	if err := os.RemoveAll(b.tempDir()); err != nil {
		return nil, err
	}
	return b, os.MkdirAll(b.tempDir(), 0o700)
}

func (b *blockstore) tempDir() string { return filepath.Join(b.dir, "new") }

// path is where the bytes of a large block are.
func (b *blockstore) path(c cid.Cid) string {
	name := digest(c).String()
	return filepath.Join(b.dir, name[:2], name)
}

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

func dataKey(c cid.Cid) []byte {
	d := digest(c)
	return append([]byte{'b'}, d[:]...)
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

// nothing is the hash of the empty block, which is always here: to fetch it costs
// more than to know it, and not every peer can send it.
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

// get returns a block, unchecked, or nil if it is not here. A large one whose
// file is lost is ErrHash.
func (b *blockstore) get(c cid.Cid) (block []byte, err error) {
	if err := check(c); err != nil {
		return nil, err
	}
	var size uint64
	var here bool
	err = b.db.View(func(tx storage.Txn) error {
		if size, here, err = sizeIn(tx, c); err != nil || !here || size > inlineBytes {
			return err
		}
		block, err = tx.Get(dataKey(c))
		return err
	})
	if err != nil || !here {
		return nil, err
	}
	if size > inlineBytes {
		block, err = os.ReadFile(b.path(c))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil && uint64(len(block)) != size {
		err = fmt.Errorf("%d of %d bytes of %s: %w", len(block), size, c, ErrHash)
	}
	if err != nil {
		return nil, err
	}
	if block == nil {
		block = []byte{} // the empty block, of which nothing is kept
	}
	return block, nil
}

// read returns a block that is here, checked against its hash. One that was
// damaged on the disk is forgotten, so that it can be added or fetched again.
func (b *blockstore) read(c cid.Cid) ([]byte, error) {
	block, err := b.get(c)
	if err == nil && block == nil {
		return nil, fmt.Errorf("%s: %w", c, ErrMissing)
	}
	if err == nil {
		err = verify(c, block)
	}
	if errors.Is(err, ErrHash) {
		err = errors.Join(err, b.DeleteBlock(context.Background(), c))
	}
	if err != nil {
		return nil, err
	}
	return block, nil
}

// put keeps blocks that match their hashes. They are here together or, after an
// error, maybe in part.
func (b *blockstore) put(bs []blocks.Block) error {
	if err := b.db.Room(); err != nil {
		return fmt.Errorf("keep blocks: %w", err)
	}
	fresh, err := b.missing(bs)
	if err != nil {
		return fmt.Errorf("keep blocks: %w", err)
	}
	for _, block := range fresh {
		if len(block.RawData()) > inlineBytes {
			if err := b.write(block); err != nil {
				return fmt.Errorf("keep block %s: %w", block.Cid(), err)
			}
		}
	}
	// A transaction holds 15 % of a memory table: far more than this.
	for part := range slices.Chunk(fresh, batchBytes/2/inlineBytes) {
		err := b.db.Update(func(tx storage.Txn) error {
			for _, block := range part {
				if err := putIn(tx, block); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("keep blocks: %w", err)
		}
	}
	return nil
}

// missing returns those that are not here and may be.
func (b *blockstore) missing(bs []blocks.Block) (fresh []blocks.Block, err error) {
	err = b.db.View(func(tx storage.Txn) error {
		for _, block := range bs {
			if err := check(block.Cid()); err != nil {
				return err
			}
			if len(block.RawData()) > MaxBlockBytes {
				return &LimitError{What: "bytes in one block", Max: MaxBlockBytes}
			}
			_, here, err := sizeIn(tx, block.Cid())
			if err != nil {
				return err
			}
			if !here {
				fresh = append(fresh, block)
			}
		}
		return nil
	})
	return fresh, err
}

func putIn(tx storage.Txn, block blocks.Block) error {
	data := block.RawData()
	if len(data) <= inlineBytes {
		if err := tx.Set(dataKey(block.Cid()), data); err != nil {
			return err
		}
	}
	return tx.Set(sizeKey(block.Cid()), binary.AppendUvarint(nil, uint64(len(data))))
}

// write makes the file of a large block, under a name of its own first: two
// writers of one block, and a reader, do not disturb each other.
func (b *blockstore) write(block blocks.Block) error {
	part := filepath.Join(b.tempDir(), strconv.FormatUint(b.temp.Add(1), 10))
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(block.RawData())
	if err == nil && b.sync {
		err = out.Sync()
	}
	at := b.path(block.Cid())
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(part, at)
	}
	if errors.Is(err, fs.ErrNotExist) { // the first with these two digits
		if err = os.MkdirAll(filepath.Dir(at), 0o700); err == nil {
			err = os.Rename(part, at)
		}
	}
	if err == nil && b.sync {
		err = syncDir(filepath.Dir(at))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	return nil
}

// syncDir puts the names in a folder on the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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

// GetSize returns how long a block is, but 1 for the empty block: boxo's server
// takes 0 to mean that it asked for no size, and would never send the block.
func (b *blockstore) GetSize(_ context.Context, c cid.Cid) (int, error) {
	n, ok, err := b.size(c)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, ipld.ErrNotFound{Cid: c}
	}
	return max(int(n), 1), nil
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
	err := b.db.Update(func(tx storage.Txn) error {
		return errors.Join(tx.Delete(sizeKey(c)), tx.Delete(dataKey(c)))
	})
	if err != nil {
		return err
	}
	if err := os.Remove(b.path(c)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// AllKeysChan is for garbage collectors and filters, of which we have none.
func (b *blockstore) AllKeysChan(context.Context) (<-chan cid.Cid, error) {
	return nil, errors.ErrUnsupported
}
