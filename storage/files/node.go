package files

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
)

// Bounds of one block, whoever made it.
const (
	// MaxBlockBytes is the largest block that is read, kept or fetched; other
	// bitswap implementations draw the same line.
	MaxBlockBytes = 2 << 20
	// maxFanout is the widest node of a sharded folder.
	maxFanout = 1024
	// maxNameBytes is what common file systems take for one name.
	maxNameBytes = 255
)

var (
	// ErrMalformed is returned for a block that is not UnixFS as its parent and
	// the format want it.
	ErrMalformed = errors.New("malformed UnixFS")
	// ErrName is returned for a file name that could leave its folder, cannot be
	// written, or comes twice.
	ErrName = errors.New("file name not allowed")
	// ErrSymlink is returned for a symbolic link, on disk or in a DAG.
	ErrSymlink = errors.New("symbolic links are not taken")
)

// kind tells what a decoded block is.
type kind uint8

const (
	kindFile kind = iota + 1 // a file or a piece of one
	kindFolder
	kindShard // one node of a sharded folder
)

// role is what a link's target must be.
type role uint8

const (
	roleEntry role = iota + 1 // a file or a folder
	rolePiece                 // bytes of a file, exactly size of them
	roleShard                 // the next level of a sharded folder
)

// expect is what a link says its target must be. It is comparable, so that a
// block met again under the same expectation needs no second look.
type expect struct {
	role   role
	size   uint64 // of a piece
	fanout int    // of a shard
	path   string // of a shard: the slots that lead to it, two bytes each
}

// link leads to another block.
type link struct {
	cid   cid.Cid
	name  string // of an entry: checked
	tsize uint64 // bytes of all blocks below, as claimed; a hint only
	want  expect
}

// node is a decoded block that passed every check that needs no other block.
type node struct {
	kind  kind
	data  []byte // bytes of a file that lie in this block; they come before the links
	size  uint64 // bytes of a file, here and below, as declared
	links []link
}

// decode reads a block, which must be what its parent expects. The node refers
// to block's memory.
func decode(c cid.Cid, block []byte, want expect) (node, error) {
	n, err := decodeAny(c, block, want)
	if err != nil {
		return node{}, fmt.Errorf("block %s: %w", c, err)
	}
	return n, nil
}

func decodeAny(c cid.Cid, block []byte, want expect) (n node, err error) {
	if len(block) > MaxBlockBytes {
		return n, &LimitError{What: "bytes in one block", Max: MaxBlockBytes}
	}
	if c.Prefix().Codec == cid.Raw {
		n = node{kind: kindFile, data: block, size: uint64(len(block))}
	} else {
		data, links, err := parsePB(block)
		if err != nil {
			return n, err
		}
		u, err := parseUnixFS(data)
		if err != nil {
			return n, err
		}
		if n, err = build(u, links, want); err != nil {
			return n, err
		}
	}
	switch {
	case want.role == rolePiece && n.kind != kindFile:
		return n, fmt.Errorf("a folder inside a file: %w", ErrMalformed)
	case want.role == rolePiece && n.size != want.size:
		return n, fmt.Errorf("%d bytes where %d were declared: %w", n.size, want.size, ErrMalformed)
	case want.role == roleShard && n.kind != kindShard:
		return n, fmt.Errorf("no shard inside a sharded folder: %w", ErrMalformed)
	}
	return n, nil
}

// build checks links against what the UnixFS data says of them.
func build(u unixfs, links []pbLink, want expect) (node, error) {
	switch u.kind {
	case typeRaw, typeFile:
		return buildFile(u, links)
	case typeFolder:
		return buildFolder(links)
	case typeShard:
		return buildShard(u, links, want)
	case typeSymlink:
		return node{}, ErrSymlink
	}
	return node{}, fmt.Errorf("type %d: %w", u.kind, ErrMalformed)
}

func buildFile(u unixfs, links []pbLink) (node, error) {
	n := node{kind: kindFile, data: u.data, size: uint64(len(u.data))}
	if len(links) != len(u.sizes) {
		return n, fmt.Errorf("%d links for %d pieces: %w", len(links), len(u.sizes), ErrMalformed)
	}
	n.links = make([]link, len(links))
	for i, l := range links {
		var carry uint64
		if n.size, carry = bits.Add64(n.size, u.sizes[i], 0); carry != 0 {
			return n, fmt.Errorf("size of a file overflows: %w", ErrMalformed)
		}
		n.links[i] = link{cid: l.cid, tsize: l.tsize, want: expect{role: rolePiece, size: u.sizes[i]}}
	}
	if u.hasSize && u.size != n.size {
		return n, fmt.Errorf("file of %d bytes declares %d: %w", n.size, u.size, ErrMalformed)
	}
	return n, nil
}

func buildFolder(links []pbLink) (node, error) {
	n := node{kind: kindFolder, links: make([]link, len(links))}
	seen := make(map[string]struct{}, len(links))
	for i, l := range links {
		if err := checkName(l.name); err != nil {
			return n, err
		}
		if _, twice := seen[l.name]; twice {
			return n, fmt.Errorf("%q comes twice: %w", l.name, ErrName)
		}
		seen[l.name] = struct{}{}
		n.links[i] = link{cid: l.cid, name: l.name, tsize: l.tsize, want: expect{role: roleEntry}}
	}
	return n, nil
}

// buildShard reads one node of a hash array mapped trie. Each entry must lie in
// the slots that its name hashes to: so no name can come twice in a folder,
// however many shards it has.
func buildShard(u unixfs, links []pbLink, want expect) (node, error) {
	n := node{kind: kindShard, links: make([]link, len(links))}
	if u.fanout < 8 || u.fanout > maxFanout || bits.OnesCount64(u.fanout) != 1 {
		return n, fmt.Errorf("a shard of %d slots: %w", u.fanout, ErrMalformed)
	}
	fanout := int(u.fanout)
	if want.role == roleShard && want.fanout != fanout {
		return n, fmt.Errorf("a shard of %d slots below one of %d: %w", fanout, want.fanout, ErrMalformed)
	}
	if u.hash != hashMurmur3 {
		return n, fmt.Errorf("shard hash %#x: %w", u.hash, ErrMalformed)
	}
	width := len(fmt.Sprintf("%X", fanout-1))
	last := -1
	for i, l := range links {
		slot, err := parseSlot(l.name, width, fanout)
		if err != nil {
			return n, err
		}
		if slot <= last {
			return n, fmt.Errorf("slots out of order: %w", ErrMalformed)
		}
		last = slot
		path := want.path + string([]byte{byte(slot >> 8), byte(slot)})
		if n.links[i], err = shardLink(l, l.name[width:], fanout, path); err != nil {
			return n, err
		}
	}
	return n, checkBitmap(u.data, fanout, links, width)
}

func shardLink(l pbLink, name string, fanout int, path string) (link, error) {
	if name == "" {
		if len(path)/2*bits.TrailingZeros(uint(fanout)) >= 64 {
			return link{}, fmt.Errorf("shards deeper than their hash: %w", ErrMalformed)
		}
		return link{cid: l.cid, tsize: l.tsize, want: expect{role: roleShard, fanout: fanout, path: path}}, nil
	}
	if err := checkName(name); err != nil {
		return link{}, err
	}
	if !inSlots(name, fanout, path) {
		return link{}, fmt.Errorf("%q lies in a slot of other names: %w", name, ErrMalformed)
	}
	return link{cid: l.cid, name: name, tsize: l.tsize, want: expect{role: roleEntry}}, nil
}

// checkBitmap holds the bitmap of used slots against the links: readers that go
// by the one must see what readers that go by the other see.
func checkBitmap(bitmap []byte, fanout int, links []pbLink, width int) error {
	if len(bitmap) > fanout/8 {
		return fmt.Errorf("a bitmap of %d bytes for %d slots: %w", len(bitmap), fanout, ErrMalformed)
	}
	used := 0
	for _, b := range bitmap {
		used += bits.OnesCount8(b)
	}
	if used != len(links) {
		return fmt.Errorf("%d slots used by %d links: %w", used, len(links), ErrMalformed)
	}
	for _, l := range links {
		slot, err := parseSlot(l.name, width, fanout)
		if err != nil {
			return err
		}
		// Big-endian: slot 0 is the last bit of the last byte.
		if at := len(bitmap) - 1 - slot/8; at < 0 || bitmap[at]>>(slot%8)&1 == 0 {
			return fmt.Errorf("slot %d is not in the bitmap: %w", slot, ErrMalformed)
		}
	}
	return nil
}

// parseSlot reads the slot number in upper-case hex that a link's name starts with.
func parseSlot(name string, width, fanout int) (slot int, err error) {
	if len(name) < width {
		return 0, fmt.Errorf("a shard's link named %q: %w", name, ErrMalformed)
	}
	for _, r := range []byte(name[:width]) {
		i := strings.IndexByte("0123456789ABCDEF", r)
		if i < 0 {
			return 0, fmt.Errorf("a shard's link named %q: %w", name, ErrMalformed)
		}
		slot = slot<<4 | i
	}
	if slot >= fanout {
		return 0, fmt.Errorf("slot %d of %d: %w", slot, fanout, ErrMalformed)
	}
	return slot, nil
}

// checkName returns [ErrName] for a name that is not plainly one file's.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
	case len(name) > maxNameBytes, !utf8.ValidString(name):
	case strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || r < ' ' || r == 0x7f }):
	default:
		return nil
	}
	if len(name) > 64 {
		name = name[:64]
	}
	return fmt.Errorf("%q: %w", name, ErrName)
}
