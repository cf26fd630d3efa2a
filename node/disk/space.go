// Package disk keeps a node from filling its disk: it watches how much is free,
// refuses new work below a floor, and keeps the output of jobs in bounded files.
package disk

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/storage/badger"
	"golang.org/x/sys/unix"
)

// How full the disk may be. The stores write through memory maps, and a process
// that does so on a full disk is ended; so writing stops while there is space, in
// this order: what is new, then blocks, then the ledger. In between, runs end and
// their receipts are stored.
const (
	WorkFloor   = 384 << 20 // bytes free for new jobs, leases and files
	BlocksFloor = 320 << 20 // for blocks, such as the outputs of what ran
	LedgerFloor = 256 << 20 // for the ledger and the log of receipts
	spaceSlack  = 16 << 20  // more than the floor, before work is taken again, so that a disk at the floor does not switch back and forth
	spaceEvery  = 250 * time.Millisecond
)

// FullError is why a node takes on nothing: below its floor it only reads.
type FullError struct {
	home       string
	free, need uint64
}

func (e *FullError) Error() string {
	return fmt.Sprintf("read-only: the disk of %s has %s free, of %s needed: free %s",
		e.home, souk.FormatSize(e.free), souk.FormatSize(e.need), souk.FormatSize(e.Short()))
}

// ErrorCode is [souk.CodeState].
func (e *FullError) ErrorCode() souk.Code { return souk.CodeState }

// Short is how much has to be freed, in bytes.
func (e *FullError) Short() uint64 { return e.need - min(e.free, e.need) }

// Is makes it an error of the stores' kind.
func (e *FullError) Is(target error) bool { return target == badger.ErrLowDisk }

// Space watches the disk that the home is on.
type Space struct {
	home string
	log  *slog.Logger
	Free func(dir string) (uint64, error) // bytes free where dir is; a test may replace it before Run

	changes network.Changes // low came or went

	mu  sync.Mutex // guards low
	low *FullError
}

// NewSpace watches the disk of home; it starts nothing.
func NewSpace(home string, log *slog.Logger) *Space {
	return &Space{home: home, log: log, Free: FreeBytes}
}

// Run looks at the disk until ctx ends, and calls changed when work has to stop
// or may go on.
func (s *Space) Run(ctx context.Context, changed func(low bool)) error {
	for {
		if turned, low := s.read(); turned {
			changed(low)
		}
		if !network.Sleep(ctx, spaceEvery) {
			return nil
		}
	}
}

// read looks once, and says a change in one line.
func (s *Space) read() (turned, low bool) {
	free, err := s.Free(s.home)
	if err != nil {
		s.log.Debug("free space", "err", err)
		return false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.low
	need := uint64(WorkFloor)
	if was != nil {
		need += spaceSlack
	}
	if s.low = nil; free < need {
		s.low = &FullError{s.home, free, WorkFloor + spaceSlack} // what it takes to go on
	}
	if turned = (was == nil) != (s.low == nil); turned {
		defer s.changes.Announce()
		if s.low != nil {
			s.log.Error("no new work is taken, and what runs here ends", "err", s.low)
		} else {
			s.log.Info("the disk has space again: work is taken", "free", souk.FormatSize(free))
		}
	}
	return turned, s.low != nil
}

// Look returns why nothing new is taken, or nil, and a channel that closes when
// that changes.
func (s *Space) Look() (*FullError, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.low, s.changes.Next()
}

// Room is an error while there is less free than the floor of new work and extra bytes.
func (s *Space) Room(extra uint64) *FullError {
	if low, _ := s.Look(); low != nil {
		return low
	}
	free, err := s.Free(s.home)
	if need := WorkFloor + extra; err == nil && free < need {
		return &FullError{s.home, free, need}
	}
	return nil
}

// LedgerRoom is an error while not even the ledger may grow.
func (s *Space) LedgerRoom() error {
	free, err := s.Free(s.home)
	if err == nil && free < LedgerFloor {
		return &FullError{s.home, free, LedgerFloor}
	}
	return nil
}

// Wait returns true once there is space, and false when ctx ends first.
func (s *Space) Wait(ctx context.Context) bool {
	for {
		// A write can be refused a moment before Run sees why.
		if low, _ := s.Look(); low == nil && s.Room(0) == nil {
			return ctx.Err() == nil
		}
		if !network.Sleep(ctx, spaceEvery) {
			return false
		}
	}
}

// FreeBytes is how many bytes are free where dir is.
func FreeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
