// Package mem keeps keys and values in memory, for simulations and tests.
//
// It passes the same contract test as storage/badger, except that nothing
// outlives the process. Readers work on a snapshot and never wait for the writer.
package mem

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/souk-market/souk/storage"
)

// Store is an ordered map with transactions. Its zero value is not ready: use [New].
type Store struct {
	writer sync.Mutex // held for a whole Update: one writer at a time

	mu     sync.Mutex // guards root and closed
	root   *node
	closed bool
}

// New returns an empty store.
func New() *Store { return new(Store) }

// Update runs fn in a transaction that commits if fn returns nil, and has no
// effect otherwise. Updates run one at a time.
func (s *Store) Update(fn func(storage.Txn) error) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	root, err := s.snapshot()
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	t := &txn{root: root, writable: true}
	defer t.end()
	if err := fn(t); err != nil {
		return err
	}
	if t.err != nil {
		return fmt.Errorf("update: %w", t.err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("update: %w", storage.ErrClosed)
	}
	s.root = t.root
	return nil
}

// View runs fn on a snapshot. Any number of views run at once.
func (s *Store) View(fn func(storage.Txn) error) error {
	root, err := s.snapshot()
	if err != nil {
		return fmt.Errorf("view: %w", err)
	}
	t := &txn{root: root}
	defer t.end()
	return fn(t)
}

// Close ends the store: every later call returns [storage.ErrClosed].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root, s.closed = nil, true
	return nil
}

func (s *Store) snapshot() (*node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, storage.ErrClosed
	}
	return s.root, nil
}

// txn works on its own root; nodes are never changed once they are in a tree,
// so that taking a snapshot is to copy one pointer.
type txn struct {
	root     *node
	writable bool
	ended    bool
	err      error // the first failed write
}

func (t *txn) end() { t.root, t.ended = nil, true }

func (t *txn) Get(key []byte) ([]byte, error) {
	if t.ended {
		return nil, fmt.Errorf("get after the transaction: %w", storage.ErrClosed)
	}
	n := t.root.find(key)
	if n == nil {
		return nil, nil
	}
	return value(n), nil
}

func (t *txn) Set(key, value []byte) error {
	if err := t.check(key, value); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	t.root = t.root.set(&node{
		key: bytes.Clone(key), value: bytes.Clone(value), priority: priority(key),
	})
	return nil
}

func (t *txn) Delete(key []byte) error {
	if err := t.check(key, nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	t.root = t.root.remove(key)
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
	if err != nil && t.err == nil {
		t.err = err
	}
	return err
}

func (t *txn) Scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	if t.ended {
		return fmt.Errorf("scan after the transaction: %w", storage.ErrClosed)
	}
	start := prefix
	if bytes.Compare(from, start) > 0 {
		start = from
	}
	_, err := t.root.ascend(start, func(n *node) (bool, error) {
		if !bytes.HasPrefix(n.key, prefix) {
			return false, nil
		}
		return fn(bytes.Clone(n.key), value(n))
	})
	return err
}

// value copies what n holds; present but empty is not nil, which means absent.
func value(n *node) []byte { return append([]byte{}, n.value...) }
