package log

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/souk-market/souk"
	"golang.org/x/mod/sumdb/tlog"
)

// The tiles of C2SP tlog-tiles: 256 hashes, or entries, to a file.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	entrySize  = 2 + len(souk.Digest{}) // an entry after its length
)

// entries is the level of bundles of entries; tiles of hashes start at 0.
const entries = -1

// tileID names a tile of hashes or a bundle of entries.
type tileID struct {
	level int // from 0, or entries
	n     uint64
	width int // 256 if it is full
}

// unit is the size of what the tile holds width of.
func (t tileID) unit() int {
	if t.level == entries {
		return entrySize
	}
	return tlog.HashSize
}

// path is where the tile is served, and kept below the log's directory.
func (t tileID) path() string {
	level := "entries"
	if t.level != entries {
		level = strconv.Itoa(t.level)
	}
	n := fmt.Sprintf("%03d", t.n%1000)
	for rest := t.n / 1000; rest > 0; rest /= 1000 {
		n = fmt.Sprintf("x%03d/%s", rest%1000, n)
	}
	if t.width == tileWidth {
		return "tile/" + level + "/" + n
	}
	return "tile/" + level + "/" + n + ".p/" + strconv.Itoa(t.width)
}

// parsePath is the inverse of path; any other spelling is refused.
func parsePath(path string) (t tileID, ok bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(path) > 100 {
		return tileID{}, false
	}
	level, rest, _ := strings.Cut(rest, "/")
	if t.level = entries; level != "entries" {
		l, err := strconv.ParseUint(level, 10, 6)
		if err != nil {
			return tileID{}, false
		}
		t.level = int(l)
	}
	rest, width, partial := strings.Cut(rest, ".p/")
	if t.width = tileWidth; partial {
		w, err := strconv.ParseUint(width, 10, 8)
		if err != nil {
			return tileID{}, false
		}
		t.width = int(w)
	}
	n, err := strconv.ParseUint(strings.ReplaceAll(strings.ReplaceAll(rest, "x", ""), "/", ""), 10, 63)
	if err != nil {
		return tileID{}, false
	}
	t.n = n
	return t, t.path() == path
}

// file is a tile to be written.
type file struct {
	id   tileID
	data []byte
}

// tree is the right edge of the log: the tiles that are not full. All that is to
// its left is in files.
type tree struct {
	size   uint64
	bundle []byte   // the last entries
	levels [][]byte // the last tile of each level; none is full
}

// clone shares what is there; pushing to the clone leaves the original as it was.
func (t tree) clone() tree {
	t.bundle = slices.Clip(t.bundle)
	t.levels = slices.Clone(t.levels)
	for i, level := range t.levels {
		t.levels[i] = slices.Clip(level)
	}
	return t
}

// push adds an entry and returns the tiles that it filled.
func (t *tree) push(d souk.Digest) (full []file) {
	n := t.size
	t.size++
	t.bundle = binary.BigEndian.AppendUint16(t.bundle, uint16(len(d)))
	t.bundle = append(t.bundle, d[:]...)
	if len(t.bundle) == tileWidth*entrySize {
		full = append(full, file{tileID{entries, n / tileWidth, tileWidth}, t.bundle})
		t.bundle = nil
	}
	h := tlog.RecordHash(d[:])
	for l := 0; ; l++ {
		if l == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[l] = append(t.levels[l], h[:]...)
		n /= tileWidth
		if len(t.levels[l]) < tileWidth*tlog.HashSize {
			return full
		}
		full = append(full, file{tileID{l, n, tileWidth}, t.levels[l]})
		h = merkle(hashes(t.levels[l]))
		t.levels[l] = nil
	}
}

// partials are the tiles of the edge that changed since the log had old entries.
func (t tree) partials(old uint64) (fs []file) {
	if t.size == old {
		return nil
	}
	for level := entries; level < len(t.levels); level++ {
		id := t.last(level)
		if data := t.edge(id, id.width); data != nil && t.units(level) != units(old, level) {
			fs = append(fs, file{id, data})
		}
	}
	return fs
}

// units is how many hashes a level has in a tree of size entries.
func units(size uint64, level int) uint64 {
	if level == entries {
		level = 0
	}
	return size >> (tileHeight * level)
}

func (t tree) units(level int) uint64 { return units(t.size, level) }

// last names the tile of the edge at a level; its width is 0 if it is empty.
func (t tree) last(level int) tileID {
	n := t.units(level)
	return tileID{level, n / tileWidth, int(n % tileWidth)}
}

// width is how much of a tile the tree has.
func (t tree) width(id tileID) int {
	n := t.units(id.level)
	if id.n > n/tileWidth {
		return 0
	}
	return int(min(n-id.n*tileWidth, tileWidth))
}

// edge is a tile's data if it is on the edge, with width of it filled; else nil.
func (t tree) edge(id tileID, width int) []byte {
	switch {
	case width < 1 || width >= tileWidth:
		return nil
	case id.level == entries:
		return t.bundle
	default:
		return t.levels[id.level]
	}
}

// root is the RFC 6962 root. A tile's hashes are roots of subtrees of one size,
// so the root over them, with that of all smaller ones last, is the tree's.
func (t tree) root() souk.Digest {
	var rest []tlog.Hash
	for _, level := range t.levels {
		if all := append(hashes(level), rest...); len(all) > 0 {
			rest = []tlog.Hash{merkle(all)}
		}
	}
	if rest == nil {
		return emptyRoot
	}
	return souk.Digest(rest[0])
}

func hashes(tile []byte) []tlog.Hash {
	hs := make([]tlog.Hash, 0, len(tile)/tlog.HashSize+1)
	for ; len(tile) > 0; tile = tile[tlog.HashSize:] {
		hs = append(hs, tlog.Hash(tile[:tlog.HashSize]))
	}
	return hs
}

// merkle is the RFC 6962 root over subtrees: a pair at a time, the odd one
// moving up, gives the same tree as a split at the largest power of two.
func merkle(hs []tlog.Hash) tlog.Hash {
	for len(hs) > 1 {
		hs = pairs(hs)
	}
	return hs[0]
}

// pairs is the next level up. It reuses hs.
func pairs(hs []tlog.Hash) []tlog.Hash {
	up := hs[:0]
	for i := 0; i+1 < len(hs); i += 2 {
		up = append(up, tlog.NodeHash(hs[i], hs[i+1]))
	}
	if len(hs)%2 == 1 {
		up = append(up, hs[len(hs)-1])
	}
	return up
}
