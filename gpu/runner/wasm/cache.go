package wasm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// unfinished marks folders that are being compiled into.
const unfinished = "tmp-"

// abandoned is how old one is before its maker is taken for dead.
const abandoned = time.Hour

// cache holds compiled modules, a folder for each: the process that runs a
// module can read its own folder and write none, so one that broke out cannot
// leave machine code for another.
type cache struct {
	dir   string
	limit uint64 // bytes, over all folders
	build string // what compiled: another wazero or processor cannot use it

	mu    sync.Mutex // guards whole
	whole map[string]bool
}

// isWhole tells whether this process has read a folder through already: a job's
// start should not wait for more than one look.
func (c *cache) isWhole(folder string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.whole[folder]
}

func (c *cache) setWhole(folder string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole[folder] = true
}

func newCache(dir string, limit uint64) *cache {
	build := runtime.GOARCH
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if strings.HasSuffix(module.Path, "/wazero") {
				build += module.Version
			}
		}
	}
	return &cache{dir: dir, limit: limit, build: build, whole: map[string]bool{}}
}

// find returns the folder of a program, and whether it is compiled already.
func (c *cache) find(program string) (folder string, compiled bool, err error) {
	f, err := os.Open(program)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", c.build)
	if _, err := io.Copy(h, io.LimitReader(f, maxProgram+1)); err != nil { // what is longer is refused later
		return "", false, err
	}
	folder = filepath.Join(c.dir, fmt.Sprintf("%x", h.Sum(nil)))
	now := time.Now()
	switch err := os.Chtimes(folder, now, now); { // prune goes by the last use
	case err == nil:
		if c.isWhole(folder) {
			return folder, true, nil
		}
		// wazero looks at the code alone: where its functions begin could lie.
		want, err := os.ReadFile(filepath.Join(folder, sumFile))
		if err == nil {
			var is []byte
			if is, err = sum(folder); err == nil && bytes.Equal(is, want) {
				c.setWhole(folder)
				return folder, true, nil
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", false, err
		}
		return folder, false, os.RemoveAll(folder) // damaged, or of before sums were kept: it is compiled again
	case errors.Is(err, fs.ErrNotExist):
		return folder, false, nil
	default:
		return "", false, err
	}
}

// begin makes a folder to compile into.
func (c *cache) begin() (string, error) { return os.MkdirTemp(c.dir, unfinished) }

// add makes what was compiled into from the folder of a program.
func (c *cache) add(from, folder string) error {
	is, err := sum(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(from, sumFile), is, 0o600)
	}
	if err != nil {
		return err
	}
	err = os.Rename(from, folder)
	if errors.Is(err, fs.ErrExist) { // someone else was quicker
		return os.RemoveAll(from)
	}
	return err
}

// sumFile has the sum of the other files of a folder.
const sumFile = "sum"

// sum is a checksum against damage, not against people: the names of the files in
// a folder, and a CRC-32C of each.
func sum(folder string) (text []byte, err error) {
	table, buffer := crc32.MakeTable(crc32.Castagnoli), make([]byte, 128<<10)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == sumFile {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := crc32.New(table)
		if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buffer); err != nil { // small pieces stay in the processor's cache
			return err
		}
		text = fmt.Appendf(text, "%08x %s\n", h.Sum32(), entry.Name())
		return nil
	})
	return text, err
}

// prune removes the folders used longest ago until the rest is within the limit.
func (c *cache) prune(now time.Time) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	type folder struct {
		path string
		used time.Time
		size uint64
	}
	var folders []folder
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // it is gone
		}
		f := folder{path: filepath.Join(c.dir, entry.Name()), used: info.ModTime()}
		if strings.HasPrefix(entry.Name(), unfinished) {
			if now.Sub(f.used) > abandoned {
				err = os.RemoveAll(f.path)
			}
		} else if f.size, err = weigh(f.path); err == nil {
			folders = append(folders, f)
		}
		if err != nil {
			return err
		}
	}
	slices.SortFunc(folders, func(a, b folder) int { return b.used.Compare(a.used) })
	total := uint64(0)
	for i, f := range folders {
		if total += f.size; total > c.limit && i > 0 { // the newest is about to be used
			if err := os.RemoveAll(f.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// weigh is the size of all files in a folder.
func weigh(root string) (total uint64, err error) {
	err = filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += uint64(info.Size())
		}
		return err
	})
	return total, err
}
