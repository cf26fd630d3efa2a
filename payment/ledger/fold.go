package ledger

import (
	"fmt"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// maxFold is how many bytes of batches are folded into one transaction. It stays
// well below what Badger takes with a memtable of 8 MiB.
const maxFold = 256 << 10

// maxValue bounds a record's value, so that none needs a value log.
const maxValue = 256 << 10

// size is about what b takes in a transaction.
func (b Batch) size() (n int) {
	for _, t := range b.Transfers {
		n += 128 + len(t.Debit) + len(t.Credit) + len(t.Kind) + len(t.Ref)
	}
	for _, r := range b.Records {
		n += 32 + len(r.Key) + len(r.Value)
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
	if n := b.size(); n > 2*maxFold {
		return fmt.Errorf("%d bytes, at most %d: %w", n, 2*maxFold, ErrBatch)
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
	entries []Entry
	byID    map[[16]byte]int  // index in entries
	records map[string][]byte // nil: deleted
	refused []error           // for each batch, why it was refused
}

func newFold(base state, txn payment.Txn) *fold {
	return &fold{
		base:    base,
		txn:     txn,
		seq:     base.seq,
		hash:    base.hash,
		commits: base.commits,
		net:     make(map[Account]souk.Atoms),
		byID:    make(map[[16]byte]int),
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
	before := make(map[Account]*souk.Atoms, 2*len(b.Transfers))
	for _, t := range b.Transfers {
		refused, err := f.transfer(t, before)
		if err != nil {
			return err
		}
		if refused != nil {
			f.undo(mark, before)
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

// transfer applies t, unless it was applied before. It notes in before what this
// fold had the accounts at, nil where it had not touched them. The first result is why t is refused, the second the store's.
func (f *fold) transfer(t Transfer, before map[Account]*souk.Atoms) (refused, err error) {
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
	var net [2]souk.Atoms
	for i, side := range []struct {
		account Account
		amount  souk.Atoms
		after   *souk.Atoms
	}{{t.Debit, t.Amount, &e.DebitBalance}, {t.Credit, -t.Amount, &e.CreditBalance}} {
		was := f.balance(side.account)
		if net[i], refused = was.Add(side.amount); refused != nil {
			return refused, nil
		}
		*side.after = side.account.balance(net[i])
		if side.account.floored() && *side.after < 0 {
			return &FloorError{side.account, side.account.balance(was), t.Amount}, nil
		}
	}
	for i, a := range []Account{t.Debit, t.Credit} {
		if _, noted := before[a]; !noted {
			before[a] = nil
			if was, touched := f.net[a]; touched {
				before[a] = &was
			}
		}
		f.net[a] = net[i]
	}
	f.seq++
	f.byID[t.ID] = len(f.entries)
	f.entries = append(f.entries, e)
	return nil, nil
}

// undo takes back the entries from mark on.
func (f *fold) undo(mark int, before map[Account]*souk.Atoms) {
	for _, e := range f.entries[mark:] {
		delete(f.byID, e.ID)
	}
	f.seq -= uint64(len(f.entries) - mark)
	f.entries = f.entries[:mark]
	for a, was := range before {
		if was == nil {
			delete(f.net, a)
		} else {
			f.net[a] = *was
		}
	}
}

// balance is an account's debits less credits.
func (f *fold) balance(a Account) souk.Atoms {
	if net, ok := f.net[a]; ok {
		return net
	}
	return f.base.net[a]
}

// find looks a transfer up by id, in this fold and in the journal.
func (f *fold) find(id [16]byte) (Transfer, bool, error) {
	if i, ok := f.byID[id]; ok {
		return f.entries[i].Transfer, true, nil
	}
	at, err := f.txn.Get(indexKey(id))
	if err != nil || at == nil {
		return Transfer{}, false, err
	}
	e, err := entryAt(f.txn, at)
	if err == nil && e.ID != id {
		err = fmt.Errorf("transfer %x is indexed at %d: %w", id, e.Seq, ErrCorrupt)
	}
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
	for _, e := range f.entries {
		if err := f.txn.Set(indexKey(e.ID), seqBytes(e.Seq)); err != nil {
			return err
		}
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
