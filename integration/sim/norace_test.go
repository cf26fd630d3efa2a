//go:build !race

package sim

const (
	defaultNodes = 100
	defaultSeeds = 8
)
