package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	block         = 4096    // what space is counted in: an empty file or a folder counts as one
	maxEntries    = 200_000 // files and folders under /out, so that counting them takes less than a second
	maxDepth      = 128     // folders in folders
	listAtOnce    = 1024
	measureEvery  = 100 * time.Millisecond
	measureAtMost = time.Second
)

// space is what a file of size bytes counts as.
func space(size int64) uint64 {
	return max(1, (uint64(max(0, size))+block-1)/block) * block
}

// meter counts what lies under a folder.
type meter struct {
	limit   uint64
	used    uint64
	entries int
}

// errFull ends a walk that has counted enough.
var errFull = errors.New("past the limit")

// measureFolder tells whether more lies under path than limit. The job may be
// changing it: what is gone before it is counted does not count.
func measureFolder(path string, limit uint64) (full bool, err error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return false, err
	}
	defer root.Close()
	m := &meter{limit: limit}
	err = m.walk(root, 0, func(_ *os.Root, _ string, info fs.FileInfo) error { return m.take(info) })
	if errors.Is(err, errFull) {
		return true, nil
	}
	return false, err
}

// take counts one file or folder.
func (m *meter) take(info fs.FileInfo) error {
	size := int64(0)
	if info.Mode().IsRegular() {
		size = info.Size()
	}
	m.used += space(size)
	if m.entries++; m.used > m.limit || m.entries > maxEntries {
		return errFull
	}
	return nil
}

// walk calls visit with each entry below folder, and goes into those that are
// folders. No link is followed.
func (m *meter) walk(folder *os.Root, depth int, visit func(*os.Root, string, fs.FileInfo) error) error {
	if depth > maxDepth {
		return errFull
	}
	list, err := folder.Open(".")
	if err != nil {
		return ignoreGone(err)
	}
	defer list.Close()
	for {
		entries, err := list.ReadDir(listAtOnce)
		for _, e := range entries {
			if err := m.step(folder, e.Name(), depth, visit); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return ignoreGone(err)
		}
	}
}

func (m *meter) step(folder *os.Root, name string, depth int, visit func(*os.Root, string, fs.FileInfo) error) error {
	info, err := folder.Lstat(name)
	if err != nil {
		return ignoreGone(err)
	}
	if err := visit(folder, name, info); err != nil || !info.IsDir() {
		return err
	}
	below, err := folder.OpenRoot(name)
	if err != nil {
		return ignoreGone(err)
	}
	defer below.Close()
	return m.walk(below, depth+1, visit)
}

// ignoreGone is nil for what a job may do to its own folder meanwhile: remove it,
// replace it, or shut it, which hides nothing as it does not grow without names.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok && p != nil {
		return nil
	}
	return err
}

// left is what tidy found.
type left struct {
	full bool // something did not fit and was removed
	odd  int  // links, devices, pipes and sockets, which were removed
}

// tidy leaves plain files and folders alone under path, and no more of them than
// limit. Nothing else may be changing it.
func tidy(path string, limit uint64) (l left, err error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return l, err
	}
	defer root.Close()
	m := &meter{limit: limit}
	err = m.tidy(root, 0, &l)
	return l, err
}

func (m *meter) tidy(folder *os.Root, depth int, l *left) error {
	names, err := listAll(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := folder.Lstat(name)
		if err != nil {
			return err
		}
		switch {
		case !info.IsDir() && !info.Mode().IsRegular():
			l.odd++
			err = folder.Remove(name)
		case l.full, m.take(info) != nil, info.IsDir() && depth == maxDepth:
			l.full = true
			err = folder.RemoveAll(name)
		case info.IsDir():
			err = m.tidyBelow(folder, name, depth, l)
		case info.Mode().Perm()&0o400 == 0:
			err = folder.Chmod(name, 0o600)
		}
		if err != nil {
			return fmt.Errorf("%.60q: %w", name, err)
		}
	}
	return nil
}

func (m *meter) tidyBelow(folder *os.Root, name string, depth int, l *left) error {
	if err := folder.Chmod(name, 0o700); err != nil {
		return err
	}
	below, err := folder.OpenRoot(name)
	if err != nil {
		return err
	}
	defer below.Close()
	return m.tidy(below, depth+1, l)
}

// listAll names what is in a folder, as far as it can count.
func listAll(folder *os.Root) ([]string, error) {
	list, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer list.Close()
	return list.Readdirnames(-1)
}

// admit lets the job read /in and write /out.
func (w identity) admit(in, out string) error {
	if w.open {
		if err := os.Chmod(out, 0o777); err != nil {
			return err
		}
	}
	us := hostUser()
	if w.uid == us.uid && !w.open && w.userns == "" {
		return nil
	}
	if w.userns == "" && !w.open {
		if err := os.Chown(out, w.uid, w.gid); err != nil {
			return err
		}
	}
	if in == "" {
		return nil
	}
	return readable(in)
}

// readable lets everybody read what lies under path, which nobody else can reach:
// the lease's folder is ours alone.
func readable(path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Chmod(".", 0o755); err != nil {
		return err
	}
	m := &meter{}
	return m.walk(root, 0, func(folder *os.Root, name string, info fs.FileInfo) error {
		need := fs.FileMode(0o444)
		if info.IsDir() {
			need = 0o555
		}
		if info.Mode()&fs.ModeSymlink != 0 || info.Mode().Perm()&need == need {
			return nil
		}
		return folder.Chmod(name, info.Mode().Perm()|need)
	})
}
