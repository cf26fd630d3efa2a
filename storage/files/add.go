package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// What `ipfs add --cid-version=1` of kubo does unless it is told otherwise. The
// newer profile unixfs-v1-2025 has larger pieces, but kubo does not use it by
// itself, and an id that a user can check with the plain command is worth more.
// boxo holds the same values in variables that anyone may set, so they are here.
const (
	pieceBytes    = 256 << 10
	linksPerNode  = 174
	shardingBytes = 256 << 10 // a folder whose links are larger is sharded
	shardFanout   = 256
)

// ErrSpecial is returned for a device, socket or pipe in what is added.
var ErrSpecial = errors.New("neither a file nor a folder")

var idFormat = cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: multihash.SHA2_256, MhLength: -1}

// Add keeps the file or folder at a path and returns its content id and the
// bytes of its files. Symbolic links are refused ([ErrSymlink]), whether the path
// is one or something below it; modes, times and owners are not kept.
func (f *Files) Add(ctx context.Context, name string) (root string, size uint64, err error) {
	return f.AddTree(ctx, []Entry{{Path: name}})
}

// AddReader keeps what r reads as one file.
func (f *Files) AddReader(ctx context.Context, r io.Reader) (root string, size uint64, err error) {
	a := f.adder()
	n, err := a.file(ctx, r)
	if err == nil {
		err = a.to.flush()
	}
	if err != nil {
		return "", 0, fmt.Errorf("add: %w", err)
	}
	return n.Cid().String(), a.bytes, nil
}

// Entry is one part of what [Files.AddTree] builds: a path on this machine, or the
// content id of something that is here.
type Entry struct {
	Name string // where it goes, such as "data/train.csv"; empty: it is the root itself
	Path string
	CID  string
}

// AddTree builds one folder out of entries and returns its content id and the
// bytes of its files. Folders on the way to a name are made; an entry may go
// inside a folder that another entry brings, but never in the place of a file or
// of another entry. A single entry without a name is the root, a file too.
func (f *Files) AddTree(ctx context.Context, entries []Entry) (root string, size uint64, err error) {
	a := f.adder()
	top := &branch{}
	for _, e := range entries {
		if err := a.place(ctx, top, e); err != nil {
			return "", 0, fmt.Errorf("add %s: %w", cmp.Or(e.Path, e.CID), err)
		}
	}
	n, err := a.build(ctx, top)
	if err == nil {
		err = a.to.flush()
	}
	if err != nil {
		return "", 0, fmt.Errorf("add: %w", err)
	}
	// Entries by content id were not counted while they were placed.
	s, err := newMeasure(f.blocks, local).root(ctx, n.Cid())
	if err != nil {
		return "", 0, fmt.Errorf("add: %w", err)
	}
	return n.Cid().String(), s.bytes, nil
}

// adder is the state of one Add.
type adder struct {
	f     *Files
	to    *builder
	bytes uint64
}

func (f *Files) adder() *adder { return &adder{f: f, to: &builder{to: f.blocks}} }

// branch is a place in the tree that AddTree builds: a node that is whole, or a
// folder that is still open. An open folder that began as a node has its entries.
type branch struct {
	node     ipld.Node
	children map[string]*branch
}

// place adds what e names and hangs it into the tree.
func (a *adder) place(ctx context.Context, top *branch, e Entry) error {
	names, err := splitNames(e.Name)
	if err != nil {
		return err
	}
	var n ipld.Node
	switch {
	case (e.Path == "") == (e.CID == ""):
		return errors.New("an entry needs either a path or a content id")
	case e.CID != "":
		c, err := parse(e.CID)
		if err != nil {
			return err
		}
		if n, err = a.to.load(c); err != nil {
			return err
		}
	default:
		if n, err = a.path(ctx, e.Path); err != nil {
			return err
		}
	}
	at := top
	for i, name := range names {
		if err := a.open(ctx, at); err != nil {
			return fmt.Errorf("%s: %w", path.Join(names[:i]...), err)
		}
		if at.children == nil {
			at.children = map[string]*branch{}
		}
		if at.children[name] == nil {
			at.children[name] = &branch{}
		}
		at = at.children[name]
	}
	if at.node != nil || at.children != nil {
		return fmt.Errorf("%q is taken: %w", e.Name, fs.ErrExist)
	}
	at.node = n
	return nil
}

// open turns a whole folder into one that takes entries.
func (a *adder) open(ctx context.Context, at *branch) error {
	if at.node == nil {
		return nil
	}
	if err := a.to.flush(); err != nil {
		return err
	}
	n, err := a.f.node(entry(at.node.Cid()))
	if err != nil {
		return err
	}
	children := map[string]*branch{}
	err = a.f.entries(ctx, n, func(l link) error {
		below, err := a.to.load(l.cid)
		children[l.name] = &branch{node: below}
		return err
	})
	if err != nil {
		return err // ErrNotFolder among them
	}
	at.node, at.children = nil, children
	return nil
}

// build closes all folders, the deepest first.
func (a *adder) build(ctx context.Context, at *branch) (ipld.Node, error) {
	if at.node != nil {
		return at.node, nil
	}
	dir, err := a.newFolder()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(at.children)) {
		n, err := a.build(ctx, at.children[name])
		if err != nil {
			return nil, err
		}
		if err := dir.AddChild(ctx, name, n); err != nil {
			return nil, err
		}
	}
	return a.finish(ctx, dir)
}

// path adds the file or folder at a path. Below a folder nothing is followed
// out of it, whatever changes there meanwhile.
func (a *adder) path(ctx context.Context, name string) (ipld.Node, error) {
	dir, base := filepath.Split(filepath.Clean(name))
	if dir == "" {
		dir = "."
	}
	st, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return a.folder(ctx, root, ".")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return a.regular(ctx, root, base, st.Mode())
}

func (a *adder) folder(ctx context.Context, root *os.Root, at string) (ipld.Node, error) {
	entries, err := fs.ReadDir(root.FS(), at) // sorted by name
	if err != nil {
		return nil, err
	}
	dir, err := a.newFolder()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := checkName(e.Name()); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(at, e.Name()), err)
		}
		var n ipld.Node
		if e.IsDir() {
			n, err = a.folder(ctx, root, path.Join(at, e.Name()))
		} else {
			n, err = a.regular(ctx, root, path.Join(at, e.Name()), e.Type())
		}
		if err != nil {
			return nil, err
		}
		if err := dir.AddChild(ctx, e.Name(), n); err != nil {
			return nil, err
		}
	}
	return a.finish(ctx, dir)
}

// regular adds one file. A pipe is not waited for, and what became a link since it
// was listed is refused like any other.
func (a *adder) regular(ctx context.Context, root *os.Root, name string, mode fs.FileMode) (ipld.Node, error) {
	if mode&fs.ModeSymlink != 0 {
		return nil, fmt.Errorf("%s: %w", name, ErrSymlink)
	}
	if !mode.IsRegular() {
		return nil, fmt.Errorf("%s: %w", name, ErrSpecial)
	}
	in, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, ErrSpecial), err)
	}
	return a.file(ctx, in)
}

// file cuts a file into pieces and builds the balanced tree over them.
func (a *adder) file(ctx context.Context, r io.Reader) (ipld.Node, error) {
	params := helpers.DagBuilderParams{
		Maxlinks: linksPerNode, RawLeaves: true, CidBuilder: idFormat, Dagserv: ctxBuilder{a.to, ctx},
	}
	count := &countReader{r: r}
	h, err := params.New(chunk.NewSizeSplitter(count, pieceBytes))
	if err != nil {
		return nil, err
	}
	n, err := balanced.Layout(h)
	a.bytes += count.n
	return n, err
}

// ctxBuilder gives boxo's importer, which takes no context, ours.
type ctxBuilder struct {
	*builder
	ctx context.Context
}

// Add takes one node, unless the Add that it is for has been cancelled.
func (b ctxBuilder) Add(_ context.Context, n ipld.Node) error { return b.builder.Add(b.ctx, n) }

// AddMany takes nodes likewise.
func (b ctxBuilder) AddMany(_ context.Context, ns []ipld.Node) error {
	return b.builder.AddMany(b.ctx, ns)
}

type countReader struct {
	r io.Reader
	n uint64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += uint64(n)
	return n, err
}

func (a *adder) newFolder() (uio.Directory, error) {
	dir, err := uio.NewDirectory(a.to, uio.WithCidBuilder(idFormat), uio.WithMaxHAMTFanout(shardFanout),
		uio.WithSizeEstimationMode(uio.SizeEstimationLinks))
	if err != nil {
		return nil, err
	}
	dir.SetHAMTShardingSize(shardingBytes)
	return dir, nil
}

func (a *adder) finish(ctx context.Context, dir uio.Directory) (ipld.Node, error) {
	n, err := dir.GetNode()
	if err != nil {
		return nil, err
	}
	return n, a.to.Add(ctx, n)
}
