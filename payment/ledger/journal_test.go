package ledger

import (
	"errors"
	"fmt"
	"testing"

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
	id := TransferID("faucet", []byte("2"))
	for _, tt := range []struct {
		name   string
		damage func(kv map[string][]byte)
		deep   bool // only Verify looks there
	}{
		{"a flipped bit", func(kv map[string][]byte) { kv[string(blockKey(3))][60] ^= 1 }, false},
		{"a block cut short", func(kv map[string][]byte) { v := kv[string(blockKey(5))]; kv[string(blockKey(5))] = v[:len(v)-1] }, false},
		{"an empty block", func(kv map[string][]byte) { kv[string(blockKey(5))] = []byte{} }, false},
		{"a lost block", func(kv map[string][]byte) { delete(kv, string(blockKey(2))) }, false},
		{"a lost last block", func(kv map[string][]byte) { delete(kv, string(blockKey(5))) }, false},
		{"a lost journal", func(kv map[string][]byte) {
			for i := range uint64(5) {
				delete(kv, string(blockKey(i+1)))
			}
		}, false},
		{"an older head", func(kv map[string][]byte) { kv["h"] = append(seqBytes(4), kv["h"][8:]...) }, false},
		{"no head", func(kv map[string][]byte) { delete(kv, "h") }, false},
		{"a rewritten amount", func(kv map[string][]byte) {
			b, _ := decodeBlock(blockKey(5), kv[string(blockKey(5))])
			b.entries[0].Amount = 4
			_, v, _ := encodeBlock(b.prev, b.entries)
			h := blockHash(v)
			kv[string(blockKey(5))], kv["h"] = v, append(seqBytes(5), h[:]...)
		}, false},
		{"a lost index", func(kv map[string][]byte) { delete(kv, string(indexKey(id))) }, true},
		{"a wrong index", func(kv map[string][]byte) { kv[string(indexKey(id))] = seqBytes(1) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := copyOf(healthy)
			tt.damage(s.kv)
			s.edited()
			l, err := Open(Config{Store: s})
			if tt.deep && err == nil {
				err = l.Verify()
			}
			if !errors.Is(err, ErrCorrupt) {
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
