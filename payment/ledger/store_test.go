package ledger

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/souk-market/souk/payment"
)

// mapStore is a payment.Store that forgets everything; a transaction works on a
// copy, which replaces the map when it succeeds.
type mapStore struct {
	mu      sync.RWMutex // guards all below
	kv      map[string][]byte
	keys    []string // of kv, ascending
	updates int
	fail    error // if set, what Update returns after running its function
	refuse  error // if set, what Update returns before
}

func newMapStore() *mapStore { return &mapStore{kv: make(map[string][]byte)} }

// copyOf is a store of its own with the same content.
func copyOf(s *mapStore) *mapStore {
	c := newMapStore()
	for k, v := range s.kv {
		c.kv[k] = bytes.Clone(v)
	}
	return c
}

// edited must follow a change of kv that did not go through Update.
func (s *mapStore) edited() { s.keys = slices.Sorted(maps.Keys(s.kv)) }

func (s *mapStore) Update(fn func(payment.Txn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.updates++
	txn := &mapTxn{base: s.kv, keys: s.keys, set: make(map[string][]byte)}
	if err := fn(txn); err != nil {
		return err
	}
	if s.fail != nil {
		return s.fail
	}
	for k, v := range txn.set {
		i, found := slices.BinarySearch(s.keys, k)
		switch {
		case v == nil && found:
			s.keys = slices.Delete(s.keys, i, i+1)
			delete(s.kv, k)
		case v != nil && !found:
			s.keys = slices.Insert(s.keys, i, k)
			s.kv[k] = v
		case v != nil:
			s.kv[k] = v
		}
	}
	return nil
}

func (s *mapStore) View(fn func(payment.Txn) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fn(&mapTxn{base: s.kv, keys: s.keys})
}

// mapTxn is a map with the transaction's own writes on top.
type mapTxn struct {
	base, set map[string][]byte
	keys      []string // of base, ascending
}

func (t *mapTxn) Get(key []byte) ([]byte, error) {
	if v, ok := t.set[string(key)]; ok {
		return bytes.Clone(v), nil
	}
	return bytes.Clone(t.base[string(key)]), nil
}

func (t *mapTxn) Set(key, value []byte) error {
	t.set[string(key)] = bytes.Clone(value)
	return nil
}

func (t *mapTxn) Delete(key []byte) error {
	t.set[string(key)] = nil
	return nil
}

func (t *mapTxn) Scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	all, keys := t.base, t.keys
	if len(t.set) > 0 {
		all = maps.Clone(all)
		maps.Copy(all, t.set)
		keys = slices.Sorted(maps.Keys(all))
	}
	i, _ := slices.BinarySearch(keys, max(string(prefix), string(from)))
	for ; i < len(keys) && strings.HasPrefix(keys[i], string(prefix)); i++ {
		if all[keys[i]] == nil {
			continue
		}
		if more, err := fn([]byte(keys[i]), all[keys[i]]); err != nil || !more {
			return err
		}
	}
	return nil
}
