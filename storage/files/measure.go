package files

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/souk-market/souk"
)

// Limit bounds a DAG. Zero fields take the default.
type Limit struct {
	Bytes   uint64 // of all files, counted as often as they would be written out; default 64 GiB
	Blocks  uint64 // distinct ones; default 1,048,576
	Entries uint64 // files and folders, counted as often as they would be written out; default 1,048,576
	Depth   int    // blocks on the way from the root to a leaf; default 64
}

const maxDepth = 1024 // above this the walk's own stack would be the cost

func (l Limit) fill() Limit {
	if l.Bytes == 0 {
		l.Bytes = 64 << 30
	}
	l.Bytes = min(l.Bytes, 1<<60) // two of them add up without overflow
	if l.Blocks == 0 {
		l.Blocks = 1 << 20
	}
	if l.Entries == 0 {
		l.Entries = 1 << 20
	}
	l.Entries = min(l.Entries, 1<<60)
	if l.Depth == 0 {
		l.Depth = 64
	}
	l.Depth = min(l.Depth, maxDepth)
	return l
}

// Info is what a root holds.
type Info struct {
	Folder bool
	Bytes  uint64 // of all files, as often as they would be written out
	Files  uint64 // likewise
	Blocks uint64 // distinct ones
}

// local is for what is here already and was added or fetched under its own limits.
var local = Limit{Bytes: 1 << 60, Blocks: 1 << 26, Entries: 1 << 26, Depth: 256}

// Stat walks all of root, or returns [ErrMissing] if a block is not here.
func (f *Files) Stat(ctx context.Context, root string) (Info, error) {
	c, err := parse(root)
	if err != nil {
		return Info{}, err
	}
	m := newMeasure(f.blocks, local)
	s, err := m.root(ctx, c)
	if err != nil {
		return Info{}, fmt.Errorf("stat %s: %w", root, err)
	}
	return Info{Folder: s.folder, Bytes: s.bytes, Files: s.files, Blocks: uint64(len(m.blocks))}, nil
}

// Size returns the bytes of all files below root, as often as they would be
// written out, or [ErrMissing].
func (f *Files) Size(ctx context.Context, root string) (uint64, error) {
	i, err := f.Stat(ctx, root)
	return i.Bytes, err
}

// Complete tells whether all blocks of root are here. It fails if they are, but
// are not a file or folder.
func (f *Files) Complete(ctx context.Context, root string) (bool, error) {
	_, err := f.Stat(ctx, root)
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// sum is what lies below one block.
type sum struct {
	folder  bool
	bytes   uint64 // of files, written out
	files   uint64 // written out
	entries uint64 // files and folders, written out
	height  int    // blocks to the lowest leaf, this one included
}

// visit is a block under an expectation: met again, it needs no second look.
type visit struct {
	digest souk.Digest
	raw    bool
	want   expect
}

func visitOf(c cid.Cid, want expect) visit {
	return visit{digest(c), c.Prefix().Codec == cid.Raw, want}
}

// measure adds up a DAG that is here. Blocks that are linked to many times are
// counted as often and read once: time and memory follow the distinct blocks.
type measure struct {
	from   *blockstore
	limit  Limit
	sums   map[visit]sum
	blocks map[souk.Digest]struct{}
}

func newMeasure(from *blockstore, l Limit) *measure {
	return &measure{from: from, limit: l.fill(), sums: map[visit]sum{}, blocks: map[souk.Digest]struct{}{}}
}

func (m *measure) digests() []souk.Digest { return slices.Collect(maps.Keys(m.blocks)) }

func (m *measure) root(ctx context.Context, c cid.Cid) (sum, error) {
	return m.visit(ctx, link{cid: c, want: expect{role: roleEntry}}, 1)
}

func (m *measure) visit(ctx context.Context, l link, depth int) (sum, error) {
	if err := ctx.Err(); err != nil {
		return sum{}, err
	}
	key := visitOf(l.cid, l.want)
	s, known := m.sums[key]
	if !known {
		if depth > m.limit.Depth {
			return s, &LimitError{What: "blocks deep", Max: uint64(m.limit.Depth)}
		}
		m.blocks[key.digest] = struct{}{}
		if uint64(len(m.blocks)) > m.limit.Blocks {
			return s, &LimitError{What: "blocks", Max: m.limit.Blocks}
		}
		var err error
		if s, err = m.fresh(ctx, l, depth); err != nil {
			return s, err
		}
		m.sums[key] = s
	}
	if depth+s.height-1 > m.limit.Depth {
		return s, &LimitError{What: "blocks deep", Max: uint64(m.limit.Depth)}
	}
	return s, nil
}

// fresh looks at a block for the first time.
func (m *measure) fresh(ctx context.Context, l link, depth int) (s sum, err error) {
	n, err := m.node(l)
	if err != nil {
		return s, err
	}
	s.height = 1
	s.folder = n.kind != kindFile
	if n.kind == kindFile {
		s.bytes = n.size
	}
	if l.want.role == roleEntry {
		s.entries = 1
		if n.kind == kindFile {
			s.files = 1
		}
	}
	for _, next := range n.links {
		below, err := m.visit(ctx, next, depth+1)
		if err != nil {
			return s, err
		}
		s.height = max(s.height, below.height+1)
		if n.kind == kindFile {
			continue // its bytes are declared, and each piece was held against that
		}
		s.bytes += below.bytes
		s.files += below.files
		s.entries += below.entries
		if err := m.check(s); err != nil {
			return s, err
		}
	}
	return s, m.check(s)
}

func (m *measure) check(s sum) error {
	if s.bytes > m.limit.Bytes {
		return &LimitError{What: "bytes", Max: m.limit.Bytes}
	}
	if s.entries > m.limit.Entries {
		return &LimitError{What: "files and folders", Max: m.limit.Entries}
	}
	return nil
}

// node decodes a block; of raw leaves, which are most of a DAG, only the size is read.
func (m *measure) node(l link) (node, error) {
	if l.cid.Prefix().Codec != cid.Raw {
		block, err := m.from.read(l.cid)
		if err != nil {
			return node{}, err
		}
		return decode(l.cid, block, l.want)
	}
	size, ok, err := m.from.size(l.cid)
	switch {
	case err != nil:
		return node{}, err
	case !ok:
		return node{}, fmt.Errorf("%s: %w", l.cid, ErrMissing)
	case l.want.role == roleShard, l.want.role == rolePiece && l.want.size != size:
		return node{}, fmt.Errorf("block %s: a leaf of %d bytes: %w", l.cid, size, ErrMalformed)
	}
	return node{kind: kindFile, size: size}, nil
}
