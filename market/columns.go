package market

import (
	"math/bits"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

const (
	buckets       = 64 // of each number
	regionColumns = 31
	otherRegions  = regionColumns // the column that all later regions share
	firstRegion   = int(sizes) * (buckets - 1)
	firstRunner   = firstRegion + regionColumns
	columnCount   = firstRunner + int(marketv1.Runner_RUNNER_OCI) + 1
)

// columns are bitmaps over the lanes of a segment. For each number there is one
// for each bucket from the second on, of the lanes whose number lies in that
// bucket or above; there is one for each runner, and one for each region, of
// which those beyond the first thirty share one.
type columns struct {
	width   int // words of each column; 0 without columns
	words   []uint64
	regions []string // that have a column of their own
}

func newColumns(width int) columns {
	return columns{width: width, words: make([]uint64, columnCount*width)}
}

func (c *columns) column(i int) []uint64 { return c.words[i*c.width : (i+1)*c.width] }

// from holds the lanes whose number lies in a bucket, not the first, or above.
func (c *columns) from(f fact, bucket int) []uint64 {
	return c.column(int(f)*(buckets-1) + bucket - 1)
}

// in holds the lanes of a region by its number, which is not 0.
func (c *columns) in(region uint8) []uint64 { return c.column(firstRegion + int(region) - 1) }

// runs holds the lanes that have a runner: none, if it is not a known one.
func (c *columns) runs(r marketv1.Runner) []uint64 { return c.column(firstRunner + int(r)) }

// of holds the lanes of a region's or a runner's name, and tells whether it
// holds no others.
func (c *columns) of(f fact, word string) (set []uint64, alone bool) {
	if f == ofRunner {
		return c.runs(runnerNamed(word)), true
	}
	r := c.region(word)
	return c.in(r), r != otherRegions
}

// region is the number of a region.
func (c *columns) region(name string) uint8 {
	if name == "" {
		return 0
	}
	for i, r := range c.regions {
		if r == name {
			return uint8(i + 1)
		}
	}
	return otherRegions
}

// addRegion gives a region that is new a column of its own while one is left, and
// returns its number.
func (c *columns) addRegion(name string) uint8 {
	at := c.region(name)
	if at == otherRegions && len(c.regions) < otherRegions-1 {
		c.regions = append(c.regions, name)
		at = uint8(len(c.regions))
	}
	return at
}

// bucket is where a number falls: four buckets for each power of two, sixteen
// powers from the least that matters of that fact. It never falls as n grows.
// A price has one bucket for each power: prices change often, and pages order them.
func bucket(f fact, n uint64) int {
	if f == ofPrice {
		return max(0, bits.Len64(n)-10) // the first is below a thousandth of a token
	}
	least := 27 // 128 MiB
	switch f {
	case ofCount, ofFree:
		least = 0
	case ofComputeCap:
		least = 3 // 0.8
	case ofCPU:
		least = 8 // a quarter of a core
	case ofDuration:
		least = 14 // 16 s
	}
	power := bits.Len64(n) - 1
	if power < least {
		return 0
	}
	quarter := int(n << (63 - power) >> 61 & 3)
	return min(1+4*(power-least)+quarter, buckets-1)
}

// edge tells whether n is the lowest number of its bucket.
func edge(f fact, n uint64) bool { return n == 0 || bucket(f, n) != bucket(f, n-1) }

// change moves a lane from the columns of its old facts to those of its new ones. A
// lane without facts is in no column: an offer that comes or ends changes from or to
// that.
func (c *columns) change(lane uint32, old, now *facts) {
	word, bit := int(lane/64), uint64(1)<<(lane%64)
	for f := range sizes {
		if old.number[f] == now.number[f] {
			continue
		}
		a, b := bucket(f, old.number[f]), bucket(f, now.number[f])
		for i := min(a, b) + 1; i <= max(a, b); i++ {
			c.from(f, i)[word] ^= bit
		}
	}
	if old.region != now.region {
		for _, r := range []uint8{old.region, now.region} {
			if r > 0 {
				c.in(r)[word] ^= bit
			}
		}
	}
	for r, differ := marketv1.Runner(0), old.runners^now.runners; differ != 0; r, differ = r+1, differ>>1 {
		if differ&1 != 0 {
			c.runs(r)[word] ^= bit
		}
	}
}

// widen makes room for a quarter more lanes.
func (c *columns) widen() {
	wide := newColumns(c.width + c.width/4 + 1)
	for i := range columnCount {
		copy(wide.column(i), c.column(i))
	}
	wide.regions = c.regions
	*c = wide
}

// intersect puts in to what is in all of sets and not in except, and counts it.
// It may change sets, of which there is one at least.
func intersect(to []uint64, sets [][]uint64, except []uint64) (n int) {
	for {
		for len(sets) < 5 {
			sets = append(sets, sets[0]) // so that one loop does
		}
		a, b, c := sets[0][:len(to)], sets[1][:len(to)], sets[2][:len(to)]
		d, e, not := sets[3][:len(to)], sets[4][:len(to)], except[:len(to)]
		n = 0
		for w := range to {
			word := a[w] & b[w] & c[w] & d[w] & e[w] &^ not[w]
			to[w] = word
			n += bits.OnesCount64(word)
		}
		if len(sets) == 5 {
			return n
		}
		sets = sets[4:]
		sets[0] = to
	}
}

// keepAny takes from a set what is in none of others, and counts what is left.
func keepAny(set []uint64, others [][]uint64) (n int) {
	for w, word := range set {
		if word == 0 {
			continue
		}
		any := uint64(0)
		for _, o := range others {
			any |= o[w]
		}
		set[w] = word & any
		n += bits.OnesCount64(set[w])
	}
	return n
}

// remove takes from a set what is in another, and counts what is left.
func remove(set, other []uint64) (n int) {
	for w := range set {
		set[w] &^= other[w]
		n += bits.OnesCount64(set[w])
	}
	return n
}
