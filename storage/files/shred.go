package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	shredChunk = 1 << 20
	shredDepth = 512 // folders below one another, each of which is held open
	shredNames = 1024
)

// Shred overwrites the bytes of each plain file below dir with zeros, so that the
// next owner of the blocks does not read them, and removes dir. No link is followed, and
// a file that has a second name keeps its bytes until the last one is shredded.
//
// It writes in place, once, what is allocated, and waits for the disk. What a
// file system or a disk has copied elsewhere (snapshots, copy-on-write, wear levelling) it
// does not reach. When ctx ends it only removes what is left, and returns ctx's
// error; all else that cannot be overwritten is removed too, and told.
func Shred(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = shredBelow(ctx, root, 0)
		err = errors.Join(err, root.Close())
	}
	if err != nil {
		err = fmt.Errorf("overwrite %s: %w", dir, err)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// shredBelow goes on after a fault, and returns the first.
func shredBelow(ctx context.Context, folder *os.Root, depth int) error {
	if depth == shredDepth {
		return fmt.Errorf("more than %d folders below one another", shredDepth)
	}
	list, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer list.Close()
	var first error
	for {
		entries, err := list.ReadDir(shredNames)
		for _, e := range entries {
			if err := shredEntry(ctx, folder, e, depth); err != nil && first == nil {
				first = err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if errors.Is(err, io.EOF) {
			return first
		}
		if err != nil {
			return err
		}
	}
}

func shredEntry(ctx context.Context, folder *os.Root, e fs.DirEntry, depth int) error {
	switch {
	case e.IsDir():
		if err := folder.Chmod(e.Name(), 0o700); err != nil {
			return err
		}
		below, err := folder.OpenRoot(e.Name())
		if err != nil {
			return err
		}
		return errors.Join(shredBelow(ctx, below, depth+1), below.Close())
	case e.Type().IsRegular():
		return shredFile(ctx, folder, e.Name())
	}
	return nil
}

// shredFile overwrites one file, and takes its name away.
func shredFile(ctx context.Context, folder *os.Root, name string) error {
	info, err := folder.Lstat(name)
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Nlink > 1 {
		return folder.Remove(name)
	}
	if info.Mode().Perm()&0o200 == 0 {
		if err := folder.Chmod(name, 0o600); err != nil {
			return err
		}
	}
	f, err := folder.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := overwrite(ctx, f, info.Size()); err != nil {
		return err
	}
	return folder.Remove(name)
}

// overwrite writes zeros over the allocated parts of a file of size bytes: a file
// that is mostly hole does not grow by it.
func overwrite(ctx context.Context, f *os.File, size int64) error {
	zeros := make([]byte, shredChunk)
	for at := int64(0); at < size; {
		from, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // only hole follows
			break
		}
		to := size
		if err == nil {
			to, err = f.Seek(from, unix.SEEK_HOLE)
		}
		if err != nil { // a file system that does not tell
			from, to = at, size
		}
		for at = from; at < min(to, size); {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := f.WriteAt(zeros[:min(shredChunk, min(to, size)-at)], at)
			if err != nil {
				return err
			}
			at += int64(n)
		}
	}
	return f.Sync()
}
