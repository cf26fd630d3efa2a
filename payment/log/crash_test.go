package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var errCrash = errors.New("crash")

// TestCrashAtEveryStep stops an Append before each step it takes on disk, one
// after the other, and opens what is left.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ old, add uint64 }{{0, 1}, {3, 2}, {255, 1}, {255, 2}, {250, 520}} {
		t.Run(fmt.Sprintf("%d and %d", tt.old, tt.add), func(t *testing.T) {
			dir := t.TempDir() // of a log that never crashes
			l := open(t, dir)
			appendTo(t, l, leaves(0, tt.old)...)
			appendTo(t, l, leaves(tt.old, tt.old+tt.add)...)
			calm := list(t, dir)
			steps := 0
			for crashed := true; crashed; steps++ {
				crashed = crashAt(t, steps, tt.old, tt.add, calm, string(l.Checkpoint()))
			}
			t.Logf("%d steps", steps-1)
			if steps < 5 {
				t.Errorf("only %d steps", steps)
			}
		})
	}
}

// crashAt tells whether step was reached. In the end the log must have the files
// and the checkpoint of one that never crashed.
func crashAt(t *testing.T, step int, old, add uint64, files, checkpoint string) (crashed bool) {
	t.Helper()
	dir := t.TempDir()
	l := open(t, dir)
	appendTo(t, l, leaves(0, old)...)
	before := head(t, l)
	n, what := 0, ""
	l.disk.step = func(op, path string) error {
		if n++; n > step {
			what = op + " " + path
			return errCrash
		}
		return nil
	}
	_, err := l.Append(context.Background(), leaves(old, old+add)...)
	if err == nil {
		return false
	}
	if !errors.Is(err, errCrash) || !errors.Is(err, ErrBroken) {
		t.Fatalf("at %s: %v", what, err)
	}
	if _, err := l.Append(context.Background(), leaf(1)); !errors.Is(err, ErrBroken) {
		t.Fatalf("at %s: a broken log appends: %v", what, err)
	}

	again := open(t, dir)
	c := head(t, again)
	if c != before && c.Size != old+add {
		t.Fatalf("at %s: %+v after %+v", what, c, before)
	}
	if c.Root != rootOf(t, c.Size) {
		t.Fatalf("at %s: wrong root", what)
	}
	appendTo(t, again, leaves(old, old+add)...)
	if at := appendTo(t, again, leaf(old+add-1)); at[0] != old+add-1 || again.Size() != old+add {
		t.Fatalf("at %s: entry at %d of %d", what, at[0], again.Size())
	}
	checkFromOutside(t, again, before, head(t, again))

	third := open(t, dir) // removes partial tiles that the second left
	if got := list(t, dir); got != files {
		t.Fatalf("at %s: files %s\nwithout a crash: %s", what, got, files)
	}
	if string(third.Checkpoint()) != checkpoint {
		t.Fatalf("at %s: checkpoints differ", what)
	}
	return true
}

// TestDamage opens logs that a power cut or a person has damaged.
func TestDamage(t *testing.T) {
	t.Parallel()
	write := func(path, data string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			to := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(path string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	truncate := func(path string, cut int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			name := filepath.Join(dir, path)
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, info.Size()-cut); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(path string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			name := filepath.Join(dir, path)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   error
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"a hash tile lost", remove("tile/0/000"), nil},
		{"a hash tile empty", truncate("tile/0/001.p/44", 44*32), nil},
		{"a hash tile cut", truncate("tile/0/001.p/44", 7), nil},
		{"a hash tile flipped", flip("tile/0/000"), nil},
		{"an upper tile lost", remove("tile/1/000.p/1"), nil},
		{"a temporary checkpoint", write("checkpoint.tmp", "half a che"), nil},
		{"a temporary bundle", write("tile/entries/001.p/45.tmp", "xx"), nil},
		{"a bundle past the checkpoint", write("tile/entries/001.p/45", "xx"), nil},
		{"a full bundle past the checkpoint", write("tile/entries/002", "xx"), nil},
		{"a full tile past the checkpoint", write("tile/0/x001/000", "xx"), nil},
		{"a partial tile of a full one", write("tile/0/000.p/9", "xx"), nil},
		{"a stranger's file", write("tile/README", "xx"), nil},
		{"entries lost", remove("tile/entries/000"), ErrCorrupt},
		{"last entries lost", remove("tile/entries/001.p/44"), ErrCorrupt},
		{"last entries cut", truncate("tile/entries/001.p/44", 34), ErrCorrupt},
		{"an entry flipped", flip("tile/entries/000"), ErrCorrupt},
		{"a length flipped", func(t *testing.T, dir string) {
			name := filepath.Join(dir, "tile/entries/000")
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[1]++
			write("tile/entries/000", string(b))(t, dir)
		}, ErrCorrupt},
		{"checkpoint lost", remove("checkpoint"), ErrCorrupt},
		{"checkpoint cut", truncate("checkpoint", 3), ErrCheckpoint},
		{"checkpoint empty", write("checkpoint", ""), ErrCheckpoint},
		{"checkpoint flipped", flip("checkpoint"), ErrCheckpoint},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			appendTo(t, l, leaves(0, 300)...)
			want, files := head(t, l), list(t, dir)
			tt.damage(t, dir)
			again, err := Open(Config{Dir: dir, Origin: origin, Key: key})
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open = %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				return
			}
			if head(t, again) != want {
				t.Errorf("%+v, want %+v", head(t, again), want)
			}
			if got := list(t, dir); got != files && tt.name != "a stranger's file" {
				t.Errorf("files %s\nwant  %s", got, files)
			}
			appendTo(t, again, leaves(300, 600)...)
			checkFromOutside(t, again, want, head(t, again))
		})
	}
}

// TestEntriesInAFullerBundle: the bundle was filled, then power was cut before
// the checkpoint was, and the partial bundle is gone.
func TestEntriesInAFullerBundle(t *testing.T) {
	dir, later := t.TempDir(), t.TempDir()
	l := open(t, dir)
	appendTo(t, l, leaves(0, 100)...)
	want := head(t, l)
	full := open(t, later)
	appendTo(t, full, leaves(0, 256)...)
	b, err := os.ReadFile(filepath.Join(later, "tile/entries/000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "tile/entries/000"), b, 0o644),
		os.Remove(filepath.Join(dir, "tile/entries/000.p/100")),
	); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if head(t, again) != want {
		t.Errorf("%+v, want %+v", head(t, again), want)
	}
	third := open(t, dir)
	appendTo(t, third, leaves(100, 256)...)
	if head(t, third) != head(t, full) {
		t.Errorf("%+v, want %+v", head(t, third), head(t, full))
	}
}
