package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk/gpu/challenge"
)

// Numbers of the challenge whose check is measured.
const (
	checkOrder = 16384
	checkTiles = 8 // of one challenge
)

// challengeCheck measures what a challenger computes to check one answer, beside the
// sums that Freivalds' check cannot do without.
func challengeCheck() bench {
	return bench{
		row:     "challenge check, 8 tiles of order 16,384",
		against: "its 64-bit sums alone, over operands that are there",
		unit:    "ms on one core",
		goal:    "≤ 500 ms",
		prepare: prepareCheck,
	}
}

func prepareCheck(string) (*subject, error) {
	c := challenge.Challenge{Devices: []string{"GPU-1"}, Arithmetic: challenge.Int8, Size: checkOrder, Rounds: 1}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	seed := c.Seed("GPU-1", 0, challenge.Hash{})
	var tiles [checkTiles][]byte
	for i := range tiles {
		tiles[i] = challenge.Multiply(c, seed, uint32(i)*1000)
	}
	line, sums := make([]int8, checkOrder), make([]uint64, checkOrder)
	for i := range line {
		line[i] = int8(i)
	}
	return &subject{
		ours: func() (float64, error) {
			return millis(func() error {
				for i, tile := range tiles {
					if ok, err := challenge.Check(c, seed, uint32(i)*1000, tile, rand.Reader); !ok {
						return errors.Join(err, fmt.Errorf("tile %d is refused", i))
					}
				}
				return nil
			})
		},
		limit: func() (float64, error) {
			return millis(func() error {
				if sum := bareSums(line, sums); sum == 0 {
					return errors.New("nothing was summed")
				}
				return nil
			})
		},
		met: func(ours, _ figure) bool { return ours.median <= float64(500*time.Millisecond/time.Millisecond) },
	}, nil
}

// bareSums are those of the check of all tiles, over one line again and again.
func bareSums(line []int8, sums []uint64) (sum uint64) {
	sums = sums[:len(line)]
	for j := range uint64(checkTiles * challenge.TileSide) {
		factor := j*0x9E3779B97F4A7C15 + 1
		for k := range line {
			sums[k] += uint64(int64(line[k])) * factor
		}
		for k := range line {
			sum += uint64(int64(line[k])) * sums[k]
		}
	}
	return sum
}
