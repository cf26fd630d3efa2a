package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/souk-market/souk"
	"pgregory.net/rapid"
)

// model is a ledger with nothing but maps.
type model struct {
	net     map[Account]souk.Atoms
	applied map[[16]byte]Transfer
	records map[string]string
}

func newModel() *model {
	return &model{make(map[Account]souk.Atoms), make(map[[16]byte]Transfer), make(map[string]string)}
}

// apply returns the error that Commit must return, as a sentinel or type.
func (m *model) apply(b Batch) error {
	net, applied := maps.Clone(m.net), maps.Clone(m.applied)
	for _, t := range b.Transfers {
		if old, ok := applied[t.ID]; ok {
			if !old.same(t) {
				return ErrConflict
			}
			continue
		}
		net[t.Debit] += t.Amount
		net[t.Credit] -= t.Amount
		applied[t.ID] = t
		for _, a := range []Account{t.Debit, t.Credit} {
			if a.floored() && a.balance(net[a]) < 0 {
				return &FloorError{}
			}
		}
	}
	m.net, m.applied = net, applied
	for _, r := range b.Records {
		if m.records[r.Key] = string(r.Value); len(r.Value) == 0 {
			delete(m.records, r.Key)
		}
	}
	return nil
}

// sameError compares an error of Commit with the model's.
func sameError(got, want error) bool {
	var floor *FloorError
	if errors.As(want, &floor) {
		return errors.As(got, &floor)
	}
	return errors.Is(got, want)
}

var accounts = []Account{
	Wallet, External, Spent, Earned, Channel(channel), Receivable(channel), Owed(channel), "gas",
}

func drawBatch(t *rapid.T, ids int) (b Batch) {
	for range rapid.IntRange(0, 5).Draw(t, "transfers") {
		id := rapid.IntRange(0, ids).Draw(t, "id")
		i := rapid.IntRange(0, len(accounts)-1).Draw(t, "debit")
		j := rapid.IntRange(1, len(accounts)-1).Draw(t, "credit")
		b.Transfers = append(b.Transfers, Transfer{
			ID:     TransferID("test", fmt.Append(nil, id)),
			Debit:  accounts[i],
			Credit: accounts[(i+j)%len(accounts)],
			Amount: rapid.SampledFrom([]souk.Atoms{1, 2, 50, 1 << 40}).Draw(t, "amount"),
			Kind:   "test",
			At:     at,
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "records") {
		key := rapid.SampledFrom([]string{"a", "b", "ab", "c/1"}).Draw(t, "key")
		b.Records = append(b.Records, Record{key, []byte(rapid.StringMatching("[xy]{0,2}").Draw(t, "value"))})
	}
	return b
}

// TestLedgerIsItsModel drives one ledger and one map with the same batches,
// among them retries, conflicts and overdrafts, and opens it again now and then.
func TestLedgerIsItsModel(t *testing.T) {
	ops := 0
	rapid.Check(t, func(rt *rapid.T) {
		s, m := newMapStore(), newModel()
		l := start(t, s)
		var seen []Batch
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(rt *rapid.T) {
				b := drawBatch(rt, 40)
				seen = append(seen, b)
				ops += len(b.Transfers) + len(b.Records)
				if got, want := l.Commit(t.Context(), b), m.apply(b); !sameError(got, want) {
					rt.Fatalf("Commit(%+v) = %v, want %v", b, got, want)
				}
			},
			"retry": func(rt *rapid.T) {
				if len(seen) == 0 {
					rt.Skip("nothing to retry")
				}
				b := rapid.SampledFrom(seen).Draw(rt, "batch")
				ops += len(b.Transfers) + len(b.Records)
				if got, want := l.Commit(t.Context(), b), m.apply(b); !sameError(got, want) {
					rt.Fatalf("Commit(%+v) = %v, want %v", b, got, want)
				}
			},
			"reopen": func(rt *rapid.T) { l = start(t, s) },
			"": func(rt *rapid.T) {
				for _, a := range accounts {
					if got, want := l.Balance(a), a.balance(m.net[a]); got != want {
						rt.Fatalf("Balance(%s) = %d, want %d", a, got, want)
					}
				}
				got := make(map[string]string)
				if err := l.Scan("", func(k string, v []byte) error { got[k] = string(v); return nil }); err != nil {
					rt.Fatal(err)
				}
				if !maps.Equal(got, m.records) {
					rt.Fatalf("records %v, want %v", got, m.records)
				}
				if err := l.Verify(); err != nil {
					rt.Fatal(err)
				}
			},
		})
	})
	t.Logf("%d transfers and records", ops)
}

// TestManyWriters lets writers race for the same ids and the same money, and
// then plays the journal into the model: whatever the order was, it must be one
// that the model accepts, and hold exactly the batches that Commit accepted.
func TestManyWriters(t *testing.T) {
	const writers, each, ids = 32, 320, 4000
	s := newMapStore()
	l := start(t, s)
	if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{transfer("faucet", "1", Wallet, External, 2000)}}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards accepted and refused
	accepted := make(map[[16]byte]Transfer)
	refused := map[string]int{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for range each {
				b := randomBatch(rng, ids)
				err := l.Commit(context.Background(), b)
				mu.Lock()
				switch {
				case err == nil:
					for _, t := range b.Transfers {
						accepted[t.ID] = t
					}
				case errors.Is(err, ErrConflict):
					refused["conflict"]++
				default:
					refused["floor"]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	m := newModel()
	entries, err := l.History(0, writers*each*3)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries[1:] {
		if want, ok := accepted[e.ID]; !ok || !want.same(e.Transfer) {
			t.Fatalf("entry %d is in the journal, but no Commit accepted it", e.Seq)
		}
		delete(accepted, e.ID)
	}
	for _, e := range entries {
		if err := m.apply(Batch{Transfers: []Transfer{e.Transfer}}); err != nil {
			t.Fatalf("entry %d: %v", e.Seq, err)
		}
	}
	if len(accepted) != 0 {
		t.Errorf("%d accepted transfers are not in the journal", len(accepted))
	}
	for _, a := range accounts {
		if got, want := l.Balance(a), a.balance(m.net[a]); got != want {
			t.Errorf("Balance(%s) = %d, want %d", a, got, want)
		}
	}
	if err := l.Verify(); err != nil {
		t.Error(err)
	}
	t.Logf("%d batches of %d writers: %d entries in %d transactions, refused %v",
		writers*each, writers, len(entries), s.updates, refused)
}

func randomBatch(rng *rand.Rand, ids int) (b Batch) {
	for range 1 + rng.IntN(2) {
		i := rng.IntN(len(accounts))
		b.Transfers = append(b.Transfers, Transfer{
			ID:     TransferID("race", fmt.Append(nil, rng.IntN(ids))),
			Debit:  accounts[i],
			Credit: accounts[(i+1+rng.IntN(len(accounts)-1))%len(accounts)],
			Amount: souk.Atoms(1 + rng.IntN(3)),
			Kind:   "race",
			At:     at,
		})
	}
	return b
}
