package challenge

import (
	"encoding/binary"
	"math/bits"
)

// The two operands of a round: A has Size rows, B has Size columns, and either is
// made a line (a row of A, a column of B) at a time, from nothing but the seed.
const (
	lineOfA = 0
	lineOfB = 1
)

// blockBytes is what one call of the generator gives.
const blockBytes = 16

// philox is Philox4x32-10, a counter-based generator: any block of its output is
// computed alone (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011).
//
//go:norace
func philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, counter[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

// operands makes the lines of one round's matrices.
type operands struct {
	key  [2]uint32
	salt uint32 // more of the seed, in the counter
	half bool   // elements are the upper four bits, signed
}

func newOperands(seed Hash, a Arithmetic) operands {
	return operands{
		key:  [2]uint32{binary.LittleEndian.Uint32(seed[0:]), binary.LittleEndian.Uint32(seed[4:])},
		salt: binary.LittleEndian.Uint32(seed[8:]),
		half: a == Half,
	}
}

// line fills to with one line of a matrix. Its length is a multiple of [blockBytes].
//
//go:norace
func (o operands) line(to []int8, matrix, index uint32) {
	for k := 0; k < len(to); k += blockBytes {
		words := philox([4]uint32{uint32(k / blockBytes), index, matrix, o.salt}, o.key)
		for w, word := range words {
			at := to[k+4*w:][:4]
			at[0], at[1], at[2], at[3] = int8(word), int8(word>>8), int8(word>>16), int8(word>>24)
		}
	}
	if o.half {
		for k := range to {
			to[k] >>= 4
		}
	}
}
