package files

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/souk-market/souk"
)

// ErrCID is returned for a content id that is not one, or not of the kinds that
// souk takes: SHA-256 over raw bytes or dag-pb.
var ErrCID = errors.New("not a content id with SHA-256 of raw or dag-pb")

// parse reads a content id in any text form.
func parse(s string) (cid.Cid, error) {
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("%q: %w (%w)", s, ErrCID, err)
	}
	if err := check(c); err != nil {
		return cid.Undef, err
	}
	return c, nil
}

// check refuses what is not SHA-256 of raw or dag-pb. Weak and truncated hashes
// would let two files share an id; identity hashes carry bytes past every limit.
func check(c cid.Cid) error {
	p := c.Prefix()
	if p.MhType != multihash.SHA2_256 || p.MhLength != 32 || p.Codec != cid.Raw && p.Codec != cid.DagProtobuf {
		return fmt.Errorf("%s: %w", c, ErrCID)
	}
	return nil
}

// digest is the SHA-256 inside c, which passed check.
func digest(c cid.Cid) souk.Digest {
	h := c.Hash()
	return souk.Digest(h[len(h)-32:])
}

// DigestOf returns the SHA-256 inside a root's content id, as receipts hold it.
func DigestOf(root string) (souk.Digest, error) {
	c, err := parse(root)
	if err != nil {
		return souk.Digest{}, err
	}
	return digest(c), nil
}

// splitPath parts "cid/a/b", with or without "/ipfs/" before it, into the
// content id and the names below it.
func splitPath(p string) (cid.Cid, []string, error) {
	root, rest, _ := strings.Cut(strings.TrimPrefix(p, "/ipfs/"), "/")
	c, err := parse(root)
	if err != nil {
		return cid.Undef, nil, err
	}
	names, err := splitNames(rest)
	return c, names, err
}

// splitNames parts "a/b", which may be empty and may end in a slash.
func splitNames(p string) ([]string, error) {
	p = strings.Trim(p, "/")
	if p == "" {
		return nil, nil
	}
	names := strings.Split(p, "/")
	for _, n := range names {
		if err := checkName(n); err != nil {
			return nil, err
		}
	}
	return names, nil
}
