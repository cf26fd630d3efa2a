// Package storage is the room where bytes are kept: [storage/badger] on disk and
// [storage/mem] in memory hold keys and values, [storage/files] holds files by
// the hash of their content.
//
// A transaction is all or nothing, and what Update has returned nil for is
// durable as far as the store promises it. Callers declare the store they need
// themselves; since [Txn] is an alias of an interface literal, their own alias
// of the same literal is the same type and nobody has to import this package.
//
// [storage/badger]: https://pkg.go.dev/github.com/souk-market/souk/storage/badger
// [storage/mem]: https://pkg.go.dev/github.com/souk-market/souk/storage/mem
// [storage/files]: https://pkg.go.dev/github.com/souk-market/souk/storage/files
package storage

import "errors"

// Txn is one transaction over keys and values. It is good only inside the
// function it was handed to, and for one goroutine.
//
// Get returns nil, nil for an absent key; the slice is the caller's to keep.
// Set copies both arguments. Scan calls fn for each key with the prefix, in
// ascending order of bytes, starting at from (inclusive; nil: at the prefix),
// until fn asks for no more or fails; fn may keep its slices, and what fn itself
// writes below the prefix may or may not be seen by the scan that is running.
// Set and Delete in a View fail with [ErrReadOnly]. An error of Set or Delete
// sticks: the transaction cannot commit any more, even if fn drops the error.
type Txn = interface {
	Get(key []byte) ([]byte, error)
	Set(key, value []byte) error
	Delete(key []byte) error
	Scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error
}

// The bounds of what one key can hold. They keep every value inside Badger's
// log-structured tree, so that its value log, and the collection of garbage in
// it, stay out of use.
const (
	MaxKeyBytes   = 1 << 10
	MaxValueBytes = 512 << 10
)

var (
	// ErrReadOnly is returned for a write in a View.
	ErrReadOnly = errors.New("read-only transaction")
	// ErrSize is returned for an empty key, or a key or value over its bound.
	ErrSize = errors.New("key or value of a size that the store does not take")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("store is closed")
)

// CheckSize returns [ErrSize] for a key or value that no store takes.
func CheckSize(key, value []byte) error {
	if len(key) == 0 || len(key) > MaxKeyBytes || len(value) > MaxValueBytes {
		return ErrSize
	}
	return nil
}
