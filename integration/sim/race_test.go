//go:build race

package sim

// Under the race detector, which has nothing to find in one goroutine and makes
// it ten times slower, the defaults are smaller.
const (
	defaultNodes = 50
	defaultSeeds = 3
)
