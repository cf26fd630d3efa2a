// Package badger keeps keys and values in a Badger database opened the safe way.
//
// What Update has returned nil for survives a crash of the process and a loss of
// power, on file systems that honour msync (ext4, XFS). Checksums are on and are
// verified when the database opens. Writing stops before the disk is full,
// because Badger writes through memory maps and dies of SIGBUS when the disk is.
// After a failed write the store refuses every other one: pages that failed to
// sync are marked clean, so only a new process can learn what is on the disk.
package badger

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/storage"
)

// Config holds what a [Store] needs. A field without a default is required.
type Config struct {
	Dir       string       // made if it is missing, with mode 0700; one process at a time
	MemTable  int64        // bytes of one memory table, at least 4 MiB; default 8 MiB
	FreeFloor uint64       // bytes that must be free on the disk for a write; default 256 MiB
	NoSync    bool         // a loss of power may take the last writes along; for what can be made again
	Log       *slog.Logger // Badger's own log, at debug; default: discarded
}

const (
	minMemTable      = 4 << 20
	defaultMemTable  = 8 << 20
	defaultFreeFloor = 256 << 20
	// The value log is never written to (see valueThreshold), so it is kept as
	// small as Badger allows: its file is mapped at twice this size.
	valueLogFile = 1 << 20
	// Values stay in the tree: no pointers that a crash can leave hanging, and
	// no garbage to collect. Anything storage.Txn takes is below it.
	valueThreshold = storage.MaxValueBytes + 1
)

var (
	// ErrLowDisk is returned while less than the floor is free; nothing was written.
	ErrLowDisk error = &souk.Error{Code: souk.CodeState, Err: errors.New("too little free space on the disk")}
	// ErrBroken is returned for every write after one failed on the disk.
	ErrBroken = errors.New("a write to the disk failed before; restart to find out what is on it")
	// ErrLocked is returned by [Open] while another process has the directory.
	ErrLocked = errors.New("another souk daemon has this home open")
)

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	db    *badger.DB
	dir   string
	floor uint64

	// One writer at a time. Badger detects conflicts between keys, but not
	// between ranges: two transactions that sum a prefix and insert into it
	// would both commit.
	writer sync.Mutex
	broken atomic.Pointer[error] // the first failed commit

	mu      sync.Mutex // guards closed, and that running grows only before it
	closed  bool
	running sync.WaitGroup // transactions that Close waits for
}

// Open opens or makes the database in c.Dir and verifies all its checksums.
func Open(c Config) (*Store, error) {
	if c.Dir == "" {
		return nil, errors.New("open badger: no directory given")
	}
	if c.MemTable == 0 {
		c.MemTable = defaultMemTable
	}
	if c.MemTable < minMemTable || c.MemTable > math.MaxInt32/2 {
		return nil, fmt.Errorf("open badger: a memory table of %d bytes is out of range", c.MemTable)
	}
	if c.FreeFloor == 0 {
		c.FreeFloor = defaultFreeFloor
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := open(c)
	if err != nil {
		return nil, fmt.Errorf("open badger %s: %w", c.Dir, err)
	}
	return s, nil
}

func open(c Config) (*Store, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{dir: c.Dir, floor: c.FreeFloor}
	// Opening maps new files, so it can die of a full disk just as writing can.
	if err := s.Room(); err != nil {
		return nil, err
	}
	// Badger tells of a held lock only in prose. This look is for the message;
	// what protects the data is Badger's own lock.
	if held, err := locked(c.Dir); err != nil {
		return nil, err
	} else if held {
		return nil, ErrLocked
	}
	if err := check(c.Dir); err != nil {
		return nil, err
	}
	db, err := openChecked(settings(c))
	if err != nil {
		return nil, err
	}
	if err := checkStrays(c.Dir, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.db = db
	return s, nil
}

// openChecked opens a database whose tables are whole. Over other damage Badger
// may panic; that is an error like any other.
func openChecked(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(o.Dir, fmt.Errorf("%v", p))
		}
	}()
	return badger.Open(o)
}

// settings says where we part from Badger's defaults, and why.
func settings(c Config) badger.Options {
	return badger.DefaultOptions(c.Dir).
		WithSyncWrites(!c.NoSync). // the default loses acknowledged writes with the power
		WithDetectConflicts(true).
		// The default is to check nothing. OnTableAndBlockRead would check each
		// table as it is opened, in goroutines of Badger's that panic over damage
		// and take the process along; check does that part before.
		WithChecksumVerificationMode(options.OnBlockRead).
		WithVerifyValueChecksum(true).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLogFile).
		WithMemTableSize(c.MemTable). // its log is mapped at twice the size
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithCompression(options.None). // small values; spares the block cache
		WithBlockCacheSize(0).
		WithMetricsEnabled(false). // they are global to the process
		WithLogger(logger{c.Log})
}

// locked tells whether another process has the lock that Badger takes on dir.
func locked(dir string) (bool, error) {
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close() // releases the lock again
	err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// Room returns [ErrLowDisk] if less than the floor is free, for callers that
// write other files beside the database.
func (s *Store) Room() error {
	free, err := freeSpace(s.dir)
	if err == nil && free < s.floor {
		err = fmt.Errorf("%w: %s has %s free, of %s needed: free %s", ErrLowDisk, s.dir,
			souk.FormatSize(free), souk.FormatSize(s.floor), souk.FormatSize(s.floor-free))
	}
	return err
}

func freeSpace(dir string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// Update runs fn in a transaction that commits if fn returns nil, and has no
// effect otherwise. When Update returns nil the writes are on the disk, unless
// the store was opened with NoSync. Updates
// run one at a time; a transaction holds at most 15 % of a memory table.
func (s *Store) Update(fn func(storage.Txn) error) error {
	if err := s.enter(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	defer s.running.Done()
	s.writer.Lock()
	defer s.writer.Unlock()
	if cause := s.broken.Load(); cause != nil {
		return fmt.Errorf("update: %w (%w)", ErrBroken, *cause)
	}
	if err := s.Room(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	btx := s.db.NewTransaction(true)
	defer btx.Discard()
	t := &txn{btx: btx, writable: true}
	defer t.end()
	if err := fn(t); err != nil {
		return err
	}
	if t.err != nil {
		return fmt.Errorf("update: %w", t.err)
	}
	if err := btx.Commit(); err != nil {
		s.broken.Store(&err)
		return fmt.Errorf("update: commit: %w", err)
	}
	return nil
}

// View runs fn on a snapshot. Any number of views run at once, beside an Update too.
func (s *Store) View(fn func(storage.Txn) error) error {
	if err := s.enter(); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	defer s.running.Done()
	btx := s.db.NewTransaction(false)
	defer btx.Discard()
	t := &txn{btx: btx}
	defer t.end()
	return fn(t)
}

// enter counts a transaction in, until running.Done.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.running.Add(1)
	return nil
}

// Close waits for the transactions that run, and ends the store. It must not be
// called from inside one. On a disk that is fuller than a quarter of the floor it
// leaves the database as a crash would, for the next [Open]: to write its logs
// into tables could end the process.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	s.running.Wait()
	if free, err := freeSpace(s.dir); err == nil && free < s.floor/4 {
		return nil
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close badger %s: %w", s.dir, err)
	}
	return nil
}

// logger hands Badger's log to slog. All of it is for developers, hence debug:
// what a person must act on comes back as an error.
type logger struct{ log *slog.Logger }

func (l logger) Errorf(f string, a ...any) {
	l.log.Debug("badger: "+fmt.Sprintf(f, a...), "severity", "error")
}
func (l logger) Warningf(f string, a ...any) {
	l.log.Debug("badger: "+fmt.Sprintf(f, a...), "severity", "warning")
}
func (l logger) Infof(f string, a ...any)  { l.log.Debug("badger: " + fmt.Sprintf(f, a...)) }
func (l logger) Debugf(f string, a ...any) { l.log.Debug("badger: " + fmt.Sprintf(f, a...)) }
