package disk

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// MaxSampleFileBytes bounds what is kept of the telemetry of one lease: a day of
// twenty-four GPUs.
const MaxSampleFileBytes = 256 << 20

// markEvery is how many samples lie between two places of a file that are
// remembered.
const markEvery = 1024

// SampleFile keeps the samples of a lease on disk, in their order: each with its
// length before it. It keeps a beginning of the list, without gaps. Its methods may
// be called at once.
type SampleFile struct {
	path string
	most int // bytes of one sample
	room func() error

	mu    sync.Mutex // guards what follows
	f     *os.File
	size  int64
	count uint64
	marks []int64 // where each markEvery-th sample begins
	full  bool    // a sample was not kept: nor are those after it
}

// NewSampleFile keeps samples of at most so many bytes at path; room is asked before
// one is added. The file is opened by Resume.
func NewSampleFile(path string, most int, room func() error) *SampleFile {
	return &SampleFile{path: path, most: most, room: room}
}

// Resume opens the file and goes on at its end. What a crash left of a last sample
// is cut off.
func (s *SampleFile) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("samples: %w", err)
	}
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("samples: %w", err)
	}
	s.f, s.size, s.count, s.marks, s.full = f, 0, 0, nil, false
	err = s.each(f, func(b []byte, size int) error {
		s.added(size)
		return nil
	})
	if err == nil {
		err = f.Truncate(s.size)
	}
	if err != nil {
		f.Close()
		s.f = nil
		return fmt.Errorf("samples: %w", err)
	}
	return nil
}

// added counts a sample that takes so many bytes of the file.
func (s *SampleFile) added(size int) {
	if s.count%markEvery == 0 {
		s.marks = append(s.marks, s.size)
	}
	s.size += int64(size)
	s.count++
}

// each calls fn with every whole sample that r has from its place on, and how many
// bytes of the file it takes; it ends where there is none. An error of fn ends it.
func (s *SampleFile) each(r io.Reader, fn func(b []byte, size int) error) error {
	in := bufio.NewReader(r)
	for {
		n, err := binary.ReadUvarint(in)
		if err != nil || n == 0 || n > uint64(s.most) {
			return nil
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil
		}
		if err := fn(b, len(binary.AppendUvarint(nil, n))+len(b)); err != nil {
			return err
		}
	}
}

// Append adds a sample. It is not kept, nor is any after it, on a disk that is too
// full, or where the file is as large as it may be.
func (s *SampleFile) Append(b []byte) (kept bool, err error) {
	if len(b) == 0 || len(b) > s.most {
		return false, fmt.Errorf("samples: one of %d bytes, not 1 to %d", len(b), s.most)
	}
	room := s.room()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return false, fmt.Errorf("samples: %w", os.ErrClosed)
	}
	record := append(binary.AppendUvarint(nil, uint64(len(b))), b...)
	if s.full = s.full || room != nil || s.size+int64(len(record)) > MaxSampleFileBytes; s.full {
		return false, nil
	}
	if _, err := s.f.WriteAt(record, s.size); err != nil {
		s.full = true
		return false, fmt.Errorf("samples: %w", err)
	}
	s.added(len(record))
	return true, nil
}

// Len is how many samples there are.
func (s *SampleFile) Len() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Sync makes what was added durable.
func (s *SampleFile) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	if err := s.f.Sync(); err != nil {
		return fmt.Errorf("samples: %w", err)
	}
	return nil
}

// errEnough ends a read.
var errEnough = errors.New("enough")

// Read returns samples from the first one on, of at most so many bytes together but
// at least one; none where there are no more yet.
func (s *SampleFile) Read(first uint64, most int) (list [][]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil || first >= s.count {
		return nil, nil
	}
	at, from := s.marks[first/markEvery], first/markEvery*markEvery
	err = s.each(io.NewSectionReader(s.f, at, s.size-at), func(b []byte, _ int) error {
		if from++; from <= first {
			return nil
		}
		if most -= len(b); most < 0 && len(list) > 0 {
			return errEnough
		}
		list = append(list, b)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return list, nil
}

// Close closes the file. Resume opens it again.
func (s *SampleFile) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f != nil {
		s.f.Close()
		s.f = nil
	}
}

// ReadSamples calls fn with every sample of a file, also while it is written. A
// file that is not there has none.
func ReadSamples(path string, most int, fn func(b []byte) error) error {
	_, err := readSamples(path, most, 0, fn)
	return err
}

// readSamples does it from a place of the file on, and returns where it came to.
func readSamples(path string, most int, at int64, fn func(b []byte) error) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, fmt.Errorf("samples: %w", err)
	}
	defer f.Close()
	err = (&SampleFile{most: most}).each(io.NewSectionReader(f, at, MaxSampleFileBytes), func(b []byte, size int) error {
		if err := fn(b); err != nil {
			return err
		}
		at += int64(size)
		return nil
	})
	return at, err
}
