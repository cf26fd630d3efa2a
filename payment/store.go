package payment

// Store is the key-value store that money is kept in.
type Store interface {
	// Update runs fn in a transaction that may write. When it returns nil, what
	// fn wrote survives a power cut; when fn returns an error, nothing of it is
	// kept. An error without a call of fn leaves the store as it was.
	Update(fn func(Txn) error) error
	// View runs fn in a transaction that may only read.
	View(fn func(Txn) error) error
}

// Txn reads and writes within one transaction, whose own writes it sees. It is
// valid until the function it was handed to returns. It is an alias, so that a
// store need not import this package to satisfy [Store].
//
// Get returns the value, which is the caller's to keep, or nil where there is
// none. Neither slice of Set may change until the transaction ends. Delete of an
// absent key is no error. Scan calls fn for each key that starts with prefix, in
// ascending order, from the key from (inclusive; nil: the first), until fn says
// that it wants no more; its slices are valid only within fn.
type Txn = interface {
	Get(key []byte) ([]byte, error)
	Set(key, value []byte) error
	Delete(key []byte) error
	Scan(prefix, from []byte, fn func(key, value []byte) (more bool, err error)) error
}
