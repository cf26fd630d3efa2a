package challenge

import (
	"crypto/sha256"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// The tiles of a product, in row-major order, are the leaves of a Merkle tree as
// RFC 6962 has it. A tile's bytes are its elements in row-major order, 32 bits
// each, the lowest byte first.

// LeafHash is the hash of a tile in the tree that a round commits to.
func LeafHash(tile []byte) Hash { return Hash(tlog.RecordHash(tile)) }

// RecallHash is the hash of a tile in the tree of a recall: the nonce comes after
// the work, so that who kept no tile has to compute it again.
func RecallHash(nonce Hash, tile []byte) Hash {
	h := sha256.New()
	h.Write([]byte{0}) // a leaf
	h.Write(nonce[:])
	h.Write(tile)
	return Hash(h.Sum(nil))
}

// Tree is a Merkle tree over hashes of tiles.
type Tree struct {
	leaves uint32
	nodes  []tlog.Hash // as tlog stores them
}

// NewTree builds the tree of leaves, of which there is at least one.
func NewTree(leaves []Hash) (*Tree, error) {
	t := &Tree{}
	for i, leaf := range leaves {
		add, err := tlog.StoredHashesForRecordHash(int64(i), tlog.Hash(leaf), t)
		if err != nil {
			return nil, fmt.Errorf("tree of tiles: %w", err)
		}
		t.nodes = append(t.nodes, add...)
	}
	t.leaves = uint32(len(leaves))
	return t, nil
}

// ReadHashes implements [tlog.HashReader].
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if at < 0 || at >= int64(len(t.nodes)) {
			return nil, fmt.Errorf("no node %d", at)
		}
		out[i] = t.nodes[at]
	}
	return out, nil
}

// Root is the tree's head.
func (t *Tree) Root() (Hash, error) {
	h, err := tlog.TreeHash(int64(t.leaves), t)
	return Hash(h), err
}

// Path proves that a leaf is in the tree.
func (t *Tree) Path(leaf uint32) ([]Hash, error) {
	proof, err := tlog.ProveRecord(int64(t.leaves), int64(leaf), t)
	if err != nil {
		return nil, fmt.Errorf("path of tile %d: %w", leaf, err)
	}
	path := make([]Hash, len(proof))
	for i, h := range proof {
		path[i] = Hash(h)
	}
	return path, nil
}

// inTree tells whether a leaf is in the tree of a root.
func inTree(root Hash, leaves, index uint32, leaf Hash, path []Hash) bool {
	proof := make(tlog.RecordProof, len(path))
	for i, h := range path {
		proof[i] = tlog.Hash(h)
	}
	return tlog.CheckRecord(proof, int64(leaves), tlog.Hash(root), int64(index), tlog.Hash(leaf)) == nil
}
