package kernels

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
)

// Pieces in which memory is taken: more than 4 GiB at once is more than some drivers
// give, and less than 1 MiB is less than most of them do.
const (
	mostPiece  = 4 << 30
	leastPiece = 1 << 20
)

// Overwrite takes all memory that an accelerator gives, up to most bytes, and fills it
// with noise, so that nothing is left there of whoever had it before. It returns how
// many bytes it has overwritten. What the driver keeps for itself and for other
// programs is not among them. The memory is the accelerator's until it is closed.
func Overwrite(ctx context.Context, on Accelerator, most uint64) (done uint64, err error) {
	var seed [12]byte
	rand.Read(seed[:])
	var last Buffer
	for piece := uint64(mostPiece); piece >= leastPiece; {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if piece > most-done {
			piece /= 2
			continue
		}
		b, err := on.Allocate(piece)
		if err != nil { // there is no such piece any more
			piece /= 2
			continue
		}
		if err := noise(on, b, piece, seed); err != nil {
			return done, err
		}
		last, done = b, done+piece
	}
	if last == nil {
		return 0, fmt.Errorf("no piece of memory could be taken")
	}
	return done, on.Read(last, 0, make([]byte, 1)) // what was launched has ended, or says why not
}

// noise fills one piece.
func noise(on Accelerator, to Buffer, bytes uint64, seed [12]byte) error {
	blocks := uint32(bytes / blockBytes)
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(seed[4*i:]) }
	for first := uint32(0); first < blocks; first += fillItems {
		// Lines of one block: the place is in the counter.
		if err := on.Launch("fill", min(fillItems, blocks-first), 0, to, first, uint32(blockBytes/4), uint32(0), uint32(0), word(0), word(1), word(2)); err != nil {
			return err
		}
	}
	return nil
}

// blockBytes is what a work item of fill writes.
const blockBytes = 16
