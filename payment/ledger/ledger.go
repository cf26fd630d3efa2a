// Package ledger keeps a node's money in double entry, together with the records
// that must change with it: leases, receipts, vouchers.
//
// A batch that [Ledger.Commit] has returned nil for survives a power cut, all of
// it; one that failed has left nothing. Each transfer applies once, whatever is
// retried; debits equal credits; no floored account goes below zero. The journal
// is a chain of hashes, checked when the ledger is opened.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

var (
	// ErrConflict is returned for a transfer whose id was applied with other content.
	ErrConflict = errors.New("transfer id already applied with other content")
	// ErrBatch is returned for a batch that no ledger would take.
	ErrBatch = errors.New("bad batch")
	// ErrBroken is returned by every Commit after the store has failed: what is on
	// disk is then unknown until the ledger is opened again.
	ErrBroken = errors.New("ledger is broken until it is opened again")
	// ErrStopped is returned once Run has ended.
	ErrStopped = errors.New("ledger has stopped")
	// ErrCorrupt is returned when the journal does not add up.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrLost is returned when commits that were answered are not in the store.
	ErrLost = errors.New("commits are lost")
)

// FloorError is returned for a transfer that would take an account below zero.
type FloorError struct {
	Account Account
	Have    souk.Atoms // the balance before
	Need    souk.Atoms // what the transfer takes
}

func (e *FloorError) Error() string {
	return fmt.Sprintf("%s has %s, need %s", e.Account, e.Have, e.Need)
}

// Record is a value kept beside the journal. No value, nil or empty, deletes it.
type Record struct {
	Key   string // 1 to 512 bytes
	Value []byte // at most 256 KiB
}

// Batch is what is applied together or not at all: its transfers, in order, then
// its records. Check, if set, is asked first, in the writer's transaction, with
// all that was committed before: an error refuses the batch and comes back from
// Commit. It may run more than once, and must only use what it is handed.
type Batch struct {
	Transfers []Transfer
	Records   []Record
	Check     func(get func(key string) ([]byte, error)) error
}

// Config holds what a [Ledger] needs.
type Config struct {
	Store payment.Store // belongs to the ledger alone
	Mark  Mark          // counts commits outside of the store; default: a store that loses its end is believed
	Log   *slog.Logger  // default: discarded
}

// Mark keeps the highest number it was given where damage to the store does not
// reach it.
type Mark interface {
	Last() uint64
	Set(n uint64) error
}

// Ledger is safe for concurrent use. Commits wait for [Ledger.Run]. It keeps
// about 40 bytes of memory for each transfer, to apply none twice.
type Ledger struct {
	store   payment.Store
	mark    Mark // nil: none
	log     *slog.Logger
	in      chan *request
	stopped chan struct{} // closed when Run has ended

	mu     sync.RWMutex // guards state and broken
	state  state
	broken error
}

// request is a batch on its way through the writer.
type request struct {
	batch Batch
	done  chan error // one answer, never blocks
}

// Open reads the journal and checks it: the chain, the balances, the floors, and
// that the mark has seen no more commits. It changes nothing. The error is
// [ErrCorrupt], [ErrLost] or the store's.
func Open(c Config) (*Ledger, error) {
	if c.Store == nil {
		return nil, errors.New("open ledger: no store")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{store: c.Store, mark: c.Mark, log: c.Log, in: make(chan *request, 1024), stopped: make(chan struct{})}
	err := l.store.View(func(txn payment.Txn) (err error) {
		l.state, err = replay(txn)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if c.Mark != nil && c.Mark.Last() > l.state.commits {
		return nil, fmt.Errorf("open ledger: the last %d of %d that were answered: %w", c.Mark.Last()-l.state.commits, c.Mark.Last(), ErrLost)
	}
	l.log.Info("ledger opened", "transfers", l.state.seq, "accounts", len(l.state.net))
	return l, nil
}

// Run is the one writer. It folds the batches that wait into one transaction,
// and returns when ctx ends, or the store fails. It is called once.
func (l *Ledger) Run(ctx context.Context) error {
	defer close(l.stopped)
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-l.in:
			if err := l.write(l.gather(r)); err != nil {
				return err
			}
		}
	}
}

// gather adds what waits to first, up to what fits a transaction.
func (l *Ledger) gather(first *request) []*request {
	runtime.Gosched() // whoever is about to commit gets into this fold: the disk takes as long for many as for one
	rs, size := []*request{first}, first.batch.size()
	for size < maxFold {
		select {
		case r := <-l.in:
			rs, size = append(rs, r), size+r.batch.size()
		default:
			return rs
		}
	}
	return rs
}

// write applies the batches in one transaction and answers each.
func (l *Ledger) write(rs []*request) error {
	var f *fold
	n := 0
	for _, r := range rs {
		n += len(r.batch.Transfers)
	}
	err := l.store.Update(func(txn payment.Txn) error {
		f = newFold(l.state, txn, n) // only this goroutine changes state
		for _, r := range rs {
			if err := f.apply(r.batch); err != nil {
				return err
			}
		}
		return f.flush()
	})
	if err != nil && f == nil { // refused before it began, such as for a full disk
		l.log.Error("store refuses to write", "err", err)
		for _, r := range rs {
			r.done <- err
		}
		return nil
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrBroken, err)
		l.mu.Lock()
		l.broken = err
		l.mu.Unlock()
		for _, r := range rs {
			r.done <- err
		}
		return fmt.Errorf("write ledger: %w", err)
	}
	if l.mark != nil {
		if err := l.mark.Set(f.commits); err != nil { // what was committed stays so
			l.log.Warn("mark of the ledger", "err", err)
		}
	}
	l.mu.Lock()
	l.state.seq, l.state.hash, l.state.commits = f.seq, f.hash, f.commits
	maps.Copy(l.state.net, f.net)
	for _, e := range f.entries {
		l.state.ids[e.ID] = e.Seq
	}
	l.mu.Unlock()
	for i, r := range rs {
		r.done <- f.refused[i]
	}
	return nil
}

// Commit applies a batch and returns nil once it is durable. A transfer that was
// applied before with the same content is skipped, its time apart; the rest of
// the batch is still applied. The batch must not change afterwards. The errors are [ErrConflict], [*FloorError],
// [souk.ErrOverflow], [ErrBatch], that of the batch's Check, [ErrBroken],
// [ErrStopped], that of a store that refuses to begin, and ctx's; after ctx's the batch may yet be applied.
func (l *Ledger) Commit(ctx context.Context, b Batch) error {
	if err := b.check(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	l.mu.RLock()
	broken := l.broken
	l.mu.RUnlock()
	if broken != nil {
		return fmt.Errorf("commit: %w", broken)
	}
	r := &request{b, make(chan error, 1)}
	select {
	case l.in <- r:
	case <-ctx.Done():
		return fmt.Errorf("commit: %w", ctx.Err())
	case <-l.stopped:
		return fmt.Errorf("commit: %w", ErrStopped)
	}
	var err error
	select {
	case err = <-r.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.stopped:
		select { // it may have been answered just before
		case err = <-r.done:
		default:
			err = ErrStopped
		}
	}
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Get returns a record's value, or nil where there is none.
func (l *Ledger) Get(key string) (value []byte, err error) {
	err = l.store.View(func(txn payment.Txn) error {
		value, err = txn.Get(recordKey(key))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get record %q: %w", key, err)
	}
	return value, nil
}

// Scan calls fn for each record whose key starts with prefix, in ascending
// order; the value is valid within fn. Its error ends the scan and is returned.
func (l *Ledger) Scan(prefix string, fn func(key string, value []byte) error) error {
	err := l.store.View(func(txn payment.Txn) error {
		return txn.Scan(recordKey(prefix), nil, func(key, value []byte) (bool, error) {
			return true, fn(string(key[1:]), value)
		})
	})
	if err != nil {
		return fmt.Errorf("scan records %q: %w", prefix, err)
	}
	return nil
}

// Balance is what is on an account: debits less credits of what a node has or
// spends, credits less debits of what it owes or earns.
func (l *Ledger) Balance(a Account) souk.Atoms {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return a.balance(l.state.net[a])
}

// Balances is the balance of every account that was ever used.
func (l *Ledger) Balances() map[Account]souk.Atoms {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := make(map[Account]souk.Atoms, len(l.state.net))
	for a, net := range l.state.net {
		all[a] = a.balance(net)
	}
	return all
}

// History returns up to limit entries with a sequence above after, oldest first.
func (l *Ledger) History(after uint64, limit int) (entries []Entry, err error) {
	err = l.store.View(func(txn payment.Txn) error {
		return txn.Scan([]byte{prefixJournal}, blockKey(after+1), func(key, value []byte) (bool, error) {
			b, err := decodeBlock(key, value)
			if err != nil {
				return false, err
			}
			for _, e := range b.entries {
				if e.Seq > after && len(entries) < limit {
					entries = append(entries, e)
				}
			}
			return len(entries) < limit, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("history after %d: %w", after, err)
	}
	return entries, nil
}

// Verify reads the whole journal again and checks what [Open] checks. The error is [ErrCorrupt] or the store's.
func (l *Ledger) Verify() error {
	err := l.store.View(func(txn payment.Txn) error {
		_, err := replay(txn)
		return err
	})
	if err != nil {
		return fmt.Errorf("verify ledger: %w", err)
	}
	return nil
}
