package files

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"

	"github.com/souk-market/souk/storage/mem"
)

// seeds returns a set of blocks that link to each other, and what they are.
func seeds(t *testing.T) (*forge, []cid.Cid) {
	f := newForge(t)
	x := f.raw("x")
	file := f.file(3, []uint64{1, 1, 1}, x, x, x)
	folder := f.folder(edge{"a", x}, edge{"b", file})
	return f, []cid.Cid{
		file, folder, f.folder(edge{"sub", folder}, edge{"x", x}), f.shard(256, []byte{1}, edge{"00", f.shard(256, nil)}),
		f.file(0, nil), f.folder(),
	}
}

// roomy is a store on a disk that is never full.
type roomy struct{ *mem.Store }

func (roomy) Room() error { return nil }

// FuzzDecode feeds the decoder blocks of any peer. What it takes, boxo's
// decoders must take and read the same.
func FuzzDecode(f *testing.F) {
	made, roots := seeds(&testing.T{})
	for _, c := range roots {
		f.Add(made.blocks[c])
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		c := newForge(t).put(cid.DagProtobuf, block)
		n, err := decode(c, block, expect{role: roleEntry})
		if err != nil {
			return
		}
		if len(n.links)*36 > len(block) {
			t.Fatalf("%d links in %d bytes", len(n.links), len(block))
		}
		theirs, err := merkledag.DecodeProtobuf(block)
		if err != nil {
			t.Fatalf("boxo: %v", err)
		}
		u, err := ft.FSNodeFromBytes(theirs.Data())
		if err != nil {
			t.Fatalf("boxo: %v", err)
		}
		if n.kind == kindFile && (u.FileSize() != n.size && u.FileSize() != 0 || !bytes.Equal(u.Data(), n.data)) {
			t.Errorf("a file of %d bytes with %d here; boxo: %d, %d", n.size, len(n.data), u.FileSize(), len(u.Data()))
		}
		if u.IsDir() != (n.kind != kindFile) {
			t.Errorf("kind %d; boxo: folder %t", n.kind, u.IsDir())
		}
		if len(theirs.Links()) != len(n.links) {
			t.Fatalf("%d links; boxo: %d", len(n.links), len(theirs.Links()))
		}
		for i, l := range theirs.Links() {
			if l.Cid != n.links[i].cid || l.Size != n.links[i].tsize || n.kind == kindFolder && l.Name != n.links[i].name {
				t.Errorf("link %d is %+v; boxo: %+v", i, n.links[i], l)
			}
		}
	})
}

// FuzzWalk puts any block over known ones and does all that can be done to a
// root. Nothing may panic, be written outside, or differ between ways to look.
func FuzzWalk(f *testing.F) {
	made, roots := seeds(&testing.T{})
	for _, c := range roots {
		f.Add(made.blocks[c])
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		bs, err := newBlockstore(roomy{mem.New()}, t.TempDir(), false)
		if err != nil {
			t.Fatal(err)
		}
		files := &Files{blocks: bs}
		top := newForge(t)
		root := top.put(cid.DagProtobuf, block)
		for _, all := range []*forge{made, top} {
			for c, b := range all.blocks {
				block, err := blocks.NewBlockWithCid(b, c)
				if err != nil {
					t.Fatal(err)
				}
				if err := files.blocks.put([]blocks.Block{block}); err != nil && len(b) <= MaxBlockBytes {
					t.Fatal(err)
				}
			}
		}
		ctx := context.Background()
		info, err := files.Stat(ctx, root.String())
		if err != nil {
			info = Info{}
		}
		_, _ = files.List(ctx, root.String())
		if info.Bytes > 1<<20 || info.Files > 100 {
			return // a walk over it would only take time
		}
		_ = files.Cat(ctx, root.String(), io.Discard)
		base := t.TempDir()
		saved, n, err2 := files.Save(ctx, root.String(), filepath.Join(base, "dest"))
		if (err == nil) != (err2 == nil) || err == nil && (saved != info.Bytes || uint64(n) != info.Files) {
			t.Errorf("Stat = %+v, %v; Save = %d bytes, %d files, %v", info, err, saved, n, err2)
		}
		if left, err := os.ReadDir(base); err != nil || len(left) > 1 {
			t.Errorf("beside dest: %v, %v", left, err)
		}
	})
}
