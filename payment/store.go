package payment

// Store is the key-value store that money is kept in.
type Store interface {
	// Update runs fn in a transaction that may write. When it returns nil, what
	// fn wrote survives a power cut; when fn returns an error, nothing of it is
	// kept.
	Update(fn func(Txn) error) error
	// View runs fn in a transaction that may only read.
	View(fn func(Txn) error) error
}

// Txn reads and writes within one transaction, whose own writes it sees. It is
// valid until the function it was handed to returns.
type Txn interface {
	// Get returns the value, which is the caller's to keep, or nil where there
	// is none.
	Get(key []byte) ([]byte, error)
	// Set writes a value. Neither slice may change until the transaction ends.
	Set(key, value []byte) error
	// Delete removes a key; one that is absent is no error.
	Delete(key []byte) error
	// Scan calls fn for each key that starts with prefix, in ascending order,
	// from the key from (inclusive; nil: the first), until fn says that it wants
	// no more. The slices are valid only within fn.
	Scan(prefix, from []byte, fn func(key, value []byte) (more bool, err error)) error
}
