package files

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/ipfs/go-cid"
	"github.com/spaolacci/murmur3"
	"google.golang.org/protobuf/encoding/protowire"
)

// The two formats below are read by hand, since their common decoders spend
// several allocations on each link before anything is checked. What is taken
// here, boxo's decoders take too and read alike; a fuzz test holds us to it.

// pbLink is a link of dag-pb.
type pbLink struct {
	cid   cid.Cid
	name  string
	tsize uint64
}

// parsePB reads a dag-pb node: links, then data, or data first, which some
// writers stream. Nothing comes twice and no other field is taken.
func parsePB(b []byte) (data []byte, links []pbLink, err error) {
	hasData, linksEnded := false, false
	for len(b) > 0 {
		num, value, rest, err := bytesField(b)
		if err != nil {
			return nil, nil, err
		}
		b = rest
		switch {
		case num == 2 && !linksEnded:
			l, err := parseLink(value)
			if err != nil {
				return nil, nil, err
			}
			links = append(links, l)
		case num == 1 && !hasData:
			data, hasData, linksEnded = value, true, len(links) > 0
		default:
			return nil, nil, fmt.Errorf("dag-pb field %d: %w", num, ErrMalformed)
		}
	}
	return data, links, nil
}

func parseLink(b []byte) (l pbLink, err error) {
	last := protowire.Number(0)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num <= last || num > 3 {
			return l, fmt.Errorf("field of a dag-pb link: %w", ErrMalformed)
		}
		last = num
		if num == 3 {
			v, m := protowire.ConsumeVarint(b[n:])
			if typ != protowire.VarintType || m < 0 || v > 1<<62 {
				return l, fmt.Errorf("size in a dag-pb link: %w", ErrMalformed)
			}
			l.tsize, b = v, b[n+m:]
			continue
		}
		_, value, rest, err := bytesField(b)
		if err != nil {
			return l, err
		}
		b = rest
		if num == 2 {
			l.name = string(value)
			continue
		}
		c, err := cid.Cast(value)
		if err != nil {
			return l, fmt.Errorf("link: %w (%w)", ErrMalformed, err)
		}
		if err := check(c); err != nil {
			return l, fmt.Errorf("link: %w", err)
		}
		l.cid = c
	}
	if !l.cid.Defined() {
		return l, fmt.Errorf("a dag-pb link to nothing: %w", ErrMalformed)
	}
	return l, nil
}

// bytesField reads one length-delimited field.
func bytesField(b []byte) (num protowire.Number, value, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || typ != protowire.BytesType {
		return 0, nil, nil, fmt.Errorf("dag-pb field: %w", ErrMalformed)
	}
	value, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return 0, nil, nil, fmt.Errorf("dag-pb field: %w", ErrMalformed)
	}
	return num, value, b[n+m:], nil
}

// The types of UnixFS nodes.
const (
	typeRaw     = 0
	typeFolder  = 1
	typeFile    = 2
	typeSymlink = 4
	typeShard   = 5
)

// hashMurmur3 is the only hash that sharded folders use.
const hashMurmur3 = 0x22

// unixfs is the data of a dag-pb node.
type unixfs struct {
	kind    uint64
	data    []byte
	size    uint64
	hasSize bool
	sizes   []uint64
	hash    uint64
	fanout  uint64
}

func parseUnixFS(b []byte) (u unixfs, err error) {
	seen := [9]bool{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > 8 || seen[num] && num != 4 {
			return u, fmt.Errorf("UnixFS field: %w", ErrMalformed)
		}
		seen[num] = true
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			v, m := protowire.ConsumeVarint(b)
			if m < 0 || !u.set(num, v) {
				return u, fmt.Errorf("UnixFS field %d: %w", num, ErrMalformed)
			}
			b = b[m:]
		case protowire.BytesType:
			v, m := protowire.ConsumeBytes(b)
			if m < 0 || !u.setBytes(num, v) {
				return u, fmt.Errorf("UnixFS field %d: %w", num, ErrMalformed)
			}
			b = b[m:]
		default:
			return u, fmt.Errorf("UnixFS field %d: %w", num, ErrMalformed)
		}
	}
	if !seen[1] {
		return u, fmt.Errorf("UnixFS without a type: %w", ErrMalformed)
	}
	return u, nil
}

func (u *unixfs) set(num protowire.Number, v uint64) bool {
	switch num {
	case 1:
		u.kind = v
		return v <= typeShard
	case 3:
		u.size, u.hasSize = v, true
	case 4:
		u.sizes = append(u.sizes, v)
	case 5:
		u.hash = v
	case 6:
		u.fanout = v
	case 7: // mode: not kept
	default:
		return false
	}
	return true
}

func (u *unixfs) setBytes(num protowire.Number, v []byte) bool {
	switch num {
	case 2:
		u.data = v
	case 4: // packed
		for len(v) > 0 {
			size, n := protowire.ConsumeVarint(v)
			if n < 0 {
				return false
			}
			u.sizes, v = append(u.sizes, size), v[n:]
		}
	case 8: // time of change: not kept
	default:
		return false
	}
	return true
}

// inSlots tells whether name hashes to the slots of path: each level of a
// sharded folder takes the next bits of the hash, the highest first.
func inSlots(name string, fanout int, path string) bool {
	hash := murmur3.Sum64([]byte(name))
	width := bits.TrailingZeros(uint(fanout))
	for level := range len(path) / 2 {
		slot := uint64(binary.BigEndian.Uint16([]byte(path[level*2:])))
		used := level * width
		if used+width > 64 || hash<<used>>(64-width) != slot {
			return false
		}
	}
	return true
}
