package log

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/souk-market/souk"
	"golang.org/x/mod/sumdb/tlog"
)

// maxProof is the length of the longest proof in a tree of 2^63 entries, with
// one to spare.
const maxProof = 64

// VerifyInclusion checks that d is entry index of the log of size and root. The
// error is [ErrProof].
func VerifyInclusion(d souk.Digest, index, size uint64, root souk.Digest, proof []souk.Digest) error {
	return verifyLeaf(tlog.RecordHash(d[:]), index, size, root, proof)
}

// VerifyConsistency checks that the log of old entries and oldRoot is a prefix of
// the one of size and root. The error is [ErrProof].
func VerifyConsistency(old, size uint64, oldRoot, root souk.Digest, proof []souk.Digest) error {
	fail := fmt.Errorf("%d entries in %d: %w", old, size, ErrProof)
	switch {
	case old > size || size > 1<<62 || len(proof) > maxProof:
		return fail
	case old == 0 || old == size:
		if len(proof) != 0 || old == size && oldRoot != root || old == 0 && oldRoot != emptyRoot {
			return fail
		}
		return nil
	}
	if tlog.CheckTree(toHashes(proof), int64(size), tlog.Hash(root), int64(old), tlog.Hash(oldRoot)) != nil {
		return fail
	}
	return nil
}

func verifyLeaf(leaf tlog.Hash, index, size uint64, root souk.Digest, proof []souk.Digest) error {
	if index >= size || size > 1<<62 || len(proof) > maxProof ||
		tlog.CheckRecord(toHashes(proof), int64(size), tlog.Hash(root), int64(index), leaf) != nil {
		return fmt.Errorf("entry %d of %d: %w", index, size, ErrProof)
	}
	return nil
}

func toHashes(ds []souk.Digest) []tlog.Hash {
	hs := make([]tlog.Hash, len(ds))
	for i, d := range ds {
		hs[i] = tlog.Hash(d)
	}
	return hs
}

// AnchorRoot is the root over many logs' checkpoints: an RFC 6962 tree whose
// leaves are their bodies, in ascending order, which is that of their origins.
// The bodies may come in any order.
func AnchorRoot(bodies [][]byte) souk.Digest {
	if len(bodies) == 0 {
		return emptyRoot
	}
	return souk.Digest(merkle(leafHashes(sorted(bodies))))
}

// AnchorProof proves that body is under the root of bodies, at index. The error
// is [ErrRange].
func AnchorProof(bodies [][]byte, body []byte) (index uint64, proof []souk.Digest, err error) {
	leaves := sorted(bodies)
	at, found := slices.BinarySearchFunc(leaves, body, bytes.Compare)
	if !found {
		return 0, nil, fmt.Errorf("checkpoint is not among the %d anchored: %w", len(leaves), ErrRange)
	}
	hs := leafHashes(leaves)
	for i := at; len(hs) > 1; i /= 2 {
		if sibling := i ^ 1; sibling < len(hs) {
			proof = append(proof, souk.Digest(hs[sibling]))
		}
		hs = pairs(hs)
	}
	return uint64(at), proof, nil
}

// VerifyAnchorProof checks that body is leaf index of the count under root. The
// error is [ErrProof].
func VerifyAnchorProof(body []byte, index, count uint64, root souk.Digest, proof []souk.Digest) error {
	return verifyLeaf(tlog.RecordHash(body), index, count, root, proof)
}

func sorted(bodies [][]byte) [][]byte { return slices.SortedFunc(slices.Values(bodies), bytes.Compare) }

func leafHashes(bodies [][]byte) []tlog.Hash {
	hs := make([]tlog.Hash, len(bodies))
	for i, b := range bodies {
		hs[i] = tlog.RecordHash(b)
	}
	return hs
}
