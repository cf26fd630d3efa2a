package wasm

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	experimental "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
)

// folder is a host folder as a module sees it. No path in it leads outside:
// [os.Root] resolves each step. It shows nothing of the host: times are fixed,
// numbers of files count up, lists are sorted. It is for one goroutine, as a
// module has one thread.
type folder struct {
	experimental.UnimplementedFS
	root  *os.Root
	quota *quota // nil: read-only
	files map[sys.Inode]*entry
	next  sys.Inode // the last number given
}

// entry is a file or folder that was seen, by the host's number.
type entry struct {
	number sys.Inode // shown to the module
	size   int64     // of a file; kept here, as only the module writes it
	opens  int
	gone   bool // has no name any more, and goes with its last descriptor
}

// openFolder shows path, writable within q or, without one, read-only.
func openFolder(path string, q *quota) (*folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if q != nil {
		if err := q.count(root); err != nil {
			return nil, err
		}
	}
	return &folder{root: root, quota: q, files: map[sys.Inode]*entry{}}, nil
}

// OpenFile implements [experimental.FS].
func (d *folder) OpenFile(path string, flag experimental.Oflag, _ fs.FileMode) (experimental.File, experimental.Errno) {
	write := flag&(experimental.O_RDWR|experimental.O_WRONLY) != 0
	if d.quota == nil && (write || flag&(experimental.O_CREAT|experimental.O_TRUNC) != 0) {
		return nil, experimental.EROFS
	}
	path, host := inside(path), hostFlags(flag)
	before, err := d.root.Lstat(path)
	switch {
	case err == nil && before.Mode()&fs.ModeSymlink != 0 && flag&experimental.O_NOFOLLOW != 0:
		return nil, experimental.ELOOP
	case errors.Is(err, fs.ErrNotExist) && flag&experimental.O_CREAT != 0:
		d.quota.take(0)
		f, errno := d.open(path, host, flag)
		if errno != 0 {
			d.quota.give(0)
		}
		return f, errno
	}
	return d.open(path, host, flag)
}

// open opens what is there by now and counts what truncating it gave back.
func (d *folder) open(path string, host int, flag experimental.Oflag) (experimental.File, experimental.Errno) {
	f, err := d.root.OpenFile(path, host&^os.O_TRUNC, 0o600)
	if err != nil {
		return nil, d.errno(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, d.errno(err)
	}
	if !info.Mode().IsRegular() && !info.IsDir() { // a device or a pipe would be the host's
		f.Close()
		return nil, experimental.EPERM
	}
	e, key := d.entry(info)
	e.opens++
	opened := &file{
		folder: d, host: f, entry: e, key: key, dir: info.IsDir(),
		appends:  flag&experimental.O_APPEND != 0,
		readable: flag&experimental.O_WRONLY == 0,
		writable: d.quota != nil && flag&(experimental.O_RDWR|experimental.O_WRONLY) != 0,
	}
	if host&os.O_TRUNC != 0 {
		if errno := opened.Truncate(0); errno != 0 {
			opened.Close()
			return nil, errno
		}
	}
	return opened, 0
}

// inside makes a path relative to the folder: wazero gives a leading slash to
// what is opened below the folder's own descriptor.
func inside(path string) string {
	if path = strings.TrimLeft(path, "/"); path == "" {
		return "."
	}
	return path
}

// hostFlags leaves out what we do ourselves: appending, and following links.
func hostFlags(flag experimental.Oflag) int {
	host := os.O_RDONLY
	switch {
	case flag&experimental.O_RDWR != 0:
		host = os.O_RDWR
	case flag&experimental.O_WRONLY != 0:
		host = os.O_WRONLY
	}
	for _, f := range []struct {
		guest experimental.Oflag
		host  int
	}{
		{experimental.O_CREAT, os.O_CREATE}, {experimental.O_EXCL, os.O_EXCL},
		{experimental.O_TRUNC, os.O_TRUNC}, {experimental.O_DIRECTORY, syscall.O_DIRECTORY},
	} {
		if flag&f.guest != 0 {
			host |= f.host
		}
	}
	return host | syscall.O_NONBLOCK // a pipe in /in must not block us
}

// entry finds or makes the entry of a file, and the host's number for it.
func (d *folder) entry(info fs.FileInfo) (*entry, sys.Inode) {
	key := sys.NewStat_t(info).Ino
	e, ok := d.files[key]
	if !ok {
		d.next++
		e = &entry{number: d.next}
		if info.Mode().IsRegular() {
			e.size = info.Size()
		}
		d.files[key] = e
	}
	return e, key
}

// stat is what a module is told of a file.
func (d *folder) stat(info fs.FileInfo) sys.Stat_t {
	e, _ := d.entry(info)
	st := sys.Stat_t{Ino: e.number, Nlink: 1, Atim: epoch * 1e9, Mtim: epoch * 1e9, Ctim: epoch * 1e9}
	switch st.Mode = info.Mode().Type(); {
	case info.IsDir():
		st.Mode |= 0o700
	case info.Mode().IsRegular():
		st.Mode |= 0o600
		st.Size = e.size
	}
	return st
}

// Lstat implements [experimental.FS].
func (d *folder) Lstat(path string) (sys.Stat_t, experimental.Errno) {
	info, err := d.root.Lstat(inside(path))
	if err != nil {
		return sys.Stat_t{}, d.errno(err)
	}
	return d.stat(info), 0
}

// Stat implements [experimental.FS].
func (d *folder) Stat(path string) (sys.Stat_t, experimental.Errno) {
	info, err := d.root.Stat(inside(path))
	if err != nil {
		return sys.Stat_t{}, d.errno(err)
	}
	return d.stat(info), 0
}

// Readlink implements [experimental.FS].
func (d *folder) Readlink(path string) (string, experimental.Errno) {
	to, err := d.root.Readlink(inside(path))
	return to, d.errno(err)
}

// Mkdir implements [experimental.FS].
func (d *folder) Mkdir(path string, _ fs.FileMode) experimental.Errno {
	if d.quota == nil {
		return experimental.EROFS
	}
	d.quota.take(0)
	err := d.root.Mkdir(inside(path), 0o700)
	if err != nil {
		d.quota.give(0)
	}
	return d.errno(err)
}

// Rename implements [experimental.FS].
func (d *folder) Rename(from, to string) experimental.Errno {
	if d.quota == nil {
		return experimental.EROFS
	}
	from, to = inside(from), inside(to)
	moved, err := d.root.Lstat(from)
	if err != nil {
		return d.errno(err)
	}
	replaced, _ := d.root.Lstat(to) // most often there is none
	if err := d.root.Rename(from, to); err != nil {
		return d.errno(err)
	}
	if replaced != nil && !os.SameFile(moved, replaced) {
		d.forget(replaced)
	}
	return 0
}

// Unlink implements [experimental.FS].
func (d *folder) Unlink(path string) experimental.Errno { return d.remove(path, false) }

// Rmdir implements [experimental.FS].
func (d *folder) Rmdir(path string) experimental.Errno { return d.remove(path, true) }

func (d *folder) remove(path string, dir bool) experimental.Errno {
	if d.quota == nil {
		return experimental.EROFS
	}
	path = inside(path)
	info, err := d.root.Lstat(path)
	switch {
	case err != nil:
		return d.errno(err)
	case dir && !info.IsDir():
		return experimental.ENOTDIR
	case !dir && info.IsDir():
		return experimental.EISDIR
	}
	if err := d.root.Remove(path); err != nil {
		return d.errno(err)
	}
	d.forget(info)
	return 0
}

// forget gives back the space of what has no name any more, unless a descriptor
// still holds it.
func (d *folder) forget(info fs.FileInfo) {
	e, key := d.entry(info)
	e.gone = true
	d.release(e, key)
}

func (d *folder) release(e *entry, key sys.Inode) {
	if e.gone && e.opens == 0 {
		if d.quota != nil {
			d.quota.give(e.size)
		}
		delete(d.files, key)
	}
}

// Link and Symlink are refused: outputs are plain files and folders, and each
// has one name, so that its space is counted once.

// Link implements [experimental.FS].
func (d *folder) Link(_, _ string) experimental.Errno { return d.refuse() }

// Symlink implements [experimental.FS].
func (d *folder) Symlink(_, _ string) experimental.Errno { return d.refuse() }

func (d *folder) refuse() experimental.Errno {
	if d.quota == nil {
		return experimental.EROFS
	}
	return experimental.EPERM
}

// Chmod and Utimens do nothing where a module may write: it is shown fixed modes
// and times, and programs that unpack archives expect them to work.

// Chmod implements [experimental.FS].
func (d *folder) Chmod(path string, _ fs.FileMode) experimental.Errno { return d.touch(path) }

// Utimens implements [experimental.FS].
func (d *folder) Utimens(path string, _, _ int64) experimental.Errno { return d.touch(path) }

func (d *folder) touch(path string) experimental.Errno {
	if d.quota == nil {
		return experimental.EROFS
	}
	_, err := d.root.Lstat(inside(path))
	return d.errno(err)
}

// errno turns the host's errors into what a module sees.
func (d *folder) errno(err error) experimental.Errno {
	if err == nil {
		return 0
	}
	if d.quota != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		d.quota.full(err)
	}
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return experimental.UnwrapOSError(errno)
	case errors.Is(err, fs.ErrNotExist):
		return experimental.ENOENT
	case errors.Is(err, fs.ErrExist):
		return experimental.EEXIST
	case errors.Is(err, fs.ErrClosed):
		return experimental.EBADF
	}
	return experimental.EPERM // a path that leads outside
}
