package badger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// ErrDamaged is returned by [Open] for a database whose files are not what was
// written to them. What is there then stays as it is.
var ErrDamaged = errors.New("damaged")

// damaged names the file.
func damaged(path string, err error) error {
	return fmt.Errorf("%s is %w: %w", path, ErrDamaged, err)
}

// check reads what a database is made of before Badger does. Badger 4.9.6 leaves
// out a table whose index is damaged, removes the tables that a manifest which
// was cut does not name any more, takes a log that was cut for one that ends
// there, and over other damage ends the process, from goroutines of its own.
//
// It sets strays aside, for [checkStrays] to look at when the database is open.
func check(dir string) error {
	path := filepath.Join(dir, badger.ManifestFilename)
	whole, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return checkEmpty(dir)
	}
	if err != nil {
		return err
	}
	tables, err := readManifest(whole)
	if err != nil {
		return damaged(path, err)
	}
	for id, live := range tables {
		if !live {
			continue
		}
		path := table.NewFilename(id, dir)
		if _, err := readTable(path); err != nil {
			return damaged(path, err)
		}
	}
	if err := checkLogs(dir); err != nil {
		return err
	}
	if err := checkRegistry(dir); err != nil {
		return err
	}
	// What could be collected from the value log: nothing, as it is not in use.
	// Badger makes it anew, but would fail over one that was cut.
	if err := os.Remove(filepath.Join(dir, "DISCARD")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return keepStrays(dir, whole, tables)
}

// checkEmpty makes sure that a database without a manifest has never been one:
// Badger would remove all that no manifest names.
func checkEmpty(dir string) error {
	for _, kind := range []string{"*.sst", "*.mem"} {
		found, err := filepath.Glob(filepath.Join(dir, kind))
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return damaged(filepath.Join(dir, badger.ManifestFilename), errors.New("it is lost, and what it names is there"))
		}
	}
	return nil
}

// readManifest returns the tables that a manifest names: true for those that are
// in use, false for those that were. After eight bytes of magic it is a list of
// changes, each after its size and checksum; a crash may tear the last.
func readManifest(b []byte) (tables map[uint64]bool, err error) {
	if !bytes.HasPrefix(b, []byte("Bdgr\x00\x00\x00\x08")) { // without a version of our own, and Badger's
		return nil, errors.New("it does not begin as a manifest does")
	}
	tables = map[uint64]bool{}
	for b = b[8:]; len(b) >= 8; {
		size, sum := uint64(y.BytesToU32(b)), &pb.Checksum{Sum: uint64(y.BytesToU32(b[4:]))}
		if b = b[8:]; size > uint64(len(b)) {
			return tables, nil
		}
		if err := y.VerifyChecksum(b[:size], sum); err != nil {
			return nil, err
		}
		var set pb.ManifestChangeSet
		if err := proto.Unmarshal(b[:size], &set); err != nil {
			return nil, err
		}
		for _, c := range set.Changes {
			tables[c.Id] = c.Op == pb.ManifestChange_CREATE
		}
		b = b[size:]
	}
	return tables, nil
}

// readTable opens a table and verifies its checksums: that of its index, whose
// place its last bytes tell, and then that of each block.
func readTable(path string) (t *table.Table, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := checkIndex(data); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil { // Badger's reading of what its checksums do not cover
			err = fmt.Errorf("%v", p)
		}
	}()
	t, err = table.OpenInMemoryTable(data, 0, &table.Options{ChkMode: options.OnBlockRead})
	if err != nil {
		return nil, err
	}
	return t, t.VerifyChecksum()
}

// checkIndex verifies the index of a table: its bytes, their number, a checksum,
// and the checksum's size end the file.
func checkIndex(data []byte) error {
	// cut takes what a size at the end of data says off its end.
	cut := func() ([]byte, error) {
		if len(data) >= 4 {
			n := uint64(y.BytesToU32(data[len(data)-4:]))
			if data = data[:len(data)-4]; n <= uint64(len(data)) {
				part := data[uint64(len(data))-n:]
				data = data[:uint64(len(data))-n]
				return part, nil
			}
		}
		return nil, errors.New("its end is not that of a table")
	}
	encoded, err := cut()
	if err != nil {
		return err
	}
	var sum pb.Checksum
	if err := proto.Unmarshal(encoded, &sum); err != nil {
		return err
	}
	index, err := cut()
	if err != nil {
		return err
	}
	return y.VerifyChecksum(index, &sum)
}

// checkRegistry looks at the list of encryption keys, of which we have none: a
// random number, and a text that is there to see whether it can be read.
func checkRegistry(dir string) error {
	path := filepath.Join(dir, badger.KeyRegistryFileName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (len(b) != 28 || !bytes.HasSuffix(b, []byte("Hello Badger"))) {
		return fmt.Errorf("%s is damaged, and nothing hangs on it: remove it and start again", path)
	}
	return err
}
