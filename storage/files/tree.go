package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/ipfs/go-cid"
)

func isMissing(err error) bool { return errors.Is(err, ErrMissing) }

// Item is one entry of a folder.
type Item struct {
	Name   string
	CID    string
	Folder bool
	Bytes  uint64 // of a file; 0 for a folder
}

// node reads and decodes a block that is here.
func (f *Files) node(l link) (node, error) {
	block, err := f.blocks.read(l.cid)
	if err != nil {
		return node{}, err
	}
	return decode(l.cid, block, l.want)
}

func entry(c cid.Cid) link { return link{cid: c, want: expect{role: roleEntry}} }

// entries calls fn for each entry of a folder, sharded or not; n is its root.
func (f *Files) entries(ctx context.Context, n node, fn func(link) error) error {
	if n.kind == kindFile {
		return ErrNotFolder
	}
	for _, l := range n.links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.want.role == roleEntry {
			if err := fn(l); err != nil {
				return err
			}
			continue
		}
		// The depth is bounded: each level takes bits of a 64-bit hash.
		below, err := f.node(l)
		if err != nil {
			return err
		}
		if err := f.entries(ctx, below, fn); err != nil {
			return err
		}
	}
	return nil
}

// child finds one entry of a folder, going only into the shards that its name
// hashes to.
func (f *Files) child(n node, name string) (link, error) {
	if n.kind == kindFile {
		return link{}, fmt.Errorf("%q: %w", name, ErrNotFolder)
	}
	for _, l := range n.links {
		switch {
		case l.want.role == roleEntry && l.name == name:
			return l, nil
		case l.want.role == roleShard && inSlots(name, l.want.fanout, l.want.path):
			below, err := f.node(l)
			if err != nil {
				return link{}, err
			}
			return f.child(below, name)
		}
	}
	return link{}, fmt.Errorf("%q: %w", name, ErrNoPath)
}

func (f *Files) descend(c cid.Cid, names []string) (link, error) {
	at := entry(c)
	for _, name := range names {
		n, err := f.node(at)
		if err != nil {
			return link{}, err
		}
		if at, err = f.child(n, name); err != nil {
			return link{}, err
		}
	}
	return at, nil
}

// Resolve returns the content id of what lies at path ("a/b.csv") below root; an
// empty path is root itself. It returns [ErrNoPath], [ErrNotFolder] or [ErrMissing].
func (f *Files) Resolve(_ context.Context, root, path string) (string, error) {
	c, err := parse(root)
	if err != nil {
		return "", err
	}
	names, err := splitNames(path)
	if err != nil {
		return "", fmt.Errorf("resolve %s in %s: %w", path, root, err)
	}
	l, err := f.descend(c, names)
	if err != nil {
		return "", fmt.Errorf("resolve %s in %s: %w", path, root, err)
	}
	return l.cid.String(), nil
}

// List returns the entries of the folder at a path such as "cid/a", in the order
// of the folder's blocks.
func (f *Files) List(ctx context.Context, cidPath string) (items []Item, err error) {
	c, names, err := splitPath(cidPath)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	at, err := f.descend(c, names)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", cidPath, err)
	}
	n, err := f.node(at)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", cidPath, err)
	}
	err = f.entries(ctx, n, func(l link) error {
		n, err := f.node(l)
		if err != nil {
			return err
		}
		items = append(items, Item{Name: l.name, CID: l.cid.String(), Folder: n.kind != kindFile, Bytes: n.size})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", cidPath, err)
	}
	return items, nil
}

// FileSize returns the bytes of the file at a path such as "cid/a/b.csv", as it
// declares them: a file that was fetched has as many. Where there is no file at the
// path, or a folder, the error is [fs.ErrNotExist].
func (f *Files) FileSize(_ context.Context, cidPath string) (uint64, error) {
	c, names, err := splitPath(cidPath)
	if err != nil {
		return 0, fmt.Errorf("size: %w", err)
	}
	at, err := f.descend(c, names)
	var n node
	if err == nil {
		n, err = f.node(at)
	}
	if err == nil && n.kind != kindFile {
		err = ErrNotFile
	}
	if errors.Is(err, ErrNoPath) || errors.Is(err, ErrNotFile) || errors.Is(err, ErrNotFolder) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", cidPath, err)
	}
	return n.size, nil
}

// Cat writes the bytes of the file at a path such as "cid/a/b.csv". It writes
// nothing before the first block is checked, and stops at the first that is not
// here or does not match.
func (f *Files) Cat(ctx context.Context, cidPath string, w io.Writer) error {
	c, names, err := splitPath(cidPath)
	if err != nil {
		return fmt.Errorf("cat: %w", err)
	}
	at, err := f.descend(c, names)
	if err != nil {
		return fmt.Errorf("cat %s: %w", cidPath, err)
	}
	if err := f.write(ctx, at, w, 1); err != nil {
		return fmt.Errorf("cat %s: %w", cidPath, err)
	}
	return nil
}

// write writes the bytes of a file, in order, one block in memory for each level.
func (f *Files) write(ctx context.Context, l link, w io.Writer, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > local.Depth {
		return &LimitError{What: "blocks deep", Max: uint64(local.Depth)}
	}
	n, err := f.node(l)
	if err != nil {
		return err
	}
	if n.kind != kindFile {
		return ErrNotFile
	}
	if _, err := w.Write(n.data); err != nil {
		return err
	}
	for _, next := range n.links {
		if err := f.write(ctx, next, w, depth+1); err != nil {
			return err
		}
	}
	return nil
}
