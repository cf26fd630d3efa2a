package log

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/souk-market/souk"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "souk/12D3KooWTest"

var (
	key    = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public = souk.NodeKey(key.Public().(ed25519.PublicKey))
)

func open(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := Open(Config{Dir: dir, Origin: origin, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// leaf is the i-th digest of every test.
func leaf(i uint64) (d souk.Digest) {
	binary.BigEndian.PutUint64(d[:], i)
	d[31] = 1
	return d
}

func leaves(from, to uint64) (ds []souk.Digest) {
	for i := from; i < to; i++ {
		ds = append(ds, leaf(i))
	}
	return ds
}

func appendTo(t testing.TB, l *Log, ds ...souk.Digest) []uint64 {
	t.Helper()
	at, err := l.Append(context.Background(), ds...)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// head opens the log's checkpoint as an outsider does.
func head(t testing.TB, l *Log) Checkpoint {
	t.Helper()
	c, err := OpenCheckpoint(l.Checkpoint(), origin, public)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rootOf is the root by another implementation.
func rootOf(t testing.TB, n uint64) souk.Digest {
	t.Helper()
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for i := range n {
		d := leaf(i)
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(d[:]), nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		root = rfc6962.DefaultHasher.EmptyRoot()
	}
	return souk.Digest(root)
}

func TestAppend(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if c := head(t, l); c != (Checkpoint{origin, 0, rootOf(t, 0)}) {
		t.Errorf("empty log has %+v", c)
	}
	for _, tt := range []struct {
		name string
		add  []souk.Digest
		at   string
		size uint64
	}{
		{"one", leaves(0, 1), "[0]", 1},
		{"again", leaves(0, 1), "[0]", 1},
		{"twice in one", []souk.Digest{leaf(1), leaf(1), leaf(0)}, "[1 1 0]", 2},
		{"none", nil, "[]", 2},
		{"more", leaves(1, 4), "[1 2 3]", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if at := appendTo(t, l, tt.add...); fmt.Sprint(at) != tt.at {
				t.Errorf("Append = %v, want %s", at, tt.at)
			}
			if c := head(t, l); c != (Checkpoint{origin, tt.size, rootOf(t, tt.size)}) || l.Size() != tt.size {
				t.Errorf("checkpoint %+v, size %d", c, l.Size())
			}
		})
	}
	if _, ok := l.Index(leaf(9)); ok {
		t.Error("Index finds what is not there")
	}
	again := open(t, dir)
	if i, ok := again.Index(leaf(3)); !ok || i != 3 || again.Size() != 4 {
		t.Errorf("reopened: index %d, %v, size %d", i, ok, again.Size())
	}
}

// TestTilesAndProofs grows logs past two levels of tiles, and checks all that
// they serve with x/mod and transparency-dev code, from the files served alone.
func TestTilesAndProofs(t *testing.T) {
	for _, sizes := range [][]uint64{
		{1, 2, 3, 5, 8, 100, 255, 256, 257, 511, 512, 600},
		{300, 70_000, 70_001, 70_144},
		{65_535, 65_536, 65_537, 66_000},
	} {
		t.Run(fmt.Sprint(sizes[len(sizes)-1]), func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			old := head(t, l)
			for _, n := range sizes {
				appendTo(t, l, leaves(l.Size(), n)...)
				c := head(t, l)
				if c.Size != n || c.Root != rootOf(t, n) {
					t.Fatalf("checkpoint of %d entries: %+v, want root %s", n, c, rootOf(t, n))
				}
				checkFromOutside(t, l, old, c)
				old = c
			}
			if again := open(t, dir); head(t, again) != old {
				t.Errorf("reopened: %+v, want %+v", head(t, again), old)
			}
		})
	}
}

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

// TestFilesOnDisk: a plain file server could serve the directory.
func TestFilesOnDisk(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	for _, n := range []uint64{3, 7, 256, 300} {
		appendTo(t, l, leaves(l.Size(), n)...)
	}
	want := "checkpoint tile/0/000 tile/0/001.p/44 tile/1/000.p/1 tile/entries/000 tile/entries/001.p/44"
	if got := list(t, dir); got != want {
		t.Errorf("files: %s\nwant:  %s", got, want)
	}
}

func list(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestAppendsAtOnceShareCheckpoints(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	const writers, each = 16, 50
	var mu sync.Mutex // guards seen
	seen := make(map[uint64]souk.Digest)
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := range uint64(each) {
				// Every digest is appended by two writers.
				d := leaf((w/2)*each + i)
				at, err := l.Append(context.Background(), d)
				if err != nil {
					t.Error(err)
					return
				}
				if c, err := OpenCheckpoint(l.Checkpoint(), origin, public); err != nil || c.Size <= at[0] {
					t.Errorf("entry %d is not covered: %+v, %v", at[0], c, err)
				}
				mu.Lock()
				if other, ok := seen[at[0]]; ok && other != d {
					t.Errorf("two digests at %d", at[0])
				}
				seen[at[0]] = d
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if l.Size() != writers/2*each {
		t.Errorf("size %d, want %d", l.Size(), writers/2*each)
	}
	again := open(t, dir)
	for i, d := range seen {
		if at, ok := again.Index(d); !ok || at != i {
			t.Errorf("reopened: %s at %d, want %d", d.Short(), at, i)
		}
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	l := open(t, t.TempDir())
	l.writing <- struct{}{} // somebody writes
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, leaf(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v", err)
	}
	<-l.writing
	if at := appendTo(t, l, leaf(1)); at[0] != 1 || l.Size() != 2 {
		t.Errorf("after it: index %d of %d; what was queued is appended first", at[0], l.Size())
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

func TestCheckpointIsForeignersToo(t *testing.T) {
	l := open(t, t.TempDir())
	appendTo(t, l, leaves(0, 3)...)
	vkey, err := note.NewEd25519VerifierKey(origin, ed25519.PublicKey(public[:]))
	if err != nil || vkey != VerifierKey(origin, public) {
		t.Errorf("VerifierKey = %s, x/mod has %s, %v", VerifierKey(origin, public), vkey, err)
	}
	good := string(l.Checkpoint())
	_, other, _ := ed25519.GenerateKey(nil)
	witness, err := newSigner("witness.example", other)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := note.NewVerifier(vkey)
	n, err := note.Open([]byte(good), note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(n, witness)
	if err != nil {
		t.Fatal(err)
	}
	resign := func(text string) string {
		s, err := note.Sign(&note.Note{Text: text}, l.signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	body := string(head(t, l).Body())
	lines := strings.Split(body, "\n")
	for _, tt := range []struct {
		name, note, origin string
		key                souk.NodeKey
		ok                 bool
	}{
		{"good", good, origin, public, true},
		{"cosigned", string(cosigned), origin, public, true},
		{"an extension line", resign(body + "more\n"), origin, public, true},
		{"another origin", good, "souk/other", public, false},
		{"no origin", good, "", public, false},
		{"another key", good, origin, souk.NodeKey(other.Public().(ed25519.PublicKey)), false},
		{"another origin in the body", resign("souk/x\n" + lines[1] + "\n" + lines[2] + "\n"), origin, public, false},
		{"leading zero", resign(origin + "\n0" + lines[1] + "\n" + lines[2] + "\n"), origin, public, false},
		{"plus sign", resign(origin + "\n+" + lines[1] + "\n" + lines[2] + "\n"), origin, public, false},
		{"short root", resign(origin + "\n3\nAAAA\n"), origin, public, false},
		{"two lines", resign(origin + "\n3\n"), origin, public, false},
		{"empty extension line", resign(body + "\nmore\n"), origin, public, false},
		{"changed", strings.Replace(good, "\n3\n", "\n4\n", 1), origin, public, false},
		{"cut", good[:len(good)-3], origin, public, false},
		{"empty", "", origin, public, false},
		{"large", good + strings.Repeat("x", MaxCheckpointBytes), origin, public, false},
	} {
		c, err := OpenCheckpoint([]byte(tt.note), tt.origin, tt.key)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrCheckpoint) || tt.ok && c.Size != 3 {
			t.Errorf("%s: %+v, %v", tt.name, c, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []Config{
		{Origin: origin, Key: key},
		{Dir: t.TempDir(), Origin: origin},
		{Dir: t.TempDir(), Origin: "two words", Key: key},
		{Dir: t.TempDir(), Origin: "", Key: key},
	} {
		if _, err := Open(c); err == nil {
			t.Errorf("Open(%+v) succeeds", c.Origin)
		}
	}
	dir := t.TempDir()
	open(t, dir)
	if _, err := Open(Config{Dir: dir, Origin: "souk/other", Key: key}); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("another log's directory: %v", err)
	}
}

func TestAnchor(t *testing.T) {
	for n := range 20 {
		var bodies [][]byte
		for i := range n {
			bodies = append(bodies, Checkpoint{fmt.Sprintf("souk/%02d", (i*7)%20), uint64(i), leaf(uint64(i))}.Body())
		}
		root := AnchorRoot(bodies)
		for _, b := range bodies {
			i, p, err := AnchorProof(bodies, b)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyAnchorProof(b, i, uint64(n), root, p); err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, uint64(n), rfc6962.DefaultHasher.HashLeaf(b), bytesOf(p), root[:]); err != nil {
				t.Errorf("transparency-dev, %d of %d: %v", i, n, err)
			}
			if err := VerifyAnchorProof(b[1:], i, uint64(n), root, p); !errors.Is(err, ErrProof) {
				t.Errorf("another body: %v", err)
			}
		}
		if _, _, err := AnchorProof(bodies, []byte("souk/none\n")); !errors.Is(err, ErrRange) {
			t.Errorf("a body that is not there: %v", err)
		}
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	c := Checkpoint{origin, 3, leaf(1)}
	s, err := newSigner(origin, key)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := sign(s, c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed, true)
	f.Add([]byte(origin+"\n3\nAAAA\n"), false)
	f.Add(c.Body(), false)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		if !whole { // a body gets past the signature, as a hostile log's would
			if signed, err := note.Sign(&note.Note{Text: string(b)}, s); err == nil {
				b = signed
			}
		}
		c, err := OpenCheckpoint(b, origin, public)
		if err != nil {
			if !errors.Is(err, ErrCheckpoint) {
				t.Errorf("error %v is not ErrCheckpoint", err)
			}
			return
		}
		again, err := sign(s, c)
		if err != nil {
			t.Fatal(err)
		}
		if c2, err := OpenCheckpoint(again, origin, public); err != nil || c2 != c {
			t.Errorf("%+v became %+v, %v", c, c2, err)
		}
	})
}
