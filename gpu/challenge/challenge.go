// Package challenge proves to a stranger that devices can compute and hold what
// their provider claims.
//
// A [Challenge] gives each device rounds of matrix products that fill its memory.
// The provider commits to every product before it learns which parts of them are
// looked at, so an answer costs the whole work, and checking it costs a laptop a
// fraction of a second: see [Check]. What a proof cannot show is listed at
// [Verdict].
//
// The package is pure: devices are behind [Device], time and chance are passed
// in. The provider's half is [Prover], the challenger's is [Verifier].
package challenge

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/souk-market/souk"
)

// Bounds of a challenge.
const (
	MinSize    = 256   // the least order of a matrix
	MaxSize    = 32768 // the largest: sums of products of bytes still fit in 32 bits
	MaxRounds  = 1024  // of one device
	MaxDevices = 128   // 16 GPUs of 8 slices
	TileSide   = 128   // rows and columns of a tile
	TileBytes  = TileSide * TileSide * 4
	maxID      = 96 // bytes of a device's id, as a probe allows
)

// Arithmetic is how a device multiplies. Both are exact: the result does not
// depend on the order of the sums, so that every device gives the same bytes.
type Arithmetic uint8

// Two arithmetics, since a device can be slow at one and honest: the B300 has a
// thirtieth of the B200's 8-bit integer rate.
const (
	Int8  Arithmetic = iota + 1 // 8-bit integers, summed in 32-bit integers
	Half                        // 4-bit integers as 16-bit floats, summed in 32-bit floats: all sums are below 2^24
	maxAr = Half
)

// Challenge says what is to be proved, to whom, and of which size. Size is the
// order of the matrices: a power of two. Each round leaves Size × Size × 4 bytes
// in a device's memory, and all rounds stay there until the last opening.
type Challenge struct {
	Digest     souk.Digest // of the signed bytes: it binds both keys, the nonce and the lease
	Devices    []string    // ids as in the offer; all are asked at once
	Arithmetic Arithmetic
	Size       uint32
	Rounds     uint32 // of every device
}

// Validate tells what is wrong with a challenge.
func (c Challenge) Validate() error {
	switch {
	case c.Arithmetic == 0 || c.Arithmetic > maxAr:
		return fmt.Errorf("challenge: arithmetic %d is not known", c.Arithmetic)
	case c.Size < MinSize || c.Size > MaxSize || bits.OnesCount32(c.Size) != 1:
		return fmt.Errorf("challenge: size %d is no power of two from %d to %d", c.Size, MinSize, MaxSize)
	case c.Rounds == 0 || c.Rounds > MaxRounds:
		return fmt.Errorf("challenge: %d rounds are not from 1 to %d", c.Rounds, MaxRounds)
	case len(c.Devices) == 0 || len(c.Devices) > MaxDevices:
		return fmt.Errorf("challenge: %d devices are not from 1 to %d", len(c.Devices), MaxDevices)
	}
	seen := make(map[string]bool, len(c.Devices))
	for _, id := range c.Devices {
		if id == "" || len(id) > maxID || seen[id] {
			return fmt.Errorf("challenge: device %.20q is named badly or twice", id)
		}
		seen[id] = true
	}
	return nil
}

// Tiles is the number of tiles of one product.
func (c Challenge) Tiles() uint32 { s := c.Size / TileSide; return s * s }

// MemoryBytes is what the products of one device fill.
func (c Challenge) MemoryBytes() uint64 {
	return uint64(c.Size) * uint64(c.Size) * 4 * uint64(c.Rounds)
}

// Operations is the number of multiplications and additions that one device does.
func (c Challenge) Operations() uint64 {
	n := uint64(c.Size)
	return 2 * n * n * n * uint64(c.Rounds)
}

// FittingRounds is how many rounds of a size fill a device's memory up to about
// nine tenths, and leave room for the operands and the driver. It is 0 where not
// even one fits.
func FittingRounds(memoryBytes uint64, size uint32) uint32 {
	product := uint64(size) * uint64(size) * 4
	operands := uint64(size) * uint64(size) * 4 // two matrices of at most two bytes
	room := memoryBytes / 10 * 9
	if room < operands+product {
		return 0
	}
	return uint32(min((room-operands)/product, MaxRounds))
}

// Hash is a SHA-256 sum: of a tile, or of a node of a tree of tiles.
type Hash = [sha256.Size]byte

// Seed is what the operands of one round are made from. It depends on the root of
// the round before, so that rounds cannot be computed at once, or by two devices.
func (c Challenge) Seed(device string, round uint32, before Hash) Hash {
	h := sha256.New()
	h.Write(souk.DomainChallenge.Message(c.Digest[:]))
	var word [4]byte
	binary.BigEndian.PutUint32(word[:], uint32(len(device)))
	h.Write(word[:])
	h.Write([]byte(device))
	binary.BigEndian.PutUint32(word[:], round)
	h.Write(word[:])
	h.Write(before[:])
	return Hash(h.Sum(nil))
}

// Place is where a tile lies.
type Place struct {
	Device uint32 // index in [Challenge.Devices]
	Round  uint32 // from 0
	Tile   uint32 // index in row-major order
}

var errPlace = errors.New("challenge: no such tile")

// check refuses a place outside the challenge.
func (c Challenge) check(p Place) error {
	if p.Device >= uint32(len(c.Devices)) || p.Round >= c.Rounds || p.Tile >= c.Tiles() {
		return errPlace
	}
	return nil
}
