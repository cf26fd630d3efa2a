package disk

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// MaxLogBytes bounds what is kept of one output stream of a job.
const MaxLogBytes = 64 << 20

// LogFile keeps one output stream of a job on disk, where readers pick up what
// they miss by offset. Writes past [MaxLogBytes], or on a full disk, are
// counted as written and dropped, so a job that talks too much goes on.
type LogFile struct {
	Path string       // of the file
	tell func()       // called after each write; must not block
	Room func() error // asked before each write: an error while the disk is too full

	mu   sync.Mutex // guards f, size
	f    *os.File
	size uint64
}

// NewLogFile keeps a stream at path; tell is called after each write, and room is
// asked before it. The file is opened by Reset or Resume.
func NewLogFile(path string, tell func(), room func() error) *LogFile {
	return &LogFile{Path: path, tell: tell, Room: room}
}

// Reset starts an empty file.
func (l *LogFile) Reset() error { return l.open(os.O_TRUNC) }

// Resume goes on at the end of the file.
func (l *LogFile) Resume() error { return l.open(0) }

func (l *LogFile) open(flag int) error {
	l.Close()
	if err := os.MkdirAll(filepath.Dir(l.Path), 0o700); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	f, err := os.OpenFile(l.Path, os.O_CREATE|os.O_RDWR|flag, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return fmt.Errorf("log: %w", err)
	}
	l.mu.Lock()
	l.f, l.size = f, uint64(size)
	l.mu.Unlock()
	return nil
}

// Len is how much there is.
func (l *LogFile) Len() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Write appends b.
func (l *LogFile) Write(b []byte) (int, error) {
	if l.Room() != nil {
		return len(b), nil
	}
	l.mu.Lock()
	if l.f == nil {
		l.mu.Unlock()
		return 0, os.ErrClosed
	}
	keep := b[:min(uint64(len(b)), MaxLogBytes-l.size)]
	n, err := l.f.WriteAt(keep, int64(l.size))
	l.size += uint64(n)
	l.mu.Unlock()
	if err != nil {
		return n, err
	}
	l.tell()
	return len(b), nil
}

// ReadAt copies what stands at offset into b; 0 bytes mean that there is no more
// yet. It also reads the file of a job that has ended.
func (l *LogFile) ReadAt(b []byte, offset uint64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.f
	if f == nil {
		var err error
		if f, err = os.Open(l.Path); err != nil {
			return 0
		}
		defer f.Close()
	}
	n, _ := f.ReadAt(b, int64(offset)) // what is short or gone reads as nothing more
	return n
}

// Close closes the file; it can still be read.
func (l *LogFile) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
