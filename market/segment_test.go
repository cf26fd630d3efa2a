package market

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// TestMatchAllocatesNothing asks as clients do: with a limit, and room for it.
func TestMatchAllocatesNothing(t *testing.T) {
	c := &crowd{Rand: rand.New(rand.NewPCG(*seed, 1)), now: start, book: NewBook(Config{Score: crowdScore, MaxPerProvider: 3})}
	for range 2000 {
		c.put(t, 1000)
	}
	found := make([]*Offer, 0, 16)
	for _, query := range []string{
		"limit=16", "model=A region=EU price<=0.6 order=price,-score limit=16", "model!=CPU vram>=20GB vram<=80GB limit=16",
		"model=A,B region=EU,US,R7 runner=wasm,oci evidence>=challenged duration>=5h cpu>=2 memory>=8GB disk>=1TB limit=16",
		"score>=400 region!=EU order=-free limit=16", "model=NONE",
	} {
		q := mustParse(t, query)
		if n := testing.AllocsPerRun(20, func() { found = c.book.AppendMatch(found[:0], c.now, q) }); n > 0 {
			t.Errorf("%s: %.1f allocations", query, n)
		}
		q.Usage = UsageOf(&marketv1.Resources{GpuCount: 2}, 3_600_000)
		if n := testing.AllocsPerRun(20, func() { found = c.book.AppendMatch(found[:0], c.now, q) }); n > 0 {
			t.Errorf("%s by what it costs: %.1f allocations", query, n)
		}
	}
}

// TestBookRoom fills books in the ways that need most room for each offer, and
// leaves segments nearly empty: room stays in proportion to what is known.
func TestBookRoom(t *testing.T) {
	const n = 3000
	for _, tt := range []struct {
		name  string
		class func(i int) string
		most  uintptr // bytes for each lane
	}{
		{"one class", func(int) string { return "A" }, 500},
		{"as few as have columns", func(i int) string { return fmt.Sprint("C", i/(fewOffers+1)) }, 700},
		{"a class each", func(i int) string { return fmt.Sprint("C", i) }, 1200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBook(Config{})
			for i := range n {
				m := goodOffer()
				m.Class, m.Region, m.PriceAtomsPerHour = tt.class(i), fmt.Sprint("R", i), uint64(i*7919%n)
				if i%10 > 0 {
					m.ExpiresMs = m.IssuedMs + 1000
				}
				o := &Offer{Offer: m, Provider: crowdKey(i), Issued: at(m.IssuedMs), Expires: at(m.ExpiresMs)}
				if _, err := b.Load(start, o); err != nil {
					t.Fatal(err)
				}
			}
			if room := b.room() / n; room > tt.most {
				t.Errorf("full: %d bytes for each offer; want at most %d", room, tt.most)
			}
			later := start.Add(OfferLife + Skew + time.Second)
			for i := 0; i < n; i += 10 { // those that stay are issued anew
				m := goodOffer()
				m.Class, m.Sequence, m.IssuedMs, m.ExpiresMs = tt.class(i), 2, later.UnixMilli(), later.Add(time.Minute).UnixMilli()
				if _, err := b.Load(later, &Offer{Offer: m, Provider: crowdKey(i), Issued: later, Expires: at(m.ExpiresMs)}); err != nil {
					t.Fatal(err)
				}
			}
			b.Expire(later)
			if room := b.room() / (n / 10); b.taken != n/10 || room > 4*tt.most {
				t.Errorf("drained: %d lanes, %d bytes for each; want at most %d", b.taken, room, 4*tt.most)
			}
		})
	}
}

// room is what the segments take, in bytes, but for their maps.
func (b *Book) room() (n uintptr) {
	size := func(v any) uintptr { return reflect.TypeOf(v).Size() }
	for _, s := range b.list {
		n += size(*s) + uintptr(cap(s.lanes))*size(lane{}) + uintptr(cap(s.heads))*size(head{}) + uintptr(len(s.pages))*size(page{}) +
			8*uintptr(cap(s.live)+cap(s.metered)+cap(s.columns.words)+cap(s.pages)+cap(s.lows)) + 4*uintptr(cap(s.free)) + 16*uintptr(cap(s.columns.regions))
	}
	return n
}

// TestMatchUnknownRunner asks for a runner of a later version, as an order may.
func TestMatchUnknownRunner(t *testing.T) {
	c := &crowd{Rand: rand.New(rand.NewPCG(*seed, 2)), now: start, book: NewBook(Config{})}
	for range 400 {
		c.put(t, 400)
	}
	ask := func(runners ...marketv1.Runner) int {
		return len(c.book.Match(start, RequestQuery(&marketv1.Resources{GpuCount: 1, Runners: runners}, MaxPrice, 0)))
	}
	const wasm, later = marketv1.Runner_RUNNER_WASM, marketv1.Runner(5)
	if none, both, one := ask(later), ask(later, wasm), ask(wasm); none != 0 || both != one || one == 0 {
		t.Errorf("%d offers for a later runner, %d for that or wasm, %d for wasm", none, both, one)
	}
}

func TestRunnerNamed(t *testing.T) {
	for r := range marketv1.Runner_name {
		if k := marketv1.Runner(r); isKnownRunner(k) != (runnerNamed(RunnerName(k)) == k && r != 0) {
			t.Errorf("runner %s is read back as %s", k, runnerNamed(RunnerName(k)))
		}
	}
}
