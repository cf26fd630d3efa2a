package challenge

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Fault is why an answer proves nothing.
type Fault uint8

// The faults of an answer. Late is a fault only beside a [Band]: a device that
// nobody has measured is not late.
const (
	OutOfOrder Fault = iota + 1 // a message that was not asked for
	Partial                     // devices, rounds or tiles are missing
	Wrong                       // a tile is not in its tree, or not of the product: also what is replayed or swapped
	TooSlow                     // past what a device of the class needs
	TooFast                     // below what a device of the class can do: it was not the work that was asked
)

// faultNames is read, never written.
var faultNames = [...]string{OutOfOrder: "out of order", Partial: "partial", Wrong: "wrong", TooSlow: "too slow", TooFast: "too fast"}

// String names the fault for people.
func (f Fault) String() string { return faultNames[f] }

// FaultError is an answer that proves nothing.
type FaultError struct {
	Fault  Fault
	Device string // the id; empty: all of them
	Detail string // one line for people
}

func (e *FaultError) Error() string {
	if e.Device == "" {
		return fmt.Sprintf("challenge: %s: %s", e.Fault, e.Detail)
	}
	return fmt.Sprintf("challenge: device %s: %s: %s", e.Device, e.Fault, e.Detail)
}

// Band is how long devices of one class take over a challenge, as it was measured
// on them. A field of 0 is not known, and judges nothing.
type Band struct {
	CommitLeast time.Duration // from the challenge to the roots
	CommitMost  time.Duration
	RecallMost  time.Duration // from the nonce to the recall's roots; below CommitMost, or it shows no memory
}

// Verdict is what an answer has shown: every device in it has done the work and
// held the products until the end. It has not shown that the devices belong to the
// provider and not to one nearby who lent an equal device for the time of the
// challenge, that they do not slow down later, or that other work of theirs is
// right. Of tiles that are wrong in a share w of a product, a draw of k tiles finds
// one with a chance of 1-(1-w)^k: a challenge is asked again and again.
type Verdict struct {
	Commit time.Duration // as the challenger measured it, so with the time of the way
	Recall time.Duration
	Tiles  int  // that were opened and are right
	Judged bool // the times lie in a band; without one they are only told
}

// Verifier is the challenger's half. It is pure: its methods are told what came
// and when. A FaultError ends it.
type Verifier struct {
	challenge Challenge
	band      Band
	next      step
	asked     time.Time // when the peer was asked what it answers next
	roots     [][]Hash
	nonce     Hash
	recalled  [][]Hash
	places    []Place
	verdict   Verdict
}

// step is what the verifier waits for.
type step uint8

const (
	waitCommit step = iota
	readyToRecall
	waitRecall
	readyToDraw
	waitOpen
	over
)

// NewVerifier begins with a challenge that was sent at a time.
func NewVerifier(c Challenge, band Band, sent time.Time) (*Verifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Verifier{challenge: c, band: band, asked: sent, verdict: Verdict{Judged: band != Band{}}}, nil
}

// take moves from one step to the next.
func (v *Verifier) take(at, next step, what string) error {
	if v.next != at {
		v.next = over
		return &FaultError{Fault: OutOfOrder, Detail: what + " was not asked for"}
	}
	v.next = next
	return nil
}

// fail ends the verifier.
func (v *Verifier) fail(f Fault, device uint32, detail string, args ...any) error {
	v.next = over
	e := &FaultError{Fault: f, Detail: fmt.Sprintf(detail, args...)}
	if device < uint32(len(v.challenge.Devices)) {
		e.Device = v.challenge.Devices[device]
	}
	return e
}

// allDevices is no device's index.
const allDevices = MaxDevices + 1

// complete refuses roots that are not those of every device and round.
func (v *Verifier) complete(roots [][]Hash) error {
	if len(roots) != len(v.challenge.Devices) {
		return v.fail(Partial, allDevices, "%d devices of %d answered", len(roots), len(v.challenge.Devices))
	}
	for i, of := range roots {
		if len(of) != int(v.challenge.Rounds) {
			return v.fail(Partial, uint32(i), "%d rounds of %d", len(of), v.challenge.Rounds)
		}
	}
	return nil
}

// Committed takes the roots, by device and round.
func (v *Verifier) Committed(now time.Time, roots [][]Hash) error {
	if err := v.take(waitCommit, readyToRecall, "a commitment"); err != nil {
		return err
	}
	if err := v.complete(roots); err != nil {
		return err
	}
	v.roots, v.verdict.Commit = roots, now.Sub(v.asked)
	switch took := v.verdict.Commit; {
	case v.band.CommitMost > 0 && took > v.band.CommitMost:
		return v.fail(TooSlow, allDevices, "%v for the products, and such devices need at most %v", took, v.band.CommitMost)
	case took < v.band.CommitLeast:
		return v.fail(TooFast, allDevices, "%v for the products, and such devices need at least %v", took, v.band.CommitLeast)
	}
	return nil
}

// Recall notes the nonce that the peer is asked with at a time. It is random.
func (v *Verifier) Recall(now time.Time, nonce Hash) error {
	if err := v.take(readyToRecall, waitRecall, "a recall"); err != nil {
		return err
	}
	v.nonce, v.asked = nonce, now
	return nil
}

// Recalled takes the roots of the recall, by device and round.
func (v *Verifier) Recalled(now time.Time, roots [][]Hash) error {
	if err := v.take(waitRecall, readyToDraw, "a recall"); err != nil {
		return err
	}
	if err := v.complete(roots); err != nil {
		return err
	}
	v.recalled, v.verdict.Recall = roots, now.Sub(v.asked)
	if took := v.verdict.Recall; v.band.RecallMost > 0 && took > v.band.RecallMost {
		return v.fail(TooSlow, allDevices, "%v to hash what is kept, and such devices need at most %v", took, v.band.RecallMost)
	}
	return nil
}

// Draw picks count places, at least one on each device.
func (v *Verifier) Draw(count int, random io.Reader) ([]Place, error) {
	if err := v.take(readyToDraw, waitOpen, "a draw"); err != nil {
		return nil, err
	}
	devices := uint32(len(v.challenge.Devices))
	for i := range max(count, int(devices)) {
		var b [16]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return nil, fmt.Errorf("challenge: draw: %w", err)
		}
		// A remainder of 64 bits favours no place by more than 2^-40.
		v.places = append(v.places, Place{
			Device: uint32(i) % devices,
			Round:  uint32(binary.LittleEndian.Uint64(b[:]) % uint64(v.challenge.Rounds)),
			Tile:   uint32(binary.LittleEndian.Uint64(b[8:]) % uint64(v.challenge.Tiles())),
		})
	}
	return v.places, nil
}

// Opened checks the tiles that were drawn, in their order, and gives the verdict.
// Random is for [Check].
func (v *Verifier) Opened(openings []Opening, random io.Reader) (Verdict, error) {
	if err := v.take(waitOpen, over, "an opening"); err != nil {
		return Verdict{}, err
	}
	if len(openings) != len(v.places) {
		return Verdict{}, v.fail(Partial, allDevices, "%d tiles of %d were opened", len(openings), len(v.places))
	}
	for i, at := range v.places {
		if err := v.opened(at, openings[i], random); err != nil {
			return Verdict{}, err
		}
	}
	v.verdict.Tiles = len(v.places)
	return v.verdict, nil
}

func (v *Verifier) opened(at Place, o Opening, random io.Reader) error {
	if len(o.Tile) != TileBytes {
		return v.fail(Wrong, at.Device, "a tile of %d bytes", len(o.Tile))
	}
	c, roots := v.challenge, v.roots[at.Device]
	if !inTree(roots[at.Round], c.Tiles(), at.Tile, LeafHash(o.Tile), o.Path) {
		return v.fail(Wrong, at.Device, "tile %d of round %d is not the one that was committed to", at.Tile, at.Round)
	}
	if !inTree(v.recalled[at.Device][at.Round], c.Tiles(), at.Tile, RecallHash(v.nonce, o.Tile), o.Recall) {
		return v.fail(Wrong, at.Device, "tile %d of round %d was not in memory when it was recalled", at.Tile, at.Round)
	}
	var before Hash
	if at.Round > 0 {
		before = roots[at.Round-1]
	}
	ok, err := Check(c, c.Seed(c.Devices[at.Device], at.Round, before), at.Tile, o.Tile, random)
	if err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	if !ok {
		return v.fail(Wrong, at.Device, "tile %d of round %d is not of the product", at.Tile, at.Round)
	}
	return nil
}
