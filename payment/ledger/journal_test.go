package ledger

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/souk-market/souk"
)

func TestDamageIsFound(t *testing.T) {
	healthy := newMapStore()
	l := start(t, healthy)
	for i := range 5 {
		if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{transfer("faucet", fmt.Sprint(i), Wallet, External, 3)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(kv map[string][]byte)
	}{
		{"a flipped bit", func(kv map[string][]byte) { kv[string(blockKey(3))][60] ^= 1 }},
		{"a block cut short", func(kv map[string][]byte) { v := kv[string(blockKey(5))]; kv[string(blockKey(5))] = v[:len(v)-1] }},
		{"an empty block", func(kv map[string][]byte) { kv[string(blockKey(5))] = []byte{} }},
		{"a lost block", func(kv map[string][]byte) { delete(kv, string(blockKey(2))) }},
		{"a lost last block", func(kv map[string][]byte) { delete(kv, string(blockKey(5))) }},
		{"a lost journal", func(kv map[string][]byte) {
			for i := range uint64(5) {
				delete(kv, string(blockKey(i+1)))
			}
		}},
		{"an older head", func(kv map[string][]byte) { kv["h"] = append(seqBytes(4), kv["h"][8:]...) }},
		{"a rewritten count", func(kv map[string][]byte) { kv["h"][47]++ }},
		{"a head cut short", func(kv map[string][]byte) { kv["h"] = kv["h"][:50] }},
		{"no head", func(kv map[string][]byte) { delete(kv, "h") }},
		{"a rewritten amount", func(kv map[string][]byte) {
			b, _ := decodeBlock(blockKey(5), kv[string(blockKey(5))])
			b.entries[0].Amount = 4
			_, v, _ := encodeBlock(b.prev, b.entries)
			h := blockHash(v)
			kv[string(blockKey(5))], kv["h"] = v, encodeHead(5, h, 5)
		}},
		{"a transfer twice", func(kv map[string][]byte) {
			b, _ := decodeBlock(blockKey(5), kv[string(blockKey(5))])
			b.entries[0].ID = TransferID("faucet", []byte("2"))
			_, v, _ := encodeBlock(b.prev, b.entries)
			h := blockHash(v)
			kv[string(blockKey(5))], kv["h"] = v, encodeHead(5, h, 5)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := copyOf(healthy)
			tt.damage(s.kv)
			s.edited()
			if _, err := Open(Config{Store: s}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v, want %v", err, ErrCorrupt)
			}
		})
	}
}

func FuzzDecodeBlock(f *testing.F) {
	e := Entry{1, transfer("faucet", "1", Wallet, External, 3), 3, 3}
	key, value, _ := encodeBlock(souk.Digest{9}, []Entry{e})
	f.Add(key, value)
	f.Add(key, value[:len(value)-1])
	f.Fuzz(func(t *testing.T, key, value []byte) {
		b, err := decodeBlock(key, value)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v is not ErrCorrupt", err)
			}
			return
		}
		var again []Entry
		for rest, prev := b.entries, b.prev; len(rest) > 0; {
			k, v, n := encodeBlock(prev, rest)
			got, err := decodeBlock(k, v)
			if err != nil {
				t.Fatalf("decode(encode) = %v", err)
			}
			again, rest, prev = append(again, got.entries...), rest[n:], blockHash(v)
		}
		if len(again) != len(b.entries) {
			t.Fatalf("%d entries became %d", len(b.entries), len(again))
		}
		for i := range again {
			if again[i] != b.entries[i] {
				t.Fatalf("entry %d: %+v became %+v", i, b.entries[i], again[i])
			}
		}
	})
}

// counter is a mark in memory.
type counter struct{ n uint64 }

func (c *counter) Last() uint64       { return c.n }
func (c *counter) Set(n uint64) error { c.n = n; return nil }

// TestLostEnd opens a store that has gone back: without its last transfer, and
// without its last record, which no journal tells of.
func TestLostEnd(t *testing.T) {
	s, mark := newMapStore(), &counter{}
	commit := func(b Batch) {
		t.Helper()
		l, err := Open(Config{Store: s, Mark: mark})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		err = l.Commit(ctx, b)
		stop()
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
	}
	paid := Transfer{ID: [16]byte{1}, Debit: Wallet, Credit: External, Amount: 5, Kind: "received"}
	for i, b := range []Batch{{Transfers: []Transfer{paid}}, {Records: []Record{{Key: "lease/1", Value: []byte("signed")}}}} {
		before := copyOf(s)
		before.edited()
		commit(b)
		if mark.n != uint64(i+1) {
			t.Errorf("after %d commits the mark is %d", i+1, mark.n)
		}
		if _, err := Open(Config{Store: before, Mark: mark}); !errors.Is(err, ErrLost) {
			t.Errorf("without commit %d: %v; want %v", i+1, err, ErrLost)
		}
	}
	commit(Batch{Transfers: []Transfer{paid}}) // applied before: nothing is written
	if mark.n != 2 {
		t.Errorf("the mark is %d; want 2", mark.n)
	}
	if _, err := Open(Config{Store: s, Mark: &counter{}}); err != nil {
		t.Errorf("with a mark that was lost: %v", err)
	}
}

// TestClockBack commits with a clock that was set back by an hour: the order is
// that of the commits, and nothing else looks at the time.
func TestClockBack(t *testing.T) {
	s, at := newMapStore(), time.Now()
	l := start(t, s)
	for i, when := range []time.Time{at, at.Add(-time.Hour), at} {
		in := transfer("faucet", fmt.Sprint(i), Wallet, External, 3)
		in.At = when
		if err := l.Commit(t.Context(), Batch{Transfers: []Transfer{in}}); err != nil {
			t.Fatal(err)
		}
	}
	opened := copyOf(s)
	opened.edited()
	again, err := Open(Config{Store: opened})
	if err != nil {
		t.Fatal(err)
	}
	if b := again.Balance(Wallet); b != 9 {
		t.Errorf("the wallet has %s; want %s", b, souk.Atoms(9))
	}
}
