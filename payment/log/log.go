// Package log keeps a node's append-only Merkle log of receipt digests, as C2SP
// tlog-tiles in plain files.
//
// A digest that [Log.Append] has returned an index for is on disk and covered by
// a signed checkpoint, and every later checkpoint is consistent with it. Entries
// and checkpoint are the truth; the tiles of hashes follow from them, and are
// made again where a crash or a disk has damaged them. Anyone with the node's
// key can verify a checkpoint, a proof and the files without this package.
package log

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"

	"github.com/souk-market/souk"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrCorrupt is returned when entries are lost or do not hash to the signed root.
	ErrCorrupt = errors.New("log is corrupt")
	// ErrBroken is returned after a failed write: what is on disk is then unknown
	// until the log is opened again.
	ErrBroken = errors.New("log is broken until it is opened again")
	// ErrRange is returned for an index or size past what the log has.
	ErrRange = errors.New("not in the log")
	// ErrCheckpoint is returned for a note that is not a checkpoint of the
	// expected log, signed with its key.
	ErrCheckpoint = errors.New("not a valid checkpoint")
	// ErrProof is returned for a proof that does not lead to the root.
	ErrProof = errors.New("proof does not hold")
)

// Config holds what a [Log] needs.
type Config struct {
	Dir    string             // belongs to this log alone; made if it is not there
	Origin string             // the log's name, souk/ and the peer id; neither space nor plus
	Key    ed25519.PrivateKey // signs checkpoints
	Room   func() error       // why nothing may be written now, or nil; default: there is always room
	Log    *slog.Logger       // default: discarded
}

// Log is safe for concurrent use. It keeps about 60 bytes of memory for each
// entry, to find it by its digest.
type Log struct {
	disk   disk
	room   func() error
	signer note.Signer
	origin string
	log    *slog.Logger

	queueMu sync.Mutex // guards queue
	queue   []*request
	writing chan struct{} // holds one token; who has it writes all that is queued

	mu         sync.RWMutex // guards all below; changed only by who is writing
	tree       tree
	checkpoint []byte
	index      map[souk.Digest]uint64
	broken     error
}

// request is what one Append waits for.
type request struct {
	digests []souk.Digest
	indices []uint64
	err     error
	done    chan struct{}
}

// Open reads the log in c.Dir, or starts an empty one, and verifies every entry
// against the signed root. What a crash left beyond the checkpoint is removed:
// no Append had returned for it. The errors are [ErrCorrupt], [ErrCheckpoint]
// and those of the file system.
func Open(c Config) (*Log, error) {
	if c.Dir == "" || len(c.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("open log: no directory or no key")
	}
	signer, err := newSigner(c.Origin, c.Key)
	if err != nil {
		return nil, fmt.Errorf("open log: origin %q: %w", c.Origin, err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Room == nil {
		c.Room = func() error { return nil }
	}
	l := &Log{
		disk:    disk{dir: c.Dir},
		room:    c.Room,
		signer:  signer,
		origin:  c.Origin,
		log:     c.Log,
		writing: make(chan struct{}, 1),
		index:   make(map[souk.Digest]uint64),
	}
	if err := l.restore(souk.NodeKey(c.Key.Public().(ed25519.PublicKey))); err != nil {
		return nil, fmt.Errorf("open log %s: %w", c.Dir, err)
	}
	l.log.Info("log opened", "origin", c.Origin, "size", l.tree.size)
	return l, nil
}

// Append adds digests that the log does not have and returns the index of each,
// the old one where it was there already. It returns once they are durable and a
// checkpoint covers them. Appends that run at once share one checkpoint. The
// errors are [ErrBroken], that of Config.Room, and ctx's; after ctx's they may yet be appended.
func (l *Log) Append(ctx context.Context, ds ...souk.Digest) ([]uint64, error) {
	r := &request{digests: ds, done: make(chan struct{})}
	l.queueMu.Lock()
	l.queue = append(l.queue, r)
	l.queueMu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("append to log: %w", ctx.Err())
	case l.writing <- struct{}{}:
		l.writeQueue()
		<-l.writing
		<-r.done // it was queued before, so this or an earlier turn has answered it
	}
	if r.err != nil {
		return nil, fmt.Errorf("append to log: %w", r.err)
	}
	return r.indices, nil
}

// writeQueue appends all that waits and answers it. The caller has the token.
func (l *Log) writeQueue() {
	runtime.Gosched() // whoever is about to append gets into this turn: the disk takes as long for many as for one
	l.queueMu.Lock()
	rs := l.queue
	l.queue = nil
	l.queueMu.Unlock()
	if len(rs) == 0 {
		return
	}
	err := l.write(rs)
	for _, r := range rs {
		r.err = err
		close(r.done)
	}
}

// write gives each request its indices and makes them durable.
func (l *Log) write(rs []*request) error {
	if l.broken != nil { // only the writer sets it
		return l.broken
	}
	next := l.tree.clone()
	added := make(map[souk.Digest]uint64)
	var files []file
	for _, r := range rs {
		for _, d := range r.digests {
			i, ok := l.index[d]
			if !ok {
				i, ok = added[d]
			}
			if !ok {
				i = next.size
				added[d] = i
				files = append(files, next.push(d)...)
			}
			r.indices = append(r.indices, i)
		}
	}
	if len(added) == 0 {
		return nil
	}
	if err := l.room(); err != nil { // before anything is written: the log is as it was
		return err
	}
	files = append(files, next.partials(l.tree.size)...)
	checkpoint, err := sign(l.signer, Checkpoint{l.origin, next.size, next.root()})
	if err == nil {
		err = l.disk.commit(files, checkpoint)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrBroken, err)
		l.log.Error("log is broken", "err", err)
	}
	l.mu.Lock()
	if l.broken = err; err == nil {
		l.tree, l.checkpoint = next, checkpoint
		maps.Copy(l.index, added)
	}
	l.mu.Unlock()
	if err == nil {
		l.disk.dropPartials(files)
	}
	return err
}

// Index is where d is in the log, if it is.
func (l *Log) Index(d souk.Digest) (uint64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i, ok := l.index[d]
	return i, ok
}

// Size is the number of entries.
func (l *Log) Size() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tree.size
}

// Checkpoint is the latest signed checkpoint, which covers all entries. It must
// not be changed.
func (l *Log) Checkpoint() []byte {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.checkpoint
}

// Inclusion proves that entry index is in the log's first size entries. The
// error is [ErrRange] or the file system's.
func (l *Log) Inclusion(index, size uint64) ([]souk.Digest, error) {
	if n := l.Size(); index >= size || size > n {
		return nil, fmt.Errorf("prove entry %d of %d, log has %d: %w", index, size, n, ErrRange)
	}
	p, err := tlog.ProveRecord(int64(size), int64(index), tlog.HashReaderFunc(l.readHashes))
	if err != nil {
		return nil, fmt.Errorf("prove entry %d of %d: %w", index, size, err)
	}
	return digests(p), nil
}

// Consistency proves that the log's first old entries are a prefix of its first
// size. The proof is empty where old is 0 or size. The error is [ErrRange] or the
// file system's.
func (l *Log) Consistency(old, size uint64) ([]souk.Digest, error) {
	if n := l.Size(); old > size || size > n {
		return nil, fmt.Errorf("prove %d in %d, log has %d: %w", old, size, n, ErrRange)
	}
	if old == 0 || old == size {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(size), int64(old), tlog.HashReaderFunc(l.readHashes))
	if err != nil {
		return nil, fmt.Errorf("prove %d in %d: %w", old, size, err)
	}
	return digests(p), nil
}

// readHashes reads subtree hashes out of tiles, as a [tlog.HashReader] does.
func (l *Log) readHashes(stored []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(stored))
	for i, s := range stored {
		t := tlog.TileForIndex(tileHeight, s)
		data, err := l.tile(tileID{level: t.L, n: uint64(t.N), width: t.W})
		if err != nil {
			return nil, err
		}
		if hashes[i], err = tlog.HashFromTile(t, data, s); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// tile returns a tile of hashes or a bundle of entries, if the log is large
// enough to have it. The error is [ErrRange] or the file system's.
func (l *Log) tile(id tileID) ([]byte, error) {
	l.mu.RLock()
	have := l.tree.width(id)
	edge := l.tree.edge(id, have)
	l.mu.RUnlock()
	if id.width < 1 || id.width > have {
		return nil, fmt.Errorf("%s: %w", id.path(), ErrRange)
	}
	size := id.width * id.unit()
	if edge != nil {
		return edge[:size], nil
	}
	id.width = tileWidth
	data, err := l.disk.read(id.path())
	if err != nil {
		return nil, err
	}
	if len(data) != tileWidth*id.unit() {
		return nil, fmt.Errorf("%s has %d bytes: %w", id.path(), len(data), ErrCorrupt)
	}
	return data[:size], nil
}

func digests(p []tlog.Hash) []souk.Digest {
	ds := make([]souk.Digest, len(p))
	for i, h := range p {
		ds[i] = souk.Digest(h)
	}
	return ds
}
