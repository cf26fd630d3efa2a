package log

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checkpointFile is written last: what it covers is durable by then.
const checkpointFile = "checkpoint"

// tempSuffix marks a file that is being written.
const tempSuffix = ".tmp"

// disk writes the files of one log so that a reader sees each either whole or
// not at all.
type disk struct {
	dir string
	// step, if set, is called before each step with what it does, and can make it
	// fail: a test stops the log there, as a crash would.
	step func(op, path string) error
}

func (d disk) read(path string) ([]byte, error) {
	return os.ReadFile(d.name(path))
}

// commit makes files durable, then the checkpoint that covers them. Tiles of
// hashes are not synced: they follow from the entries.
func (d disk) commit(files []file, checkpoint []byte) error {
	dirs := make(map[string]string) // of entries, to a file within
	for _, f := range files {
		path := f.id.path()
		if err := d.write(path, f.data, f.id.level == entries); err != nil {
			return err
		}
		if f.id.level == entries {
			dirs[filepath.Dir(d.name(path))] = path
		}
	}
	for dir, path := range dirs {
		if err := d.syncDir(dir, path); err != nil {
			return err
		}
	}
	return d.replace(checkpointFile, checkpoint)
}

// replace writes a file and makes it durable.
func (d disk) replace(path string, data []byte) error {
	if err := d.write(path, data, true); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(d.name(path)), path)
}

// name is the path in the file system.
func (d disk) name(path string) string { return filepath.Join(d.dir, filepath.FromSlash(path)) }

// write replaces a file: a temporary one beside it, then a rename. With sync its
// content is on disk before it has its name; for the name, its directory must be
// synced too.
func (d disk) write(path string, data []byte, sync bool) (err error) {
	to := d.name(path)
	if err := d.mkdir(filepath.Dir(to)); err != nil {
		return err
	}
	if err := d.at("create", path); err != nil {
		return err
	}
	f, err := os.Create(to + tempSuffix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOnce(f)) }()
	if err := d.at("write", path); err != nil {
		_, _ = f.Write(data[:len(data)/2]) // what a crash may leave
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if sync {
		if err := d.at("sync", path); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := closeOnce(f); err != nil {
		return err
	}
	if err := d.at("rename", path); err != nil {
		return err
	}
	return os.Rename(to+tempSuffix, to)
}

// syncDir makes the names in dir durable, that of path among them.
func (d disk) syncDir(dir, path string) error {
	if err := d.at("sync directory of", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// at reports a step to the test that wants to stop there.
func (d disk) at(op, path string) error {
	if d.step == nil {
		return nil
	}
	return d.step(op, path)
}

// mkdir makes a directory and those above it, and syncs what holds a new one.
func (d disk) mkdir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if up := filepath.Dir(dir); up != dir {
		if err := d.mkdir(up); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// dropPartials removes the partial tiles of those that are full now. They may be
// served from the full ones, so a failure does not matter; the next Open tries
// again.
func (d disk) dropPartials(files []file) {
	for _, f := range files {
		if f.id.width == tileWidth {
			_ = os.RemoveAll(filepath.Join(d.dir, filepath.FromSlash(f.id.path())+".p"))
		}
	}
}

// clean removes what a tree of that size does not need: temporary files, tiles
// past its end, and partial ones of full tiles. It leaves alone what it does not
// know.
func (d disk) clean(t tree) error {
	return filepath.WalkDir(d.name("tile"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.dir, path)
		if err != nil {
			return err
		}
		id, ok := parsePath(filepath.ToSlash(name))
		past := ok && id.width > t.width(id)
		full := ok && id.width < tileWidth && t.width(id) == tileWidth
		if strings.HasSuffix(name, tempSuffix) || past || full {
			return os.Remove(path)
		}
		return nil
	})
}

func closeOnce(f *os.File) error {
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
