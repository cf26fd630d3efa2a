package wasm

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// put makes a compiled program of the given size, last used at a time.
func put(t *testing.T, c *cache, program string, size int, used time.Time) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, compiled, err := c.find(path)
	if err != nil || compiled {
		t.Fatalf("find: compiled %v, %v", compiled, err)
	}
	into, err := c.begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(into, "code"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.add(into, folder); err != nil {
		t.Fatal(err)
	}
	if again, compiled, err := c.find(path); again != folder || !compiled || err != nil {
		t.Fatalf("find again: %s, compiled %v, %v", again, compiled, err)
	}
	if err := os.Chtimes(folder, used, used); err != nil {
		t.Fatal(err)
	}
	return folder
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestPruneKeepsWhatWasUsedLast(t *testing.T) {
	c := newCache(t.TempDir(), 250)
	now := time.Now()
	oldest := put(t, c, "a", 100, now.Add(-3*time.Hour))
	middle := put(t, c, "b", 100, now.Add(-2*time.Hour))
	newest := put(t, c, "c", 100, now.Add(-time.Hour))
	dead, err := c.begin()
	if err != nil {
		t.Fatal(err)
	}
	busy, err := c.begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(dead, now.Add(-2*abandoned), now.Add(-2*abandoned)); err != nil {
		t.Fatal(err)
	}
	if err := c.prune(now); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{oldest: false, middle: true, newest: true, dead: false, busy: true} {
		if exists(path) != want {
			t.Errorf("%s is there: %v, want %v", path, !want, want)
		}
	}
	c.limit = 1
	if err := c.prune(now); err != nil {
		t.Fatal(err)
	}
	if !exists(newest) || exists(middle) {
		t.Error("the newest alone should stay, whatever its size")
	}
}

func TestAddTwice(t *testing.T) {
	c := newCache(t.TempDir(), 250)
	folder := put(t, c, "a", 10, time.Now())
	late, err := c.begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(late, "code"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.add(late, folder); err != nil {
		t.Error(err)
	}
	if exists(late) || !exists(folder) {
		t.Error("the late one should be dropped, the first kept")
	}
}

// TestDamagedCodeIsCompiledAgain flips a byte of compiled code, cuts it, and adds a
// file: none of it is run.
func TestDamagedCodeIsCompiledAgain(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(folder string) error{
		"flipped": func(f string) error {
			code := make([]byte, 1000)
			code[7] ^= 4
			return os.WriteFile(filepath.Join(f, "code"), code, 0o600)
		},
		"cut":      func(f string) error { return os.Truncate(filepath.Join(f, "code"), 10) },
		"lost":     func(f string) error { return os.Remove(filepath.Join(f, "code")) },
		"more":     func(f string) error { return os.WriteFile(filepath.Join(f, "code2"), nil, 0o600) },
		"sum lost": func(f string) error { return os.Remove(filepath.Join(f, "sum")) },
		"sum cut":  func(f string) error { return os.Truncate(filepath.Join(f, "sum"), 3) },
	} {
		folder := put(t, newCache(dir, 1<<20), "p", 1000, time.Now())
		if err := damage(folder); err != nil {
			t.Fatal(err)
		}
		c := newCache(dir, 1<<20) // of the next process
		if _, compiled, err := c.find(program); compiled || err != nil || exists(folder) {
			t.Errorf("%s: compiled %t, %v; its folder is there: %t", name, compiled, err, exists(folder))
		}
	}
}
