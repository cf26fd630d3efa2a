package market

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"pgregory.net/rapid"
)

// slowBook is what Book promises, written as plainly as it can be: lists of all
// that was accepted, searched from end to end.
type slowBook struct {
	maxOffers, maxClasses int
	kept                  []*slowOffer // the newest of each provider and class
	revoked               []*Revocation
	tokens                map[souk.NodeKey][]time.Time // when a limited offer was accepted
}

type slowOffer struct {
	*Offer
	ended bool
}

func (s *slowBook) put(now time.Time, o *Offer, limited bool) Reason {
	if !o.Expires.After(now) {
		return Expired
	}
	for _, r := range s.revoked {
		if r.Provider == o.Provider && (o.Epoch < r.Epoch || o.Epoch == r.Epoch && o.Sequence <= r.Sequence) {
			return Revoked
		}
	}
	classes, old := 0, (*slowOffer)(nil)
	for _, k := range s.kept {
		if k.Provider == o.Provider {
			classes++
			if k.Class == o.Class {
				old = k
			}
		}
	}
	switch {
	case old != nil && old.Epoch == o.Epoch && old.Sequence == o.Sequence:
		return Duplicate
	case old != nil && (o.Epoch < old.Epoch || o.Epoch == old.Epoch && o.Sequence < old.Sequence):
		return Stale
	case old == nil && (classes >= s.maxClasses || len(s.kept) >= s.maxOffers):
		return Full
	case limited && !s.token(now, o.Provider):
		return Rate
	}
	s.kept = append(slices.DeleteFunc(s.kept, func(k *slowOffer) bool { return k == old }), &slowOffer{Offer: o})
	return ""
}

// token replays the bucket from its first day.
func (s *slowBook) token(now time.Time, k souk.NodeKey) bool {
	level, last := OfferBurst*OfferEvery, time.Time{}
	for _, t := range append(slices.Clone(s.tokens[k]), now) {
		if !last.IsZero() {
			level = min(OfferBurst*OfferEvery, level+t.Sub(last))
		}
		level, last = level-OfferEvery, t
	}
	if level >= 0 {
		s.tokens[k] = append(s.tokens[k], now)
	}
	return level >= 0
}

func (s *slowBook) revoke(r *Revocation) bool {
	for _, old := range s.revoked {
		if old.Provider == r.Provider && (r.Epoch < old.Epoch || r.Epoch == old.Epoch && r.Sequence <= old.Sequence) {
			return false
		}
	}
	s.revoked = append(slices.DeleteFunc(s.revoked, func(old *Revocation) bool { return old.Provider == r.Provider }), r)
	for _, k := range s.kept {
		if k.Provider == r.Provider && (k.Epoch < r.Epoch || k.Epoch == r.Epoch && k.Sequence <= r.Sequence) {
			k.ended = true
		}
	}
	return true
}

func (s *slowBook) expire(now time.Time) {
	for _, k := range s.kept {
		k.ended = k.ended || !k.Expires.After(now)
	}
	s.kept = slices.DeleteFunc(s.kept, func(k *slowOffer) bool { return k.ended && now.After(k.Issued.Add(OfferLife+Skew)) })
	s.revoked = slices.DeleteFunc(s.revoked, func(r *Revocation) bool { return now.After(r.Issued.Add(OfferLife + Skew)) })
}

func (s *slowBook) live(now time.Time) (out []*Offer) {
	for _, k := range s.kept {
		if !k.ended && k.Expires.After(now) {
			out = append(out, k.Offer)
		}
	}
	return out
}

// slowClause is a clause as text and as plain Go.
type slowClause struct {
	text string
	ok   func(*Offer) bool
}

func drawClause(t *rapid.T) slowClause {
	n := rapid.Uint64Range(0, 4).Draw(t, "n")
	price := souk.Atoms(n * 100_000)
	all := []slowClause{
		{"model=CPU,A", func(o *Offer) bool { return o.Class == "CPU" || o.Class == "A" }},
		{"model!=B", func(o *Offer) bool { return o.Class != "B" }},
		{fmt.Sprintf("vram>=%dGB", n), func(o *Offer) bool { return o.MemoryBytes >= n*1e9 }},
		{fmt.Sprintf("vram!=%dGB", n), func(o *Offer) bool { return o.MemoryBytes != n*1e9 }},
		{fmt.Sprintf("price<=%s", price), func(o *Offer) bool { return o.PriceAtomsPerHour <= uint64(price) }},
		{fmt.Sprintf("price>%s", price), func(o *Offer) bool { return o.PriceAtomsPerHour > uint64(price) }},
		{fmt.Sprintf("free=%d..3", min(n, 3)), func(o *Offer) bool { return uint64(o.Free) >= min(n, 3) && o.Free <= 3 }},
		{"region=EU", func(o *Offer) bool { return o.Region == "EU" }},
		{"runner!=oci", func(o *Offer) bool { return !slices.Contains(o.Runners, marketv1.Runner_RUNNER_OCI) }},
		{"score>=400", func(o *Offer) bool { return slowScore(o.Provider) >= 400 }},
	}
	return rapid.SampledFrom(all).Draw(t, "clause")
}

func slowScore(k souk.NodeKey) uint32 { return uint32(k[0]) * 150 }

func drawOffer(t *rapid.T, now time.Time) *Offer {
	n := byte(rapid.IntRange(1, 4).Draw(t, "provider"))
	issued := now.Add(-time.Duration(rapid.IntRange(0, 50).Draw(t, "age")) * time.Minute)
	m := &marketv1.Offer{
		Class: rapid.SampledFrom([]string{"CPU", "A", "B"}).Draw(t, "class"), Model: "x",
		Epoch: rapid.Uint64Range(1, 2).Draw(t, "epoch"), Sequence: rapid.Uint64Range(0, 8).Draw(t, "sequence"),
		IssuedMs:    issued.UnixMilli(),
		ExpiresMs:   issued.Add(time.Duration(rapid.IntRange(1, 45).Draw(t, "life")) * time.Minute).UnixMilli(),
		MemoryBytes: rapid.Uint64Range(0, 4).Draw(t, "vram") * 1e9, PriceAtomsPerHour: rapid.Uint64Range(0, 4).Draw(t, "price") * 100_000,
		Count: 4, Free: rapid.Uint32Range(0, 4).Draw(t, "free"), Region: rapid.SampledFrom([]string{"", "EU", "US"}).Draw(t, "region"),
		Runners:  []marketv1.Runner{rapid.SampledFrom([]marketv1.Runner{1, 2, 3}).Draw(t, "runner")},
		Evidence: marketv1.Evidence_EVIDENCE_NONE,
	}
	// The envelope is not opened here: the book takes offers that were.
	return &Offer{Offer: m, Provider: souk.NodeKey{n}, Issued: at(m.IssuedMs), Expires: at(m.ExpiresMs)}
}

func TestBookAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBook(Config{MaxOffers: 7, MaxPerProvider: 2, Score: slowScore})
		s := &slowBook{maxOffers: 7, maxClasses: 2, tokens: map[souk.NodeKey][]time.Time{}}
		now := start
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				o, limited := drawOffer(t, now), rapid.Bool().Draw(t, "limited")
				_, err := b.take(now, o, limited)
				if got, want := reasonOf(err), s.put(now, o, limited); got != want {
					t.Fatalf("put: %q; the model says %q", got, want)
				}
			},
			"revoke": func(t *rapid.T) {
				m := &marketv1.Revocation{Epoch: rapid.Uint64Range(1, 2).Draw(t, "epoch"), Sequence: rapid.Uint64Range(0, 8).Draw(t, "sequence")}
				r := &Revocation{Revocation: m, Provider: souk.NodeKey{byte(rapid.IntRange(1, 4).Draw(t, "provider"))}, Issued: now}
				_, err := b.Revoke(now, r)
				if got, want := err == nil, s.revoke(r); got != want {
					t.Fatalf("revoke: %v; the model says %t", err, want)
				}
			},
			"expire": func(t *rapid.T) { b.Expire(now); s.expire(now) },
			"pass": func(t *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Second, 10 * time.Minute}).Draw(t, "span"))
			},
			"": func(t *rapid.T) { compareBooks(t, b, s, now) },
		})
	})
}

func reasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	return err.(*RejectError).Reason
}

func compareBooks(t *rapid.T, b *Book, s *slowBook, now time.Time) {
	clauses := rapid.SliceOfN(rapid.Custom(drawClause), 0, 3).Draw(t, "clauses")
	limit := rapid.IntRange(0, 4).Draw(t, "limit")
	byFree := rapid.Bool().Draw(t, "by free")
	var parts []string
	for _, c := range clauses {
		parts = append(parts, c.text)
	}
	if byFree {
		parts = append(parts, "order=-free,price")
	}
	if limit > 0 {
		parts = append(parts, fmt.Sprintf("limit=%d", limit))
	}
	query := strings.Join(parts, " ")
	q, err := ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	live := s.live(now)
	if b.Len(now) != len(live) {
		t.Fatalf("%d offers; the model has %d", b.Len(now), len(live))
	}
	passes := func(o *Offer, skip, until int) bool {
		for i, c := range clauses[:until] {
			if i != skip && !c.ok(o) {
				return false
			}
		}
		return true
	}
	count := func(skip, until int) (n int) {
		for _, o := range live {
			if passes(o, skip, until) {
				n++
			}
		}
		return n
	}
	for i, r := range b.Explain(now, q) {
		alone := 0
		for _, o := range live {
			if !clauses[i].ok(o) {
				alone++
			}
		}
		if want := (Removal{q.Clauses[i].String(), alone, count(-1, i+1), count(i, len(clauses))}); r != want {
			t.Fatalf("%s: explained %v; the model says %v", query, r, want)
		}
	}
	want := slices.DeleteFunc(live, func(o *Offer) bool { return !passes(o, -1, len(clauses)) })
	slices.SortFunc(want, func(x, y *Offer) int {
		byPrice := cmp.Or(cmp.Compare(x.PriceAtomsPerHour, y.PriceAtomsPerHour), cmp.Compare(slowScore(y.Provider), slowScore(x.Provider)),
			bytes.Compare(x.Provider[:], y.Provider[:]), strings.Compare(x.Class, y.Class))
		if byFree {
			return cmp.Or(cmp.Compare(y.Free, x.Free), byPrice)
		}
		return byPrice
	})
	if limit > 0 && len(want) > limit {
		want = want[:limit]
	}
	if got := b.Match(now, q); !slices.Equal(got, want) {
		t.Fatalf("%s: found %v; the model finds %v", query, got, want)
	}
}
