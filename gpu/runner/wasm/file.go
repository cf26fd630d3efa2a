package wasm

import (
	"io"
	"math"
	"os"
	"slices"
	"strings"

	experimental "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
)

// file is an open file or folder. It keeps its own position, so that the size
// after each write is known before it happens.
type file struct {
	experimental.UnimplementedFile
	folder   *folder
	host     *os.File
	entry    *entry
	key      sys.Inode // the host's number
	position int64
	list     []experimental.Dirent // of a folder: what is left to list; nil: not read
	listed   bool
	dir      bool
	appends  bool
	readable bool
	writable bool
	closed   bool
}

// Ino implements [experimental.File].
func (f *file) Ino() (sys.Inode, experimental.Errno) { return f.entry.number, 0 }

// IsDir implements [experimental.File].
func (f *file) IsDir() (bool, experimental.Errno) { return f.dir, 0 }

// IsAppend implements [experimental.File].
func (f *file) IsAppend() bool { return f.appends }

// SetAppend implements [experimental.File].
func (f *file) SetAppend(enable bool) experimental.Errno {
	if f.dir {
		return experimental.EISDIR
	}
	f.appends = enable
	return 0
}

// Stat implements [experimental.File].
func (f *file) Stat() (sys.Stat_t, experimental.Errno) {
	if f.closed {
		return sys.Stat_t{}, experimental.EBADF
	}
	info, err := f.host.Stat()
	if err != nil {
		return sys.Stat_t{}, f.folder.errno(err)
	}
	return f.folder.stat(info), 0
}

// Read implements [experimental.File].
func (f *file) Read(b []byte) (int, experimental.Errno) {
	n, errno := f.Pread(b, f.position)
	f.position += int64(n)
	return n, errno
}

// Pread implements [experimental.File].
func (f *file) Pread(b []byte, offset int64) (int, experimental.Errno) {
	switch {
	case f.dir:
		return 0, experimental.EISDIR
	case f.closed || !f.readable:
		return 0, experimental.EBADF
	case offset < 0:
		return 0, experimental.EINVAL
	case len(b) == 0:
		return 0, 0
	}
	n, err := f.host.ReadAt(b, offset)
	if err == io.EOF {
		err = nil
	}
	return n, f.folder.errno(err)
}

// where is a position in a file. Under its own name go vet sees that this Seek is
// wazero's, whose error is a number, and not io.Seeker's.
type where = int64

// Seek implements [experimental.File].
func (f *file) Seek(offset where, whence int) (where, experimental.Errno) {
	if f.closed {
		return 0, experimental.EBADF
	}
	if f.dir { // only going back to the start of the list makes sense
		if offset != 0 || whence != io.SeekStart {
			return 0, experimental.EISDIR
		}
		f.list, f.listed = nil, false
		return 0, 0
	}
	base := int64(0)
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = f.position
	case io.SeekEnd:
		base = f.entry.size
	default:
		return 0, experimental.EINVAL
	}
	if offset > math.MaxInt64-base || base+offset < 0 {
		return 0, experimental.EINVAL
	}
	f.position = base + offset
	return f.position, 0
}

// Readdir implements [experimental.File]. The list is sorted, as the host's own
// order would make two runs differ.
func (f *file) Readdir(n int) ([]experimental.Dirent, experimental.Errno) {
	switch {
	case f.closed:
		return nil, experimental.EBADF
	case !f.dir:
		return nil, experimental.ENOTDIR
	}
	if !f.listed {
		if errno := f.readList(); errno != 0 {
			return nil, errno
		}
	}
	if n <= 0 || n > len(f.list) {
		n = len(f.list)
	}
	page := f.list[:n:n]
	f.list = f.list[n:]
	return page, 0
}

func (f *file) readList() experimental.Errno {
	if _, err := f.host.Seek(0, io.SeekStart); err != nil {
		return f.folder.errno(err)
	}
	infos, err := f.host.Readdir(-1)
	if err != nil {
		return f.folder.errno(err)
	}
	slices.SortFunc(infos, func(a, b os.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	f.list, f.listed = make([]experimental.Dirent, 0, len(infos)), true
	for _, info := range infos {
		e, _ := f.folder.entry(info)
		f.list = append(f.list, experimental.Dirent{Ino: e.number, Name: info.Name(), Type: info.Mode().Type()})
	}
	return 0
}

// Write implements [experimental.File].
func (f *file) Write(b []byte) (int, experimental.Errno) {
	at := f.position
	if f.appends {
		at = f.entry.size
	}
	n, errno := f.Pwrite(b, at)
	if errno == 0 {
		f.position = at + int64(n)
	}
	return n, errno
}

// Pwrite implements [experimental.File].
func (f *file) Pwrite(b []byte, offset int64) (int, experimental.Errno) {
	if errno := f.checkWrite(offset); errno != 0 {
		return 0, errno
	}
	if len(b) == 0 {
		return 0, 0
	}
	if offset > math.MaxInt64-int64(len(b)) {
		return 0, experimental.EINVAL
	}
	// Space is taken before the bytes land: passing the limit ends the run.
	if end := offset + int64(len(b)); end > f.entry.size {
		f.folder.quota.resize(f.entry.size, end)
		f.entry.size = end
	}
	n, err := f.host.WriteAt(b, offset)
	return n, f.folder.errno(err)
}

func (f *file) checkWrite(offset int64) experimental.Errno {
	switch {
	case f.dir:
		return experimental.EISDIR
	case f.closed || !f.writable:
		return experimental.EBADF
	case offset < 0:
		return experimental.EINVAL
	}
	return 0
}

// Truncate implements [experimental.File].
func (f *file) Truncate(size int64) experimental.Errno {
	if errno := f.checkWrite(size); errno != 0 {
		return errno
	}
	f.folder.quota.resize(f.entry.size, size)
	f.entry.size = size
	return f.folder.errno(f.host.Truncate(size))
}

// Sync and Datasync do nothing: nothing of a run outlives its host's crash.

// Utimens implements [experimental.File]; a module is shown fixed times.
func (f *file) Utimens(_, _ int64) experimental.Errno {
	if !f.writable {
		return experimental.EBADF
	}
	return 0
}

// Close implements [experimental.File].
func (f *file) Close() experimental.Errno {
	if f.closed {
		return 0
	}
	f.closed = true
	f.entry.opens--
	f.folder.release(f.entry, f.key)
	return f.folder.errno(f.host.Close())
}
