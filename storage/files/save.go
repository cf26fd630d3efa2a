package files

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"
)

// Save writes a root that is here in full to dest: a folder's entries into the
// folder dest, a file to the file dest, or into dest under its content id if
// dest is a folder. It makes the folders that are missing.
//
// A file that is there with other content is left alone and reported as
// [fs.ErrExist]; with the same content it counts as saved, so that a Save that
// was cut off can run again. A file appears under its name only once it is
// whole and on the disk. Nothing is written outside dest.
func (f *Files) Save(ctx context.Context, root, dest string) (bytes uint64, nfiles int, err error) {
	c, err := parse(root)
	if err != nil {
		return 0, 0, fmt.Errorf("save: %w", err)
	}
	// Nothing is begun that a missing block or a limit would cut off.
	if _, err := newMeasure(f.blocks, local).root(ctx, c); err != nil {
		return 0, 0, fmt.Errorf("save %s: %w", root, err)
	}
	s := saver{f: f}
	if err := s.save(ctx, c, dest); err != nil {
		return s.bytes, s.files, fmt.Errorf("save %s: %w", root, err)
	}
	return s.bytes, s.files, nil
}

// saver is the state of one Save. Files are written side by side, since most of
// the time of a small one is the wait for the disk.
type saver struct {
	f     *Files
	root  *os.Root
	group *errgroup.Group

	mu    sync.Mutex // guards the counts
	bytes uint64
	files int
}

// saveAtOnce is how many files are written side by side.
const saveAtOnce = 8

func (s *saver) save(ctx context.Context, c cid.Cid, dest string) error {
	n, err := s.f.node(entry(c))
	if err != nil {
		return err
	}
	dir, name := dest, ""
	if n.kind == kindFile {
		dir, name = filepath.Split(filepath.Clean(dest))
		if st, err := os.Stat(dest); err == nil && st.IsDir() {
			dir, name = dest, c.String()
		}
		if dir == "" {
			dir = "."
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if s.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	defer s.root.Close()
	s.group, ctx = errgroup.WithContext(ctx)
	s.group.SetLimit(saveAtOnce)
	if n.kind == kindFile {
		s.group.Go(func() error { return s.file(ctx, entry(c), name) })
	} else {
		err = s.folder(ctx, n, "")
	}
	// The first failure cancels the rest, so it is the one that tells something.
	if first := s.group.Wait(); first != nil {
		return first
	}
	return err
}

// folder writes the entries of n into dir, which is there.
func (s *saver) folder(ctx context.Context, n node, dir string) error {
	return s.f.entries(ctx, n, func(l link) error {
		at := path.Join(dir, l.name)
		file := l.cid.Prefix().Codec == cid.Raw
		if !file {
			n, err := s.f.node(l)
			if err != nil {
				return err
			}
			file = n.kind == kindFile
		}
		if file {
			s.group.Go(func() error { return s.file(ctx, l, at) })
			return nil
		}
		if err := s.mkdir(at); err != nil {
			return err
		}
		n, err := s.f.node(l)
		if err != nil {
			return err
		}
		return s.folder(ctx, n, at)
	})
}

func (s *saver) mkdir(at string) error {
	err := s.root.Mkdir(at, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := s.root.Lstat(at)
	if err != nil {
		return err
	}
	if !st.IsDir() { // a symbolic link to a folder neither
		return fmt.Errorf("%s: %w", at, fs.ErrExist)
	}
	return nil
}

// file writes one file under a name of its own, then gives it the right one.
func (s *saver) file(ctx context.Context, l link, at string) error {
	done, err := s.same(ctx, l, at)
	if done || err != nil {
		return err
	}
	// Named for what it holds and where it goes: two equal files do not meet.
	name := sha256.Sum256([]byte(at + l.cid.String()))
	part := path.Join(path.Dir(at), fmt.Sprintf(".souk-%x.part", name[:12]))
	if err := s.root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // left by a Save that was killed, and not removable
	}
	n, err := s.write(ctx, l, part)
	if err == nil {
		err = s.name(part, at)
	}
	if err != nil {
		return errors.Join(err, s.root.RemoveAll(part))
	}
	s.count(n)
	return nil
}

func (s *saver) count(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += n
	s.files++
}

func (s *saver) write(ctx context.Context, l link, part string) (uint64, error) {
	out, err := s.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	count := &counter{w: out}
	err = s.f.write(ctx, l, count, 1)
	if err == nil {
		// Else a loss of power could leave the name with other content, which
		// the next Save would refuse to touch.
		err = out.Sync()
	}
	return count.n, errors.Join(err, out.Close())
}

// name moves part to at, unless something is there: a hard link fails then,
// where a rename would replace it.
func (s *saver) name(part, at string) error {
	err := s.root.Link(part, at)
	if err == nil {
		return s.root.Remove(part)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", at, fs.ErrExist)
	}
	// A file system without hard links.
	if _, err := s.root.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", at, fs.ErrExist)
	}
	return s.root.Rename(part, at)
}

// same tells whether the file is there already, with the right bytes.
func (s *saver) same(ctx context.Context, l link, at string) (bool, error) {
	st, err := s.root.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	there := fmt.Errorf("%s: %w", at, fs.ErrExist)
	if !st.Mode().IsRegular() {
		return false, there
	}
	n, err := s.f.node(l)
	if err != nil {
		return false, err
	}
	if uint64(st.Size()) != n.size {
		return false, there
	}
	in, err := s.root.Open(at)
	if err != nil {
		return false, err
	}
	defer in.Close()
	switch err := s.f.write(ctx, l, &comparer{r: bufio.NewReaderSize(in, 256<<10)}, 1); {
	case errors.Is(err, errDiffers):
		return false, there
	case err != nil:
		return false, err
	}
	s.count(n.size)
	return true, nil
}

var errDiffers = errors.New("content differs")

// comparer fails on the first byte written that differs from what r reads.
type comparer struct {
	r   io.Reader
	buf []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	n, err := io.ReadFull(c.r, c.buf[:len(p)])
	if err != nil || !bytes.Equal(c.buf[:n], p) {
		return 0, errDiffers
	}
	return n, nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n uint64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += uint64(n)
	return n, err
}
