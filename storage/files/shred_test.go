package files_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/souk-market/souk/storage/files"
)

// TestShred keeps a descriptor of each file, through which the bytes can still be read
// once their names are gone.
func TestShred(t *testing.T) {
	top := t.TempDir()
	dir, outside := filepath.Join(top, "lease"), filepath.Join(top, "outside")
	secret := []byte(strings.Repeat("secret", 1<<18)) // more than one chunk
	write(t, outside, secret)
	write(t, filepath.Join(dir, "in", "a"), secret)
	write(t, filepath.Join(dir, "out", "deep", "b"), secret[:1])
	write(t, filepath.Join(dir, "out", "empty"), nil)
	write(t, filepath.Join(dir, "out", "read-only"), secret)
	write(t, filepath.Join(dir, "out", "linked"), secret)
	sparse := filepath.Join(dir, "out", "sparse")
	write(t, sparse, secret)
	for _, err := range []error{
		os.Truncate(sparse, 1<<40),
		os.Symlink(outside, filepath.Join(dir, "out", "link")),
		os.Symlink(top, filepath.Join(dir, "out", "folder-link")),
		os.Link(outside, filepath.Join(dir, "out", "also-outside")),
		os.Link(filepath.Join(dir, "out", "linked"), filepath.Join(dir, "out", "twice")),
		syscall.Mkfifo(filepath.Join(dir, "out", "pipe"), 0o600),
		os.Chmod(filepath.Join(dir, "out", "read-only"), 0o400),
		os.Chmod(filepath.Join(dir, "out", "deep"), 0o500),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	open := make(map[string]*os.File)
	for _, name := range []string{"in/a", "out/deep/b", "out/read-only", "out/linked", "out/sparse"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open[name] = f
	}
	if err := files.Shred(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	for name, f := range open {
		got := make([]byte, len(secret))
		n, _ := f.ReadAt(got, 0)
		if n == 0 || len(bytes.Trim(got[:n], "\x00")) > 0 {
			t.Errorf("%s: %d bytes, not all zero", name, n)
		}
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(open["out/sparse"].Fd()), &stat); err != nil || stat.Blocks*512 > 1<<23 {
		t.Errorf("the sparse file has %d blocks, %v", stat.Blocks, err)
	}
	if got, err := os.ReadFile(outside); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("what lies outside was changed: %v", err)
	}
	if err := files.Shred(t.Context(), dir); err != nil {
		t.Errorf("nothing there: %v", err)
	}
}

// TestShredCut removes also what there was no time to overwrite, and says so.
func TestShredCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lease")
	write(t, filepath.Join(dir, "a"), []byte("secret"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := files.Shred(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
}
