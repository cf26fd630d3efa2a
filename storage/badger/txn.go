package badger

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/souk-market/souk/storage"
)

// scanPage is how many pairs a Scan reads at a time. A writing transaction may
// have only one iterator open, so pages let fn scan too; and they bound memory.
const scanPage = 128

type txn struct {
	btx      *badger.Txn
	writable bool
	ended    bool
	err      error // the first failed write
}

func (t *txn) end() { t.ended = true }

func (t *txn) Get(key []byte) ([]byte, error) {
	if t.ended {
		return nil, fmt.Errorf("get after the transaction: %w", storage.ErrClosed)
	}
	if len(key) == 0 {
		return nil, nil // Badger has an error of its own for it
	}
	item, err := t.btx.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	return value(item)
}

// value copies what item holds; present but empty is not nil, which means absent.
func value(item *badger.Item) ([]byte, error) {
	v, err := item.ValueCopy([]byte{})
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	if v == nil {
		v = []byte{}
	}
	return v, nil
}

func (t *txn) Set(key, value []byte) error {
	if err := t.check(key, value); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	if err := t.keep(t.btx.Set(bytes.Clone(key), bytes.Clone(value))); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	return nil
}

func (t *txn) Delete(key []byte) error {
	if err := t.check(key, nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := t.keep(t.btx.Delete(bytes.Clone(key))); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

func (t *txn) check(key, value []byte) error {
	err := storage.CheckSize(key, value)
	switch {
	case t.ended:
		err = storage.ErrClosed
	case !t.writable:
		err = storage.ErrReadOnly
	}
	return t.keep(err)
}

// keep notes the first error of a write, so that the transaction cannot commit.
func (t *txn) keep(err error) error {
	if err != nil && t.err == nil {
		t.err = err
	}
	return err
}

func (t *txn) Scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	next := prefix
	if bytes.Compare(from, next) > 0 {
		next = from
	}
	for {
		page, err := t.page(prefix, next)
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		for _, p := range page {
			if more, err := fn(p.key, p.value); !more || err != nil {
				return err
			}
		}
		if len(page) < scanPage {
			return nil
		}
		// The least key after the last: fn may have changed its slice, the copy not.
		next = append(page[len(page)-1].last, 0)
	}
}

type pair struct{ key, value, last []byte }

// page reads up to scanPage pairs with the prefix, from next on.
func (t *txn) page(prefix, next []byte) (page []pair, err error) {
	if t.ended {
		return nil, storage.ErrClosed
	}
	opts := badger.DefaultIteratorOptions
	opts.Prefix = prefix
	opts.PrefetchValues = false // Badger would start goroutines; values lie in the tree
	it := t.btx.NewIterator(opts)
	defer it.Close()
	for it.Seek(next); it.ValidForPrefix(prefix) && len(page) < scanPage; it.Next() {
		p := pair{key: it.Item().KeyCopy(nil)}
		if p.value, err = value(it.Item()); err != nil {
			return nil, err
		}
		page = append(page, p)
	}
	if len(page) == scanPage {
		page[scanPage-1].last = bytes.Clone(page[scanPage-1].key)
	}
	return page, nil
}
