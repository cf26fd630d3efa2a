package node

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// maxLogBytes bounds what is kept of one output stream of a job.
const maxLogBytes = 64 << 20

// logFile keeps one output stream of a job on disk, where readers pick up what
// they miss by offset. Writes past [maxLogBytes], or on a full disk, are
// counted as written and dropped, so a job that talks too much goes on.
type logFile struct {
	path string
	tell func() // called after each write; must not block
	room func() error

	mu   sync.Mutex // guards f, size
	f    *os.File
	size uint64
}

func newLogFile(path string, tell func(), room func() error) *logFile {
	return &logFile{path: path, tell: tell, room: room}
}

// reset starts an empty file.
func (l *logFile) reset() error { return l.open(os.O_TRUNC) }

// resume goes on at the end of the file.
func (l *logFile) resume() error { return l.open(0) }

func (l *logFile) open(flag int) error {
	l.close()
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|flag, 0o600)
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

// len is how much there is.
func (l *logFile) len() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Write appends b.
func (l *logFile) Write(b []byte) (int, error) {
	if l.room() != nil {
		return len(b), nil
	}
	l.mu.Lock()
	if l.f == nil {
		l.mu.Unlock()
		return 0, os.ErrClosed
	}
	keep := b[:min(uint64(len(b)), maxLogBytes-l.size)]
	n, err := l.f.WriteAt(keep, int64(l.size))
	l.size += uint64(n)
	l.mu.Unlock()
	if err != nil {
		return n, err
	}
	l.tell()
	return len(b), nil
}

// readAt copies what stands at offset into b; 0 bytes mean that there is no more
// yet. It also reads the file of a job that has ended.
func (l *logFile) readAt(b []byte, offset uint64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.f
	if f == nil {
		var err error
		if f, err = os.Open(l.path); err != nil {
			return 0
		}
		defer f.Close()
	}
	n, _ := f.ReadAt(b, int64(offset)) // what is short or gone reads as nothing more
	return n
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
