package files_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/souk-market/souk/storage/files"
)

func open(t testing.TB, c files.Config) *files.Files {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	c.FreeFloor = 64 << 20
	f, err := files.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// tree writes files, by their slash-separated names, below a new folder.
func tree(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read is tree the other way.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	content := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		if d.Type() == fs.ModeSymlink {
			to, err := os.Readlink(p)
			content[filepath.ToSlash(name)] = "-> " + to
			return err
		}
		b, err := os.ReadFile(p)
		content[filepath.ToSlash(name)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d files; want %d", len(got), len(want))
	}
	for name, text := range want {
		if g, ok := got[name]; !ok || g != text {
			t.Errorf("%s: %d bytes, there: %t; want %d bytes", name, len(g), ok, len(text))
		}
	}
}

// random returns n bytes that depend on the seed alone.
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{seed})
	_, _ = r.Read(b)
	return b
}

func add(t *testing.T, f *files.Files, path string) string {
	t.Helper()
	root, _, err := f.Add(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name    string
		content map[string]string
	}{
		{"small files", map[string]string{"a": "1", "b/c": "2", "b/d/e": "", "ünï çode": "3"}},
		{"several pieces", map[string]string{"big": string(random(1, 3<<20+17)), "exact": string(random(2, 256<<10)), "same": string(random(2, 256<<10))}},
		{"three levels", map[string]string{"huge": string(random(3, 50<<20))}},
		{"sharded", many()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t, files.Config{})
			root := add(t, f, tree(t, tt.content))
			var want uint64
			for _, text := range tt.content {
				want += uint64(len(text))
			}
			info, err := f.Stat(t.Context(), root)
			if err != nil || info.Bytes != want || info.Files != uint64(len(tt.content)) || !info.Folder {
				t.Errorf("Stat = %+v, %v; want %d bytes in %d files", info, err, want, len(tt.content))
			}
			dest := filepath.Join(t.TempDir(), "new", "folder")
			n, count, err := f.Save(t.Context(), root, dest)
			if n != want || count != len(tt.content) || err != nil {
				t.Errorf("Save = %d, %d, %v; want %d, %d", n, count, err, want, len(tt.content))
			}
			same(t, read(t, dest), tt.content)
			if again := add(t, f, dest); again != root {
				t.Errorf("adding what was saved gives %s; want %s", again, root)
			}
			name, text := anyOf(tt.content)
			var b bytes.Buffer
			if err := f.Cat(t.Context(), "/ipfs/"+root+"/"+name, &b); err != nil || b.String() != text {
				t.Errorf("Cat %s: %d bytes, %v; want %d", name, b.Len(), err, len(text))
			}
		})
	}
}

// anyOf returns the last of the names, so that the test does not depend on chance.
func anyOf(m map[string]string) (name, text string) {
	for n, t := range m {
		if n > name {
			name, text = n, t
		}
	}
	return name, text
}

func TestSingleFile(t *testing.T) {
	f := open(t, files.Config{})
	path := filepath.Join(tree(t, map[string]string{"a": "text"}), "a")
	root := add(t, f, path)
	dir := t.TempDir()
	for _, tt := range []struct{ dest, at string }{
		{filepath.Join(dir, "x", "y"), filepath.Join(dir, "x", "y")},
		{dir, filepath.Join(dir, root)},
	} {
		if _, n, err := f.Save(t.Context(), root, tt.dest); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if b, err := os.ReadFile(tt.at); string(b) != "text" || err != nil {
			t.Errorf("%s holds %q, %v", tt.at, b, err)
		}
	}
	if d, err := files.DigestOf(root); err != nil || d.IsZero() {
		t.Errorf("DigestOf = %v, %v", d, err)
	}
}

func TestAddRefuses(t *testing.T) {
	f := open(t, files.Config{})
	dir := tree(t, map[string]string{"real": "x", "sub/real": "x"})
	link := func(at, to string) string {
		if err := os.Symlink(to, filepath.Join(dir, at)); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, at)
	}
	toFile, toFolder := link("sub/link", "real"), link("folder", "sub")
	odd := tree(t, map[string]string{"new\nline": "x"})
	for _, tt := range []struct {
		name, path string
		want       error
	}{
		{"folder with a link in it", dir, files.ErrSymlink},
		{"link to a file", toFile, files.ErrSymlink},
		{"link to a folder", toFolder, files.ErrSymlink},
		{"absent", filepath.Join(dir, "none"), fs.ErrNotExist},
		{"device", os.DevNull, files.ErrSpecial},
		{"name", odd, files.ErrName},
	} {
		if _, _, err := f.Add(t.Context(), tt.path); !errors.Is(err, tt.want) {
			t.Errorf("%s: Add = %v; want %v", tt.name, err, tt.want)
		}
	}
}

func TestAddTree(t *testing.T) {
	f := open(t, files.Config{})
	data := tree(t, map[string]string{"train.csv": "1", "deep/er/x": "2"})
	one := filepath.Join(tree(t, map[string]string{"conf": "3"}), "conf")
	id := add(t, f, tree(t, map[string]string{"w": "4"}))
	root, size, err := f.AddTree(t.Context(), []files.Entry{
		{Path: data},
		{Name: "deep/er/conf", Path: one},
		{Name: "model/v1", CID: id},
		{Name: "model/v1/more/y", Path: one},
	})
	if err != nil || size != 5 {
		t.Fatal(root, size, err)
	}
	dest := t.TempDir()
	if _, _, err := f.Save(t.Context(), root, dest); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"train.csv": "1", "deep/er/x": "2", "deep/er/conf": "3", "model/v1/w": "4", "model/v1/more/y": "3",
	}
	same(t, read(t, dest), want)
	if plain := add(t, f, dest); plain != root {
		t.Errorf("the same tree from one folder is %s; want %s", plain, root)
	}
	for _, tt := range []struct {
		name    string
		entries []files.Entry
		want    error
	}{
		{"taken", []files.Entry{{Path: data}, {Name: "train.csv", Path: one}}, fs.ErrExist},
		{"two roots", []files.Entry{{Path: data}, {Path: data}}, fs.ErrExist},
		{"folder over entries", []files.Entry{{Name: "a/b", Path: one}, {Name: "a", Path: data}}, fs.ErrExist},
		{"inside a file", []files.Entry{{Name: "a", Path: one}, {Name: "a/b", Path: one}}, files.ErrNotFolder},
		{"up", []files.Entry{{Name: "../a", Path: one}}, files.ErrName},
		{"absent id", []files.Entry{{Name: "a", CID: "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"}}, files.ErrMissing},
		{"no id", []files.Entry{{Name: "a", CID: "x"}}, files.ErrCID},
	} {
		if _, _, err := f.AddTree(t.Context(), tt.entries); !errors.Is(err, tt.want) {
			t.Errorf("%s: AddTree = %v; want %v", tt.name, err, tt.want)
		}
	}
}

func TestSaveKeepsWhatIsThere(t *testing.T) {
	f := open(t, files.Config{})
	content := map[string]string{"a": "1", "b": "22", "sub/c": "333"}
	root := add(t, f, tree(t, content))
	outside := t.TempDir()
	for _, tt := range []struct {
		name   string
		before func(dest string) error
		want   error
	}{
		{"begun by an earlier save", func(d string) error {
			return errors.Join(os.WriteFile(filepath.Join(d, "a"), []byte("1"), 0o600), os.Mkdir(filepath.Join(d, "sub"), 0o755))
		}, nil},
		{"other content", func(d string) error { return os.WriteFile(filepath.Join(d, "b"), []byte("xx"), 0o600) }, fs.ErrExist},
		{"other size", func(d string) error { return os.WriteFile(filepath.Join(d, "b"), nil, 0o600) }, fs.ErrExist},
		{"folder for a file", func(d string) error { return os.Mkdir(filepath.Join(d, "a"), 0o755) }, fs.ErrExist},
		{"file for a folder", func(d string) error { return os.WriteFile(filepath.Join(d, "sub"), nil, 0o600) }, fs.ErrExist},
		{"link for a folder", func(d string) error { return os.Symlink(outside, filepath.Join(d, "sub")) }, fs.ErrExist},
		{"link for a file", func(d string) error { return os.Symlink(filepath.Join(outside, "a"), filepath.Join(d, "a")) }, fs.ErrExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dest := t.TempDir()
			if err := tt.before(dest); err != nil {
				t.Fatal(err)
			}
			before := read(t, dest)
			if _, _, err := f.Save(t.Context(), root, dest); !errors.Is(err, tt.want) {
				t.Fatalf("Save = %v; want %v", err, tt.want)
			}
			after := read(t, dest)
			for name, text := range before {
				if after[name] != text {
					t.Errorf("%s was %q and is %q", name, text, after[name])
				}
			}
			for name := range after {
				if strings.Contains(name, ".part") {
					t.Errorf("%s is left over", name)
				}
			}
			if tt.want == nil {
				same(t, after, content)
			}
		})
	}
	if left := read(t, outside); len(left) != 0 {
		t.Errorf("written outside: %v", left)
	}
}

func TestResolve(t *testing.T) {
	f := open(t, files.Config{})
	root := add(t, f, tree(t, map[string]string{"a/b/c": "text", "f": "x"}))
	for _, tt := range []struct {
		path string
		want error
	}{
		{"", nil}, {"/", nil}, {"a", nil}, {"a/b/c", nil}, {"/a/b/", nil},
		{"none", files.ErrNoPath}, {"a/none/c", files.ErrNoPath}, {"f/x", files.ErrNotFolder}, {"a/../f", files.ErrName},
	} {
		id, err := f.Resolve(t.Context(), root, tt.path)
		if !errors.Is(err, tt.want) || (err == nil) != (id != "") {
			t.Errorf("Resolve(%q) = %s, %v; want %v", tt.path, id, err, tt.want)
		}
	}
	if size, err := f.FileSize(t.Context(), root+"/a/b/c"); size != 4 || err != nil {
		t.Errorf("FileSize = %d, %v", size, err)
	}
	for _, path := range []string{"", "/a", "/none", "/f/x"} {
		if _, err := f.FileSize(t.Context(), root+path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("FileSize of %q = %v", path, err)
		}
	}
	items, err := f.List(t.Context(), root)
	if err != nil || len(items) != 2 || !items[0].Folder || items[1].Name != "f" || items[1].Bytes != 1 {
		t.Errorf("List = %+v, %v", items, err)
	}
	if err := f.Cat(t.Context(), root+"/a", &bytes.Buffer{}); !errors.Is(err, files.ErrNotFile) {
		t.Errorf("Cat of a folder = %v", err)
	}
	for _, id := range []string{"", "x", "../../etc", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbd", "bafkqaaa"} {
		if _, err := f.Resolve(t.Context(), id, ""); !errors.Is(err, files.ErrCID) {
			t.Errorf("Resolve in %q = %v; want %v", id, err, files.ErrCID)
		}
	}
}

// TestReopen checks that files outlive the store that took them.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	f := open(t, files.Config{Dir: dir})
	want := random(4, 5<<20)
	root, _, err := f.AddReader(t.Context(), bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, files.Config{Dir: dir})
	var got bytes.Buffer
	if err := f.Cat(t.Context(), root, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes, %v; want %d", got.Len(), err, len(want))
	}
	if whole, err := f.Complete(t.Context(), root); !whole || err != nil {
		t.Errorf("Complete = %t, %v", whole, err)
	}
}

func TestAddStops(t *testing.T) {
	f := open(t, files.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := tree(t, map[string]string{"a": "x"})
	if _, _, err := f.Add(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("Add after cancel = %v", err)
	}
}
