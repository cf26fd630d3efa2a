package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk/storage"
)

// testModel runs random transactions against the store and a map, and compares
// them after each one. It prints its seed when they differ.
func testModel(t *testing.T, s Store) {
	const seed, transactions = 20, 150
	r := rand.New(rand.NewPCG(seed, seed))
	model := map[string]string{}
	for i := range transactions {
		next := maps.Clone(model)
		abort := r.IntN(4) == 0
		err := s.Update(func(tx storage.Txn) error {
			for range r.IntN(12) {
				if err := step(r, tx, next); err != nil {
					return err
				}
			}
			if abort {
				return errStop
			}
			return nil
		})
		if abort != errors.Is(err, errStop) || !abort && err != nil {
			t.Fatalf("seed %d, transaction %d: %v", seed, i, err)
		}
		if !abort {
			model = next
		}
		prefix, from := key(r)[:r.IntN(2)], key(r)
		view(t, s, func(tx storage.Txn) error {
			if got, want := dump(t, tx, prefix, from), expect(model, prefix, from); got != want {
				t.Fatalf("seed %d, transaction %d, Scan(%q, %q):\ngot  %s\nwant %s", seed, i, prefix, from, got, want)
			}
			return nil
		})
	}
}

func step(r *rand.Rand, tx storage.Txn, model map[string]string) error {
	k := key(r)
	switch r.IntN(3) {
	case 0:
		delete(model, k)
		return tx.Delete([]byte(k))
	case 1:
		got, err := tx.Get([]byte(k))
		if want, ok := model[k]; string(got) != want || (got != nil) != ok {
			return fmt.Errorf("Get(%q) = %q; want %q, %t", k, got, want, ok)
		}
		return err
	default:
		model[k] = fmt.Sprint(r.IntN(1000))
		return tx.Set([]byte(k), []byte(model[k]))
	}
}

// key returns one of few keys, so that transactions meet.
func key(r *rand.Rand) string {
	b := make([]byte, 1+r.IntN(3))
	for i := range b {
		b[i] = "a\x00\xffb"[r.IntN(4)]
	}
	return string(b)
}

func expect(model map[string]string, prefix, from string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if strings.HasPrefix(k, prefix) && k >= from {
			pairs = append(pairs, k+"="+model[k])
		}
	}
	return strings.Join(pairs, " ")
}
