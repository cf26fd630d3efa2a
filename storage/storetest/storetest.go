// Package storetest is the contract that every key-value store of souk passes.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/souk-market/souk/storage"
)

// Store is what the contract is about: the shape that the ledger asks for, and
// a way to end it.
type Store interface {
	Update(fn func(storage.Txn) error) error
	View(fn func(storage.Txn) error) error
	Close() error
}

// The ledger's room declares the transaction for itself; this holds only while
// storage.Txn is an alias of exactly this literal.
var _ func(storage.Txn) = func(interface {
	Get(key []byte) ([]byte, error)
	Set(key, value []byte) error
	Delete(key []byte) error
	Scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error
}) {
}

// Open returns an empty store, and a function that closes it and opens what it
// kept; nil where nothing outlives Close.
type Open func(t *testing.T) (s Store, reopen func() Store)

// Run checks that stores from open keep the contract of storage.Txn.
func Run(t *testing.T, open Open) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, Store)
	}{
		{"absent and empty", testAbsent},
		{"rollback", testRollback},
		{"dropped error", testDroppedError},
		{"reads own writes", testOwnWrites},
		{"scan", testScan},
		{"scan across pages", testScanPages},
		{"scan inside a scan", testScanNested},
		{"values are copies", testCopies},
		{"views are snapshots", testSnapshot},
		{"concurrent", testConcurrent},
		{"read only", testReadOnly},
		{"sizes", testSizes},
		{"closed", testClosed},
		{"against a model", testModel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t)
			defer s.Close()
			tt.test(t, s)
		})
	}
	t.Run("reopen", func(t *testing.T) { testReopen(t, open) })
}

var errStop = errors.New("stop")

func testAbsent(t *testing.T, s Store) {
	update(t, s, func(tx storage.Txn) error { return tx.Set([]byte("empty"), nil) })
	view(t, s, func(tx storage.Txn) error {
		if v, err := tx.Get([]byte("none")); v != nil || err != nil {
			t.Errorf("Get(none) = %v, %v; want nil, nil", v, err)
		}
		if v, err := tx.Get([]byte("empty")); v == nil || len(v) != 0 || err != nil {
			t.Errorf("Get(empty) = %v, %v; want an empty value, not nil", v, err)
		}
		return nil
	})
	update(t, s, func(tx storage.Txn) error { return tx.Delete([]byte("none")) })
}

func testRollback(t *testing.T, s Store) {
	put(t, s, "a", "1")
	err := s.Update(func(tx storage.Txn) error {
		return errors.Join(tx.Set([]byte("a"), []byte("2")), tx.Set([]byte("b"), []byte("2")),
			tx.Delete([]byte("a")), errStop)
	})
	if !errors.Is(err, errStop) {
		t.Errorf("Update = %v; want %v", err, errStop)
	}
	want(t, s, "a=1")
}

func testDroppedError(t *testing.T, s Store) {
	err := s.Update(func(tx storage.Txn) error {
		if err := tx.Set([]byte("a"), []byte("1")); err != nil {
			return err
		}
		_ = tx.Set(nil, []byte("no key")) // a caller's slip must not commit half
		return nil
	})
	if !errors.Is(err, storage.ErrSize) {
		t.Errorf("Update = %v; want %v", err, storage.ErrSize)
	}
	want(t, s, "")
}

func testOwnWrites(t *testing.T, s Store) {
	put(t, s, "a", "1", "c", "3")
	update(t, s, func(tx storage.Txn) error {
		err := errors.Join(tx.Set([]byte("b"), []byte("2")), tx.Delete([]byte("c")))
		if v, _ := tx.Get([]byte("b")); string(v) != "2" {
			t.Errorf("Get of an own write = %q", v)
		}
		if v, _ := tx.Get([]byte("c")); v != nil {
			t.Errorf("Get of an own delete = %q", v)
		}
		if got := dump(t, tx, "", ""); got != "a=1 b=2" {
			t.Errorf("Scan inside an Update = %q", got)
		}
		return err
	})
	want(t, s, "a=1 b=2")
}

func testScan(t *testing.T, s Store) {
	put(t, s, "a/2", "2", "a/1", "1", "a/10", "10", "b", "x", "a", "top", "a\xff", "ff", "a/\xff\xff", "end")
	for _, tt := range []struct{ prefix, from, want string }{
		{"", "", "a=top a/1=1 a/10=10 a/2=2 a/\xff\xff=end a\xff=ff b=x"},
		{"a/", "", "a/1=1 a/10=10 a/2=2 a/\xff\xff=end"},
		{"a/", "a/10", "a/10=10 a/2=2 a/\xff\xff=end"},
		{"a/", "a/11", "a/2=2 a/\xff\xff=end"},
		{"a/", "0", "a/1=1 a/10=10 a/2=2 a/\xff\xff=end"},
		{"a/", "b", ""},
		{"a/1", "a/1", "a/1=1 a/10=10"},
		{"", "b", "b=x"},
		{"c", "", ""},
	} {
		view(t, s, func(tx storage.Txn) error {
			if got := dump(t, tx, tt.prefix, tt.from); got != tt.want {
				t.Errorf("Scan(%q, %q) = %q; want %q", tt.prefix, tt.from, got, tt.want)
			}
			return nil
		})
	}
	view(t, s, func(tx storage.Txn) error {
		n := 0
		err := tx.Scan(nil, nil, func(_, _ []byte) (bool, error) { n++; return n < 2, nil })
		if n != 2 || err != nil {
			t.Errorf("a scan that stops saw %d, %v; want 2, nil", n, err)
		}
		err = tx.Scan(nil, nil, func(_, _ []byte) (bool, error) { return true, errStop })
		if !errors.Is(err, errStop) {
			t.Errorf("a scan that fails returned %v", err)
		}
		return nil
	})
}

func testScanPages(t *testing.T, s Store) {
	const n = 1000
	update(t, s, func(tx storage.Txn) error {
		for i := range n {
			if err := tx.Set(fmt.Appendf(nil, "k%04d", i), fmt.Appendf(nil, "%d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	check := func(tx storage.Txn) error {
		seen := 0
		err := tx.Scan([]byte("k"), nil, func(k, v []byte) (bool, error) {
			if string(k) != fmt.Sprintf("k%04d", seen) || string(v) != fmt.Sprint(seen) {
				t.Errorf("pair %d is %s=%s", seen, k, v)
			}
			clear(k) // the slices are ours
			seen++
			return true, nil
		})
		if seen != n {
			t.Errorf("a scan saw %d pairs; want %d", seen, n)
		}
		return err
	}
	view(t, s, check)
	update(t, s, check)
}

func testScanNested(t *testing.T, s Store) {
	put(t, s, "a1", "", "a2", "", "b1", "", "b2", "")
	for name, run := range map[string]func(func(storage.Txn) error) error{"Update": s.Update, "View": s.View} {
		pairs := 0
		err := run(func(tx storage.Txn) error {
			return tx.Scan([]byte("a"), nil, func(_, _ []byte) (bool, error) {
				return true, tx.Scan([]byte("b"), nil, func(_, _ []byte) (bool, error) {
					pairs++
					return true, nil
				})
			})
		})
		if pairs != 4 || err != nil {
			t.Errorf("%s: %d pairs, %v; want 4, nil", name, pairs, err)
		}
	}
}

func testCopies(t *testing.T, s Store) {
	k, v := []byte("key"), []byte("value")
	update(t, s, func(tx storage.Txn) error {
		err := tx.Set(k, v)
		copy(k, "xxx")
		copy(v, "xxxxx")
		return err
	})
	var kept []byte
	view(t, s, func(tx storage.Txn) (err error) {
		kept, err = tx.Get([]byte("key"))
		return err
	})
	copy(kept, "yyyyy")
	want(t, s, "key=value")
}

func testSnapshot(t *testing.T, s Store) {
	put(t, s, "a", "1")
	view(t, s, func(tx storage.Txn) error {
		put(t, s, "a", "2", "b", "2") // beside an open view, from inside it even
		if got := dump(t, tx, "", ""); got != "a=1" {
			t.Errorf("an open view sees %q; want a=1", got)
		}
		return nil
	})
	want(t, s, "a=2 b=2")
}

// testConcurrent moves a token between two keys: no view may see it twice or
// not at all, and no update may be lost.
func testConcurrent(t *testing.T, s Store) {
	const rounds, writers = 50, 4
	put(t, s, "left", "\x01", "right", "\x00", "n", "\x00")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range rounds {
				if err := s.Update(move); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range rounds {
				err := s.View(func(tx storage.Txn) error {
					l, err := tx.Get([]byte("left"))
					r, err2 := tx.Get([]byte("right"))
					if err == nil && err2 == nil && l[0]+r[0] != 1 {
						t.Errorf("a view sees left %d and right %d", l[0], r[0])
					}
					return errors.Join(err, err2)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	view(t, s, func(tx storage.Txn) error {
		if n, err := tx.Get([]byte("n")); err != nil || int(n[0]) != rounds*writers {
			t.Errorf("%d of %d updates counted, %v", n[0], rounds*writers, err)
		}
		return nil
	})
}

func move(tx storage.Txn) error {
	var vs [3]byte
	for i, k := range []string{"left", "right", "n"} {
		v, err := tx.Get([]byte(k))
		if err != nil {
			return err
		}
		vs[i] = v[0]
	}
	return errors.Join(tx.Set([]byte("left"), []byte{vs[1]}), tx.Set([]byte("right"), []byte{vs[0]}),
		tx.Set([]byte("n"), []byte{vs[2] + 1}))
}

func testReadOnly(t *testing.T, s Store) {
	view(t, s, func(tx storage.Txn) error {
		if err := tx.Set([]byte("a"), nil); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("Set in a View = %v", err)
		}
		if err := tx.Delete([]byte("a")); !errors.Is(err, storage.ErrReadOnly) {
			t.Errorf("Delete in a View = %v", err)
		}
		return nil
	})
	want(t, s, "")
}

func testSizes(t *testing.T, s Store) {
	for _, tt := range []struct {
		key, value int
		want       error
	}{
		{storage.MaxKeyBytes, storage.MaxValueBytes, nil},
		{0, 1, storage.ErrSize},
		{storage.MaxKeyBytes + 1, 1, storage.ErrSize},
		{1, storage.MaxValueBytes + 1, storage.ErrSize},
	} {
		k, v := bytes.Repeat([]byte("k"), tt.key), bytes.Repeat([]byte("v"), tt.value)
		err := s.Update(func(tx storage.Txn) error { return tx.Set(k, v) })
		if !errors.Is(err, tt.want) {
			t.Errorf("Set of %d and %d bytes = %v; want %v", tt.key, tt.value, err, tt.want)
		}
		view(t, s, func(tx storage.Txn) error {
			got, err := tx.Get(k)
			if tt.want == nil && !bytes.Equal(got, v) || tt.want != nil && got != nil {
				t.Errorf("Get after Set of %d and %d bytes: %d bytes", tt.key, tt.value, len(got))
			}
			return err
		})
	}
}

func testClosed(t *testing.T, s Store) {
	var left storage.Txn
	update(t, s, func(tx storage.Txn) error { left = tx; return nil })
	if _, err := left.Get([]byte("a")); err == nil {
		t.Error("a transaction works after its function returned")
	}
	if err := left.Set([]byte("a"), nil); err == nil {
		t.Error("a transaction writes after its function returned")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	nothing := func(storage.Txn) error { t.Error("ran in a closed store"); return nil }
	if err := s.Update(nothing); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Update after Close = %v", err)
	}
	if err := s.View(nothing); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("View after Close = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

func testReopen(t *testing.T, open Open) {
	s, reopen := open(t)
	if reopen == nil {
		t.Skip("nothing outlives Close")
	}
	put(t, s, "a", "1", "b", "2")
	_ = s.Update(func(tx storage.Txn) error { return errors.Join(tx.Delete([]byte("a")), errStop) })
	update(t, s, func(tx storage.Txn) error { return tx.Delete([]byte("b")) })
	for range 2 {
		s = reopen()
		want(t, s, "a=1")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func update(t *testing.T, s Store, fn func(storage.Txn) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s Store, fn func(storage.Txn) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s Store, pairs ...string) {
	t.Helper()
	update(t, s, func(tx storage.Txn) error {
		for p := range slices.Chunk(pairs, 2) {
			if err := tx.Set([]byte(p[0]), []byte(p[1])); err != nil {
				return err
			}
		}
		return nil
	})
}

func want(t *testing.T, s Store, want string) {
	t.Helper()
	view(t, s, func(tx storage.Txn) error {
		if got := dump(t, tx, "", ""); got != want {
			t.Errorf("the store holds %q; want %q", got, want)
		}
		return nil
	})
}

// dump writes what a scan sees as "k=v k=v".
func dump(t *testing.T, tx storage.Txn, prefix, from string) string {
	t.Helper()
	var b bytes.Buffer
	err := tx.Scan([]byte(prefix), []byte(from), func(k, v []byte) (bool, error) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", k, v)
		return true, nil
	})
	if err != nil {
		t.Error(err)
	}
	return b.String()
}
