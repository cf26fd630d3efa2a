package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/souk-market/souk"
)

// forge makes blocks by hand, as nobody's software would.
type forge struct {
	t      *testing.T
	blocks map[cid.Cid][]byte
}

func newForge(t *testing.T) *forge { return &forge{t, map[cid.Cid][]byte{}} }

type edge struct {
	name string
	to   cid.Cid
}

func (f *forge) put(codec uint64, block []byte) cid.Cid {
	sum := sha256.Sum256(block)
	mh, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		f.t.Fatal(err)
	}
	c := cid.NewCidV1(codec, mh)
	f.blocks[c] = block
	return c
}

func (f *forge) raw(text string) cid.Cid { return f.put(cid.Raw, []byte(text)) }

func (f *forge) node(data []byte, edges ...edge) cid.Cid {
	var b []byte
	for _, e := range edges {
		var l []byte
		l = protowire.AppendBytes(protowire.AppendTag(l, 1, protowire.BytesType), e.to.Bytes())
		l = protowire.AppendString(protowire.AppendTag(l, 2, protowire.BytesType), e.name)
		l = protowire.AppendVarint(protowire.AppendTag(l, 3, protowire.VarintType), 10)
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), l)
	}
	b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), data)
	return f.put(cid.DagProtobuf, b)
}

func (f *forge) folder(edges ...edge) cid.Cid { return f.node(uint1(nil, 1, typeFolder), edges...) }

// file links to pieces and declares their sizes, and a total unless it is 0.
func (f *forge) file(total uint64, sizes []uint64, pieces ...cid.Cid) cid.Cid {
	data := uint1(nil, 1, typeFile)
	if total > 0 {
		data = uint1(data, 3, total)
	}
	for _, s := range sizes {
		data = uint1(data, 4, s)
	}
	edges := make([]edge, len(pieces))
	for i, p := range pieces {
		edges[i].to = p
	}
	return f.node(data, edges...)
}

func (f *forge) shard(fanout uint64, bitmap []byte, edges ...edge) cid.Cid {
	data := uint1(nil, 1, typeShard)
	data = protowire.AppendBytes(protowire.AppendTag(data, 2, protowire.BytesType), bitmap)
	return f.node(uint1(uint1(data, 5, hashMurmur3), 6, fanout), edges...)
}

// uint1 appends one number field.
func uint1(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

// hostile returns DAGs that must be refused, each with the error it must get.
func hostile(t *testing.T) map[string]func(*forge) (cid.Cid, error) {
	limit := errors.New("a limit") // stands for any *LimitError
	one := func(f *forge) cid.Cid { return f.raw("x") }
	named := func(name string) func(*forge) (cid.Cid, error) {
		return func(f *forge) (cid.Cid, error) { return f.folder(edge{name, one(f)}), ErrName }
	}
	shard := func(fanout uint64, bitmap []byte, names ...string) func(*forge) (cid.Cid, error) {
		return func(f *forge) (cid.Cid, error) {
			var edges []edge
			for _, n := range names {
				edges = append(edges, edge{n, one(f)})
			}
			return f.shard(fanout, bitmap, edges...), ErrMalformed
		}
	}
	return map[string]func(*forge) (cid.Cid, error){
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
		"declares too much":     func(f *forge) (cid.Cid, error) { return f.file(0, []uint64{1 << 50}, one(f)), limit },
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
		"folders too deep": func(f *forge) (cid.Cid, error) {
			c := f.folder()
			for range 2000 {
				c = f.folder(edge{"d", c})
			}
			return c, limit
		},
		"file too deep": func(f *forge) (cid.Cid, error) {
			c := one(f)
			for range 2000 {
				c = f.file(0, []uint64{1}, c)
			}
			return c, limit
		},
		"two of each, 28 deep": func(f *forge) (cid.Cid, error) { // 2^28 files, 30 blocks
			c := f.folder(edge{"a", one(f)})
			for range 28 {
				c = f.folder(edge{"a", c}, edge{"b", c})
			}
			return c, limit
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
			return c, limit
		},
		"very wide": func(f *forge) (cid.Cid, error) {
			var edges []edge
			for i := range 30_000 {
				edges = append(edges, edge{fmt.Sprint(i), f.raw(fmt.Sprint(i))})
			}
			return f.folder(edges...), limit
		},
		"large block": func(f *forge) (cid.Cid, error) {
			return f.folder(edge{"a", f.raw(strings.Repeat("L", MaxBlockBytes+1))}), limit
		},
		"cut short": func(f *forge) (cid.Cid, error) {
			c := f.folder(edge{"a", one(f)})
			b := f.blocks[c]
			return f.put(cid.DagProtobuf, b[:len(b)-1]), ErrMalformed
		},
	}
}

// hostileLimit is what a provider might set for a job's input.
var hostileLimit = Limit{Bytes: 64 << 20, Blocks: 10_000, Entries: 10_000, Depth: 32}

// liar serves forged blocks: its store checks nothing.
type liar struct {
	*blockstore
	blocks map[cid.Cid][]byte
}

func (l liar) Has(_ context.Context, c cid.Cid) (bool, error) { return l.blocks[c] != nil, nil }

func (l liar) GetSize(_ context.Context, c cid.Cid) (int, error) { return len(l.blocks[c]), nil }

func (l liar) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	return blocks.NewBlockWithCid(l.blocks[c], c)
}

// TestHostile fetches each hostile DAG from a peer over the network. Each must
// end soon, with its typed error, and with little memory.
func TestHostile(t *testing.T) {
	client := startOn(t, nil)
	cases := hostile(t)
	all := newForge(t)
	want := map[string]error{}
	roots := map[string]cid.Cid{}
	for name, build := range cases {
		roots[name], want[name] = build(all)
	}
	server := startOn(t, all.blocks)
	dial(t, client, server)
	dest := t.TempDir()
	for name, root := range roots {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			began := time.Now()
			err := client.Fetch(ctx, root.String(), server.host.ID(), hostileLimit, nil)
			runtime.ReadMemStats(&after)
			var limit *LimitError
			if over := errors.As(err, &limit); !errors.Is(err, want[name]) && !(over && want[name].Error() == "a limit") {
				t.Errorf("Fetch = %v; want %v", err, want[name])
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 256<<20 {
				t.Errorf("the heap grew by %d bytes", grown)
			}
			if _, _, err := client.Save(t.Context(), root.String(), dest); err == nil {
				t.Error("it could be saved")
			}
		})
	}
	if left, err := os.ReadDir(dest); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestWrongBytes asks a peer that answers with bytes of another hash.
func TestWrongBytes(t *testing.T) {
	f := newForge(t)
	root := f.folder(edge{"a", f.raw("right")})
	f.blocks[root] = []byte("wrong")
	client, server := startOn(t, nil), startOn(t, f.blocks)
	dial(t, client, server)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() { // nothing more will come once the wrong bytes have
		for client.Stats().Unwanted == 0 && ctx.Err() == nil {
			runtime.Gosched()
		}
		cancel()
	}()
	err := client.Fetch(ctx, root.String(), server.host.ID(), hostileLimit, nil)
	if !errors.Is(err, ErrHash) || !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch = %v; want %v and that it was cancelled", err, ErrHash)
	}
	if here, err := client.Has(t.Context(), root.String()); here || err != nil {
		t.Errorf("Has = %t, %v", here, err)
	}
}

// TestRot damages a block in the store: readers do not get it, and once one has
// found out, a Fetch gets it again.
func TestRot(t *testing.T) {
	client, server := startOn(t, nil), startOn(t, nil)
	dial(t, client, server)
	root, _, err := server.AddReader(t.Context(), strings.NewReader("text"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(root)
	if err != nil {
		t.Fatal(err)
	}
	damaged, err := blocks.NewBlockWithCid([]byte("tex?"), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.blocks.put([]blocks.Block{damaged}); err != nil {
		t.Fatal(err)
	}
	if b, err := client.Block(root); !errors.Is(err, ErrHash) || b != nil {
		t.Errorf("Block = %q, %v; want %v", b, err, ErrHash)
	}
	if err := server.Grant(t.Context(), root, client.host.ID()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := client.Fetch(ctx, root, server.host.ID(), hostileLimit, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := client.Block(root); string(b) != "text" || err != nil {
		t.Errorf("after a Fetch, Block = %q, %v", b, err)
	}
}

// startOn is a store on a real host; with forged blocks it serves those to anyone.
func startOn(t *testing.T, forged map[cid.Cid][]byte) *Files {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{Dir: t.TempDir(), Host: h, FreeFloor: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if forged != nil {
		f.serve = liar{f.blocks, forged}
		for c := range forged {
			f.grants.add(grantKey{digest(c), Anyone}, []souk.Digest{digest(c)})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, h.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func dial(t *testing.T, from, to *Files) {
	t.Helper()
	if err := from.host.Connect(t.Context(), peer.AddrInfo{ID: to.host.ID(), Addrs: to.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
}
