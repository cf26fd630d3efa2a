package challenge

import (
	"encoding/binary"
	"io"
)

// Check tells whether a tile is that part of the product of a round's operands. A
// wrong tile passes with a chance of at most 2^-32, over what random gives.
//
// It is Freivalds' check in the integers modulo 2^64: with a random vector r it
// compares tile·r with A·(B·r), which costs 256 × size products where the tile cost
// 16,384 × size. Let d be the difference of two elements that should be equal: it
// is not 0 and below 2^33, so d·r takes each value that it can for at most 2^32 of
// the 2^64 values of r.
func Check(c Challenge, seed Hash, index uint32, tile []byte, random io.Reader) (bool, error) {
	if len(tile) != TileBytes || index >= c.Tiles() {
		return false, nil
	}
	var bytes [8 * TileSide]byte
	if _, err := io.ReadFull(random, bytes[:]); err != nil {
		return false, err
	}
	var r [TileSide]uint64
	for j := range r {
		r[j] = binary.LittleEndian.Uint64(bytes[8*j:])
	}
	side := c.Size / TileSide
	top, left := index/side*TileSide, index%side*TileSide
	o, line := newOperands(seed, c.Arithmetic), make([]int8, c.Size)
	inner := make([]uint64, c.Size) // B·r
	for j := range r {
		o.line(line, lineOfB, left+uint32(j))
		addScaled(inner, line, r[j])
	}
	for i := range uint32(TileSide) {
		o.line(line, lineOfA, top+i)
		want, got := product(line, inner), uint64(0)
		for j := range r {
			element := int32(binary.LittleEndian.Uint32(tile[4*(int(i)*TileSide+j):]))
			got += uint64(int64(element)) * r[j]
		}
		if got != want {
			return false, nil
		}
	}
	return true, nil
}

// Multiply computes one tile, on one core. It is the reference that every device
// is held to.
func Multiply(c Challenge, seed Hash, index uint32) []byte {
	side := c.Size / TileSide
	top, left := index/side*TileSide, index%side*TileSide
	o := newOperands(seed, c.Arithmetic)
	rows, columns := make([][]int8, TileSide), make([][]int8, TileSide)
	for i := range uint32(TileSide) {
		rows[i], columns[i] = make([]int8, c.Size), make([]int8, c.Size)
		o.line(rows[i], lineOfA, top+i)
		o.line(columns[i], lineOfB, left+i)
	}
	tile := make([]byte, 0, TileBytes)
	for _, row := range rows {
		for _, column := range columns {
			tile = binary.LittleEndian.AppendUint32(tile, uint32(dot(row, column)))
		}
	}
	return tile
}

// The sums below are all of the work. Each touches its arguments alone, and the race
// detector would make it fifty times slower.

// dot is the product of two lines.
//
//go:norace
func dot(a, b []int8) (sum int32) {
	b = b[:len(a)]
	for k := range a {
		sum += int32(a[k]) * int32(b[k])
	}
	return sum
}

// addScaled adds a line times a factor, modulo 2^64.
//
//go:norace
func addScaled(to []uint64, line []int8, factor uint64) {
	to = to[:len(line)]
	for k := range line {
		to[k] += uint64(int64(line[k])) * factor
	}
}

// product is that of a line and a vector, modulo 2^64.
//
//go:norace
func product(line []int8, with []uint64) (sum uint64) {
	with = with[:len(line)]
	for k := range line {
		sum += uint64(int64(line[k])) * with[k]
	}
	return sum
}
