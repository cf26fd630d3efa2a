package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

const (
	keptSamples  = 1 << 30        // bytes of telemetry that a home keeps, of all leases
	freshSamples = 24 * time.Hour // telemetry that was written to since then is not removed
)

// SampleFiles keeps the telemetry of leases below a home, as long as there is room:
// for as many bytes as it may keep, that of the newest leases stays.
type SampleFiles struct {
	dir  string
	room func() error
}

// NewSampleFiles keeps telemetry below home; room is asked before anything is added.
func NewSampleFiles(home string, room func() error) *SampleFiles {
	return &SampleFiles{dir: filepath.Join(home, "telemetry"), room: room}
}

// Of is the file of a lease, which is opened by Resume.
func (s *SampleFiles) Of(lease souk.LeaseID) *SampleFile {
	return NewSampleFile(s.path(lease), payment.MaxSampleBytes, s.room)
}

func (s *SampleFiles) path(lease souk.LeaseID) string { return filepath.Join(s.dir, lease.String()) }

// Read calls fn with every sample of a lease, encoded, in their order; with none
// where nothing is kept of it.
func (s *SampleFiles) Read(lease souk.LeaseID, fn func(b []byte) error) error {
	return ReadSamples(s.path(lease), payment.MaxSampleBytes, fn)
}

// From calls fn with the samples of a lease that begin at byte at of its file or
// later, and returns where the next will begin; also while they are written. An error
// of fn ends it, and the sample that fn had is read again from there.
func (s *SampleFiles) From(lease souk.LeaseID, at int64, fn func(b []byte) error) (int64, error) {
	return readSamples(s.path(lease), payment.MaxSampleBytes, at, fn)
}

// Remove removes what is kept of a lease.
func (s *SampleFiles) Remove(lease souk.LeaseID) error {
	if err := os.Remove(s.path(lease)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("samples: %w", err)
	}
	return nil
}

// Sweep removes the oldest files while all of them are larger than they may be.
func (s *SampleFiles) Sweep(now time.Time) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("samples: %w", err)
	}
	var files []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files, total = append(files, info), total+info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, f := range files {
		if total <= keptSamples || now.Sub(f.ModTime()) < freshSamples {
			break
		}
		if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
			return fmt.Errorf("samples: %w", err)
		}
		total -= f.Size()
	}
	return nil
}
