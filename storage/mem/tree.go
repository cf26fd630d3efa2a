package mem

import (
	"bytes"
	"hash/fnv"
)

// node is one of a persistent treap: ordered by key, a heap by priority. A
// change copies the path to the root and shares the rest, so every old root
// stays a whole snapshot.
type node struct {
	key, value  []byte
	priority    uint64
	left, right *node
}

// priority is a hash of the key: the shape of the tree then depends on what is
// in it and not on chance, and a simulation replays.
func priority(key []byte) uint64 {
	h := fnv.New64a()
	h.Write(key) // never fails
	// FNV's last byte hardly moves the high bits, which the heap compares first.
	x := h.Sum64()
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

func (n *node) find(key []byte) *node {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n
		}
	}
	return nil
}

// set returns the tree with add in it, in place of what has the same key.
func (n *node) set(add *node) *node {
	if n == nil {
		return add
	}
	c := bytes.Compare(add.key, n.key)
	if c == 0 {
		add.left, add.right = n.left, n.right
		return add
	}
	if add.priority > n.priority {
		add.left, add.right = n.split(add.key)
		return add
	}
	up := *n
	if c < 0 {
		up.left = n.left.set(add)
	} else {
		up.right = n.right.set(add)
	}
	return &up
}

// split parts the tree at key, which falls out if it was there.
func (n *node) split(key []byte) (less, more *node) {
	if n == nil {
		return nil, nil
	}
	up := *n
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		less, up.left = n.left.split(key)
		return less, &up
	case c > 0:
		up.right, more = n.right.split(key)
		return &up, more
	}
	return n.left, n.right
}

func (n *node) remove(key []byte) *node {
	if n == nil {
		return nil
	}
	up := *n
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		up.left = n.left.remove(key)
	case c > 0:
		up.right = n.right.remove(key)
	default:
		return merge(n.left, n.right)
	}
	return &up
}

// merge joins two trees, all keys of less being before those of more.
func merge(less, more *node) *node {
	if less == nil {
		return more
	}
	if more == nil {
		return less
	}
	if less.priority > more.priority {
		up := *less
		up.right = merge(less.right, more)
		return &up
	}
	up := *more
	up.left = merge(less, more.left)
	return &up
}

// ascend visits the nodes from start on, in order, until fn wants no more.
func (n *node) ascend(start []byte, fn func(*node) (bool, error)) (more bool, err error) {
	if n == nil {
		return true, nil
	}
	if bytes.Compare(start, n.key) <= 0 {
		if more, err = n.left.ascend(start, fn); !more || err != nil {
			return false, err
		}
		if more, err = fn(n); !more || err != nil {
			return false, err
		}
	}
	return n.right.ascend(start, fn)
}
