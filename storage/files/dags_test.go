package files

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"
)

// dag forges a DAG that must be refused, and tells the error that it must get.
type dag func(*forge) (cid.Cid, error)

// errLimit stands for any *LimitError.
var errLimit = errors.New("a limit")

func one(f *forge) cid.Cid { return f.raw("x") }

// hostile returns all of them by name.
func hostile() map[string]dag {
	all := map[string]dag{}
	for _, some := range []map[string]dag{hostileNames(), hostileTypes(), hostileShards(), hostileSizes()} {
		maps.Copy(all, some)
	}
	return all
}

// hostileNames are names that must not reach a file system.
func hostileNames() map[string]dag {
	named := func(name string) dag {
		return func(f *forge) (cid.Cid, error) { return f.folder(edge{name, one(f)}), ErrName }
	}
	return map[string]dag{
		"name with a slash":     named("a/b"),
		"name with a backslash": named(`a\b`),
		"name up":               named(".."),
		"name here":             named("."),
		"name absolute":         named("/etc/passwd"),
		"name empty":            named(""),
		"name with a zero":      named("a\x00b"),
		"name with an escape":   named("a\x1b[2J"),
		"name not UTF-8":        named("a\xff"),
		"name too long":         named(strings.Repeat("n", 256)),
		"name twice": func(f *forge) (cid.Cid, error) {
			return f.folder(edge{"a", one(f)}, edge{"a", f.raw("y")}), ErrName
		},
		"name up, deeper": func(f *forge) (cid.Cid, error) {
			return f.folder(edge{"a", f.folder(edge{"..", one(f)})}), ErrName
		},
	}
}

// hostileTypes are nodes that are not what they should be, or lie.
func hostileTypes() map[string]dag {
	return map[string]dag{
		"symbolic link": func(f *forge) (cid.Cid, error) {
			data := protowire.AppendString(protowire.AppendTag(uint1(nil, 1, typeSymlink), 2, protowire.BytesType), "/etc/passwd")
			return f.folder(edge{"a", f.node(data)}), ErrSymlink
		},
		"metadata node":  func(f *forge) (cid.Cid, error) { return f.node(uint1(nil, 1, 3)), ErrMalformed },
		"unknown type":   func(f *forge) (cid.Cid, error) { return f.node(uint1(nil, 1, 99)), ErrMalformed },
		"no type":        func(f *forge) (cid.Cid, error) { return f.node(nil), ErrMalformed },
		"not dag-pb":     func(f *forge) (cid.Cid, error) { return f.put(cid.DagProtobuf, []byte("no")), ErrMalformed },
		"total is a lie": func(f *forge) (cid.Cid, error) { return f.file(9, []uint64{1}, one(f)), ErrMalformed },
		"piece is a lie": func(f *forge) (cid.Cid, error) { return f.file(0, []uint64{2}, one(f)), ErrMalformed },
		"sizes overflow": func(f *forge) (cid.Cid, error) {
			return f.file(0, []uint64{1, 1<<64 - 1}, one(f), one(f)), ErrMalformed
		},
		"more links than sizes": func(f *forge) (cid.Cid, error) { return f.file(0, []uint64{1}, one(f), one(f)), ErrMalformed },
		"folder in a file":      func(f *forge) (cid.Cid, error) { return f.file(0, []uint64{0}, f.folder()), ErrMalformed },
		"identity hash": func(f *forge) (cid.Cid, error) {
			mh, _ := multihash.Encode([]byte("x"), multihash.IDENTITY)
			return f.folder(edge{"a", cid.NewCidV1(cid.Raw, mh)}), ErrCID
		},
		"foreign hash": func(f *forge) (cid.Cid, error) {
			mh, _ := multihash.Sum([]byte("x"), multihash.SHA1, -1)
			return f.folder(edge{"a", cid.NewCidV1(cid.Raw, mh)}), ErrCID
		},
		"foreign codec": func(f *forge) (cid.Cid, error) {
			return f.folder(edge{"a", f.put(cid.DagCBOR, []byte{0xa0})}), ErrCID
		},
		"cut short": func(f *forge) (cid.Cid, error) {
			c := f.folder(edge{"a", one(f)})
			b := f.blocks[c]
			return f.put(cid.DagProtobuf, b[:len(b)-1]), ErrMalformed
		},
	}
}

// hostileShards are broken sharded folders.
func hostileShards() map[string]dag {
	shard := func(fanout uint64, bitmap []byte, names ...string) dag {
		return func(f *forge) (cid.Cid, error) {
			var edges []edge
			for _, n := range names {
				edges = append(edges, edge{n, one(f)})
			}
			return f.shard(fanout, bitmap, edges...), ErrMalformed
		}
	}
	return map[string]dag{
		"shard of 2048":          shard(2048, []byte{1}, "000a"),
		"shard of 2^40":          shard(1<<40, []byte{1}, "000a"),
		"shard of 0":             shard(0, nil),
		"shard of 12":            shard(12, []byte{1}, "0a"),
		"shard without slot":     shard(256, []byte{1}, ""),
		"shard lower case":       shard(256, []byte{0, 1}, "0aname"),
		"shard slots backwards":  shard(256, []byte{3}, "01a", "00b"),
		"shard bitmap too short": shard(256, []byte{1}, "FFa"),
		"shard bitmap too long":  shard(8, []byte{1, 1}, "0a"),
		"shard in a wrong slot":  shard(256, []byte{1}, "00name"),
		"shard of other width below": func(f *forge) (cid.Cid, error) {
			return f.shard(256, []byte{1}, edge{"00", f.shard(16, nil)}), ErrMalformed
		},
		"shard that ends in a file": func(f *forge) (cid.Cid, error) {
			return f.shard(256, []byte{1}, edge{"00", one(f)}), ErrMalformed
		},
		"shards deeper than the hash": func(f *forge) (cid.Cid, error) {
			c := f.shard(256, nil)
			for range 9 {
				c = f.shard(256, []byte{1}, edge{"00", c})
			}
			return c, ErrMalformed
		},
	}
}

// hostileSizes are DAGs that would cost too much.
func hostileSizes() map[string]dag {
	return map[string]dag{
		"declares too much": func(f *forge) (cid.Cid, error) { return f.file(0, []uint64{1 << 50}, one(f)), errLimit },
		"folders too deep": func(f *forge) (cid.Cid, error) {
			c := f.folder()
			for range 2000 {
				c = f.folder(edge{"d", c})
			}
			return c, errLimit
		},
		"file too deep": func(f *forge) (cid.Cid, error) {
			c := one(f)
			for range 2000 {
				c = f.file(0, []uint64{1}, c)
			}
			return c, errLimit
		},
		"two of each, 28 deep": func(f *forge) (cid.Cid, error) { // 2^28 files, 30 blocks
			c := f.folder(edge{"a", one(f)})
			for range 28 {
				c = f.folder(edge{"a", c}, edge{"b", c})
			}
			return c, errLimit
		},
		"few blocks, many bytes": func(f *forge) (cid.Cid, error) {
			const megabyte = 1 << 20
			c, size := f.raw(strings.Repeat("z", megabyte)), uint64(megabyte)
			for range 8 { // 32^8 MiB
				sizes, pieces := make([]uint64, 32), make([]cid.Cid, 32)
				for i := range sizes {
					sizes[i], pieces[i] = size, c
				}
				c, size = f.file(0, sizes, pieces...), size*32
			}
			return c, errLimit
		},
		"very wide": func(f *forge) (cid.Cid, error) {
			var edges []edge
			for i := range 30_000 {
				edges = append(edges, edge{fmt.Sprint(i), f.raw(fmt.Sprint(i))})
			}
			return f.folder(edges...), errLimit
		},
		"large block": func(f *forge) (cid.Cid, error) {
			return f.folder(edge{"a", f.raw(strings.Repeat("L", MaxBlockBytes+1))}), errLimit
		},
	}
}
