package log

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/souk-market/souk"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
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
	t.Parallel()
	for _, sizes := range [][]uint64{
		{1, 2, 3, 5, 8, 100, 255, 256, 257, 511, 512, 600},
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
	t.Parallel()
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
