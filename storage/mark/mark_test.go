package mark_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/souk-market/souk/storage/mark"
)

func last(t *testing.T, path string) uint64 {
	t.Helper()
	m, err := mark.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	return m.Last()
}

func TestMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mark")
	if n := last(t, path); n != 0 {
		t.Errorf("a new mark is %d", n)
	}
	m, err := mark.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{7, 1 << 63, 9} {
		if err := m.Set(n); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.Last(); n != 1<<63 {
		t.Errorf("the mark is %d", n)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if n := last(t, path); n != 1<<63 {
		t.Errorf("the mark is %d when it is read", n)
	}
}

// TestDamage flips each bit of a mark, and cuts it everywhere: it never reads as
// another number than the one set, or 0.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mark")
	m, err := mark.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Set(1234); err != nil {
		t.Fatal(err)
	}
	m.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte, what string, at int) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if n := last(t, path); n != 0 {
			t.Errorf("%s at %d: the mark is %d", what, at, n)
		}
	}
	for i := range whole {
		for bit := range 8 {
			bad := append([]byte(nil), whole...)
			bad[i] ^= 1 << bit
			try(bad, "flipped", i)
		}
		try(whole[:i], "cut", i)
	}
}
