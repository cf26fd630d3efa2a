package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/souk-market/souk"
)

// restore brings the log to its last checkpoint.
func (l *Log) restore(key souk.NodeKey) error {
	if err := l.disk.mkdir(l.disk.dir); err != nil {
		return err
	}
	signed, err := l.disk.read(checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return l.begin()
	}
	if err != nil {
		return err
	}
	c, err := OpenCheckpoint(signed, l.origin, key)
	if err != nil {
		return err
	}
	if err := l.load(c); err != nil {
		return err
	}
	l.checkpoint = signed
	if err := l.disk.clean(l.tree); err != nil {
		return err
	}
	if err := os.Remove(l.disk.name(checkpointFile + tempSuffix)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// begin signs the checkpoint of the empty log. It comes before every entry, so a
// log with entries and without a checkpoint has lost it: to start again would
// sign a history that contradicts the one before.
func (l *Log) begin() (err error) {
	if _, err := os.Stat(l.disk.name("tile")); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("entries without a checkpoint: %w", ErrCorrupt), err)
	}
	if l.checkpoint, err = sign(l.signer, Checkpoint{l.origin, 0, emptyRoot}); err != nil {
		return err
	}
	return l.disk.replace(checkpointFile, l.checkpoint)
}

// load reads all entries that c covers, and compares with it what they add up
// to. Then it makes again the tiles that do not say the same.
func (l *Log) load(c Checkpoint) error {
	var full []file
	for l.tree.size < c.Size {
		id := tileID{entries, l.tree.size / tileWidth, int(min(c.Size-l.tree.size, tileWidth))}
		bundle, err := l.bundle(id)
		if err != nil {
			return err
		}
		for ; len(bundle) > 0; bundle = bundle[entrySize:] {
			if binary.BigEndian.Uint16(bundle) != uint16(len(souk.Digest{})) {
				return fmt.Errorf("entry %d: %w", l.tree.size, ErrCorrupt)
			}
			d := souk.Digest(bundle[2:entrySize])
			if _, twice := l.index[d]; !twice {
				l.index[d] = l.tree.size
			}
			full = append(full, l.tree.push(d)...)
		}
	}
	if root := l.tree.root(); root != c.Root {
		return fmt.Errorf("%d entries have root %s, the checkpoint says %s: %w", c.Size, root.Short(), c.Root.Short(), ErrCorrupt)
	}
	for _, f := range append(full, l.tree.partials(0)...) {
		if err := l.mend(f); err != nil {
			return err
		}
	}
	return nil
}

// bundle reads entries. Those at the end of the log may be in a bundle that was
// written further, just before a crash.
func (l *Log) bundle(id tileID) ([]byte, error) {
	whole := id
	whole.width = tileWidth
	for _, try := range []tileID{id, whole} {
		data, err := l.disk.read(try.path())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil && len(data) == try.width*entrySize {
			return data[:id.width*entrySize], nil
		}
	}
	return nil, fmt.Errorf("%s is lost: %w", id.path(), ErrCorrupt)
}

// mend writes a tile that is not on disk as it must be.
func (l *Log) mend(f file) error {
	have, err := l.disk.read(f.id.path())
	if err == nil && bytes.Equal(have, f.data) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.log.Warn("tile made again", "tile", f.id.path())
	return l.disk.replace(f.id.path(), f.data)
}
