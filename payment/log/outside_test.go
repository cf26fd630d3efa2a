package log

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/souk-market/souk"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// checkFromOutside verifies c as a stranger: only the handler and foreign code.
func checkFromOutside(t *testing.T, l *Log, old, c Checkpoint) {
	t.Helper()
	hashes := tlog.TileHashReader(tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Root)}, served{t, l.Handler()})
	for _, i := range []uint64{0, c.Size / 3, c.Size - 1} {
		d := leaf(i)
		want, err := tlog.ProveRecord(int64(c.Size), int64(i), hashes)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(want, int64(c.Size), tlog.Hash(c.Root), int64(i), tlog.RecordHash(d[:])); err != nil {
			t.Errorf("x/mod, entry %d of %d: %v", i, c.Size, err)
		}
		got, err := l.Inclusion(i, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(digests(want)) {
			t.Errorf("entry %d of %d: our proof is not x/mod's", i, c.Size)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, c.Size, rfc6962.DefaultHasher.HashLeaf(d[:]), bytesOf(got), c.Root[:]); err != nil {
			t.Errorf("transparency-dev, entry %d of %d: %v", i, c.Size, err)
		}
		if err := VerifyInclusion(d, i, c.Size, c.Root, got); err != nil {
			t.Error(err)
		}
		if err := VerifyInclusion(leaf(i+1), i, c.Size, c.Root, got); !errors.Is(err, ErrProof) {
			t.Errorf("another leaf at %d: %v", i, err)
		}
	}
	p, err := l.Consistency(old.Size, c.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyConsistency(old.Size, c.Size, old.Root, c.Root, p); err != nil {
		t.Error(err)
	}
	if old.Size > 0 {
		if err := tlog.CheckTree(toHashes(p), int64(c.Size), tlog.Hash(c.Root), int64(old.Size), tlog.Hash(old.Root)); err != nil {
			t.Errorf("x/mod, %d in %d: %v", old.Size, c.Size, err)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old.Size, c.Size, bytesOf(p), old.Root[:], c.Root[:]); err != nil {
			t.Errorf("transparency-dev, %d in %d: %v", old.Size, c.Size, err)
		}
		if err := VerifyConsistency(old.Size, c.Size, leaf(1), c.Root, p); !errors.Is(err, ErrProof) {
			t.Errorf("another old root: %v", err)
		}
	}
	last := tileID{entries, (c.Size - 1) / tileWidth, int((c.Size-1)%tileWidth) + 1}
	bundle := get(t, l.Handler(), "/"+last.path())
	if d := leaf(c.Size - 1); len(bundle) != last.width*entrySize || string(bundle[len(bundle)-32:]) != string(d[:]) {
		t.Errorf("%s does not end in entry %d", last.path(), c.Size-1)
	}
}

// served reads tiles over HTTP for x/mod, which verifies each against the root.
type served struct {
	t *testing.T
	h http.Handler
}

func (s served) Height() int                     { return tileHeight }
func (s served) SaveTiles([]tlog.Tile, [][]byte) {}
func (s served) ReadTiles(ts []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range ts {
		all = append(all, get(s.t, s.h, "/"+tileID{t.L, uint64(t.N), t.W}.path()))
	}
	return all, nil
}

func get(t *testing.T, h http.Handler, path string) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s = %d", path, w.Code)
	}
	return w.Body.Bytes()
}

func bytesOf(ds []souk.Digest) (bs [][]byte) {
	for _, d := range ds {
		bs = append(bs, d[:])
	}
	return bs
}

func TestHandlerServesWhatIsSigned(t *testing.T) {
	l := open(t, t.TempDir())
	appendTo(t, l, leaves(0, 300)...)
	for _, tt := range []struct {
		path string
		code int
		kind string
	}{
		{"/checkpoint", 200, "text/plain; charset=utf-8"},
		{"/tile/0/000", 200, "application/octet-stream"},
		{"/tile/0/001.p/44", 200, "application/octet-stream"},
		{"/tile/0/001.p/7", 200, "application/octet-stream"},
		{"/tile/0/000.p/7", 200, "application/octet-stream"},
		{"/tile/1/000.p/1", 200, "application/octet-stream"},
		{"/tile/entries/000", 200, "application/octet-stream"},
		{"/tile/entries/001.p/44", 200, "application/octet-stream"},
		{"/tile/entries/001.p/45", 404, ""},
		{"/tile/0/001", 404, ""},
		{"/tile/0/002", 404, ""},
		{"/tile/0/000.p/0", 404, ""},
		{"/tile/0/000.p/256", 404, ""},
		{"/tile/0/0", 404, ""},
		{"/tile/00/000", 404, ""},
		{"/tile/0/x000/000", 404, ""},
		{"/tile/1/000", 404, ""},
		{"/tile/2/000.p/1", 404, ""},
		{"/tile/64/000", 404, ""},
		{"/tile/0/x999/x999/x999/x999/x999/x999/999", 404, ""},
		{"/tile/0/000.tmp", 404, ""},
		{"/tile/", 404, ""},
		{"/", 404, ""},
	} {
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.path, nil))
		if w.Code != tt.code || tt.code == 200 && w.Header().Get("Content-Type") != tt.kind {
			t.Errorf("GET %s = %d, %q", tt.path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

func TestPathsRoundTrip(t *testing.T) {
	for path, want := range map[string]tileID{
		"tile/0/000":                 {0, 0, 256},
		"tile/63/999":                {63, 999, 256},
		"tile/entries/x001/000":      {entries, 1000, 256},
		"tile/1/x001/x234/067.p/255": {1, 1234067, 255},
	} {
		if got, ok := parsePath(path); !ok || got != want || got.path() != path {
			t.Errorf("parsePath(%q) = %+v, %v", path, got, ok)
		}
	}
	for _, path := range []string{"", "tile", "tile/0", "tile/-1/000", "tile/0/x001", "tile/0/001/000", "tile/0/000.p/", "tile/0/000.p/1/2", "tile/0/000.p/01", "tile/0/000/"} {
		if got, ok := parsePath(path); ok {
			t.Errorf("parsePath(%q) = %+v", path, got)
		}
	}
}

func TestProofRanges(t *testing.T) {
	l := open(t, t.TempDir())
	appendTo(t, l, leaves(0, 5)...)
	for _, tt := range []struct{ index, size uint64 }{{5, 5}, {0, 6}, {0, 0}, {6, 6}} {
		if _, err := l.Inclusion(tt.index, tt.size); !errors.Is(err, ErrRange) {
			t.Errorf("Inclusion(%d, %d) = %v", tt.index, tt.size, err)
		}
	}
	for _, tt := range []struct{ old, size uint64 }{{3, 2}, {1, 6}, {6, 6}} {
		if _, err := l.Consistency(tt.old, tt.size); !errors.Is(err, ErrRange) {
			t.Errorf("Consistency(%d, %d) = %v", tt.old, tt.size, err)
		}
	}
	c := head(t, l)
	for _, tt := range []struct {
		name      string
		old, size uint64
		oldRoot   souk.Digest
		proof     []souk.Digest
		ok        bool
	}{
		{"from nothing", 0, 5, emptyRoot, nil, true},
		{"same", 5, 5, c.Root, nil, true},
		{"same, another root", 5, 5, leaf(0), nil, false},
		{"same, with a proof", 5, 5, c.Root, leaves(0, 1), false},
		{"from nothing, another root", 0, 5, leaf(0), nil, false},
		{"shrunk", 6, 5, c.Root, nil, false},
		{"huge", 1, 1 << 63, c.Root, nil, false},
	} {
		if err := VerifyConsistency(tt.old, tt.size, tt.oldRoot, c.Root, tt.proof); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := VerifyInclusion(leaf(0), 0, 1<<63, c.Root, nil); !errors.Is(err, ErrProof) {
		t.Error(err)
	}
}
