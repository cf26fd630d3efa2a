// Package mark keeps one number that only grows in a small file: the high-water
// mark of a store that lies elsewhere.
//
// A log that was cut looks like a crash in the middle of a write, and a database
// opens it without a word. Who sets a mark after each commit can tell the two
// apart. A mark is not synced: it survives the process, and after a loss of power
// it may be lower than what was set, never higher. A file that is lost or damaged
// reads as 0, so that the mark can only find losses, not cause one.
package mark

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
)

// Mark is safe for concurrent use.
type Mark struct {
	mu   sync.Mutex // guards all below
	f    *os.File
	last uint64
}

// layout is the whole file: the number, and its checksum.
const layout = "%020d %08x\n"

// Open opens the mark in the file path, or makes one of 0.
func Open(path string) (*Mark, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open mark: %w", err)
	}
	m := &Mark{f: f}
	b := make([]byte, len(text(0))+1)
	n, _ := f.ReadAt(b, 0) // what cannot be read is no mark
	if _, err := fmt.Sscanf(string(b[:n]), "%d", &m.last); err != nil || string(b[:n]) != string(text(m.last)) {
		m.last = 0
	}
	return m, nil
}

func text(n uint64) []byte {
	digits := fmt.Sprintf("%020d", n)
	return fmt.Appendf(nil, layout, n, crc32.ChecksumIEEE([]byte(digits)))
}

// Last is the highest number set, or 0 where that is not known.
func (m *Mark) Last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Set raises the mark to n; a lower number changes nothing.
func (m *Mark) Set(n uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n <= m.last {
		return nil
	}
	// One write of less than a sector: it is there whole or not at all.
	if _, err := m.f.WriteAt(text(n), 0); err != nil {
		return fmt.Errorf("set mark: %w", err)
	}
	m.last = n
	return nil
}

// Close ends the mark; to end it again is no error.
func (m *Mark) Close() error {
	if err := m.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
