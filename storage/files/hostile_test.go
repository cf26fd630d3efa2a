package files

import (
	"context"
	"crypto/sha256"
	"errors"
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
	cases := hostile()
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
			if over := errors.As(err, &limit); !errors.Is(err, want[name]) && !(over && want[name] == errLimit) {
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
