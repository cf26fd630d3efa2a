package ledger

import (
	"fmt"
	"slices"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// maxFold is about how many bytes of batches are folded into one transaction,
// maxBatch how many one batch may have. Together they stay below what Badger
// takes with a memtable of 8 MiB, 1.2 MB.
const (
	maxFold  = 640 << 10
	maxBatch = 512 << 10
)

// maxValue bounds a record's value, so that none needs a value log.
const maxValue = 256 << 10

// size is at least what b takes in a transaction. A record is a key of its own,
// and Badger bounds their number as if each took 96 bytes.
func (b Batch) size() (n int) {
	for _, t := range b.Transfers {
		n += 64 + len(t.Debit) + len(t.Credit) + len(t.Kind) + len(t.Ref)
	}
	for _, r := range b.Records {
		n += 96 + len(r.Key) + len(r.Value)
	}
	return n
}

func (b Batch) check() error {
	for _, t := range b.Transfers {
		if err := t.check(); err != nil {
			return fmt.Errorf("transfer %s: %w", t.Kind, err)
		}
	}
	for _, r := range b.Records {
		if len(r.Key) == 0 || len(r.Key) > maxText || len(r.Value) > maxValue {
			return fmt.Errorf("record %.64q of %d bytes: %w", r.Key, len(r.Value), ErrBatch)
		}
	}
	if n := b.size(); n > maxBatch {
		return fmt.Errorf("%d bytes, at most %d: %w", n, maxBatch, ErrBatch)
	}
	return nil
}

// fold is one transaction in the making: what the accepted batches change, on
// top of what is in the store.
type fold struct {
	base state // as committed; read only
	txn  payment.Txn

	seq     uint64
	hash    souk.Digest
	commits uint64
	net     map[Account]souk.Atoms // of the accounts touched
	before  []moved                // what the batch under way has moved, in order
	entries []Entry
	byID    map[[16]byte]int  // index in entries
	records map[string][]byte // nil: deleted
	refused []error           // for each batch, why it was refused
}

// moved is an account, and what this fold had it at before.
type moved struct {
	account Account
	was     souk.Atoms
	touched bool // false: the fold did not have it
}

// newFold begins a fold of about n transfers.
func newFold(base state, txn payment.Txn, n int) *fold {
	return &fold{
		base:    base,
		txn:     txn,
		seq:     base.seq,
		hash:    base.hash,
		commits: base.commits,
		net:     make(map[Account]souk.Atoms),
		entries: make([]Entry, 0, n),
		byID:    make(map[[16]byte]int, n),
		records: make(map[string][]byte),
	}
}

// apply takes a batch, or notes why it is refused. The error is the store's.
func (f *fold) apply(b Batch) error {
	var broken error
	if b.Check != nil {
		err := b.Check(func(key string) ([]byte, error) {
			value, err := f.get(key)
			if err != nil {
				broken = err
			}
			return value, err
		})
		if broken != nil {
			return broken
		}
		if err != nil {
			f.refused = append(f.refused, err)
			return nil
		}
	}
	mark := len(f.entries)
	f.before = f.before[:0]
	for _, t := range b.Transfers {
		refused, err := f.transfer(t)
		if err != nil {
			return err
		}
		if refused != nil {
			f.undo(mark)
			f.refused = append(f.refused, fmt.Errorf("transfer %s %x: %w", t.Kind, t.ID[:4], refused))
			return nil
		}
	}
	for _, r := range b.Records {
		if len(r.Value) == 0 {
			r.Value = nil
		}
		f.records[r.Key] = r.Value
	}
	f.refused = append(f.refused, nil)
	return nil
}

// get reads a record as the batches before have left it.
func (f *fold) get(key string) ([]byte, error) {
	if value, ok := f.records[key]; ok {
		return append([]byte(nil), value...), nil
	}
	return f.txn.Get(recordKey(key))
}

// transfer applies t, unless it was applied before. The first result is why t is
// refused, the second the store's.
func (f *fold) transfer(t Transfer) (refused, err error) {
	old, found, err := f.find(t.ID)
	if err != nil {
		return nil, err
	}
	if found {
		if !old.same(t) {
			return ErrConflict, nil
		}
		return nil, nil
	}
	e := Entry{Seq: f.seq + 1, Transfer: t}
	if e.DebitBalance, refused = f.move(t.Debit, t.Amount); refused != nil {
		return refused, nil
	}
	if e.CreditBalance, refused = f.move(t.Credit, -t.Amount); refused != nil {
		return refused, nil
	}
	f.seq++
	f.byID[t.ID] = len(f.entries)
	f.entries = append(f.entries, e)
	return nil, nil
}

// move adds to an account's debits less credits and returns its balance, or why
// it cannot be moved.
func (f *fold) move(a Account, amount souk.Atoms) (after souk.Atoms, refused error) {
	was, touched := f.net[a]
	if !touched {
		was = f.base.net[a]
	}
	net, err := was.Add(amount)
	if err != nil {
		return 0, err
	}
	after = a.balance(net)
	if after < 0 && a.floored() {
		return 0, &FloorError{a, a.balance(was), max(amount, -amount)}
	}
	f.before = append(f.before, moved{a, was, touched})
	f.net[a] = net
	return after, nil
}

// undo takes back the entries from mark on, and all that this batch moved.
func (f *fold) undo(mark int) {
	for _, e := range f.entries[mark:] {
		delete(f.byID, e.ID)
	}
	f.seq -= uint64(len(f.entries) - mark)
	f.entries = f.entries[:mark]
	for _, m := range slices.Backward(f.before) {
		if f.net[m.account] = m.was; !m.touched {
			delete(f.net, m.account)
		}
	}
}

// find looks a transfer up by id, in this fold and in the journal.
func (f *fold) find(id [16]byte) (Transfer, bool, error) {
	if i, ok := f.byID[id]; ok {
		return f.entries[i].Transfer, true, nil
	}
	seq, ok := f.base.ids[id]
	if !ok {
		return Transfer{}, false, nil
	}
	e, err := entryAt(f.txn, seq)
	return e.Transfer, true, err
}

// flush writes all that was accepted into the transaction.
func (f *fold) flush() error {
	for rest := f.entries; len(rest) > 0; {
		key, value, n := encodeBlock(f.hash, rest)
		if err := f.txn.Set(key, value); err != nil {
			return err
		}
		f.hash, rest = blockHash(value), rest[n:]
	}
	if len(f.entries) > 0 || len(f.records) > 0 {
		f.commits++
		if err := f.txn.Set([]byte{keyHead}, encodeHead(f.seq, f.hash, f.commits)); err != nil {
			return err
		}
	}
	for key, value := range f.records {
		var err error
		if value == nil {
			err = f.txn.Delete(recordKey(key))
		} else {
			err = f.txn.Set(recordKey(key), value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
