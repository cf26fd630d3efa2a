package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4/y"
)

// The layout of a log in Badger 4.9: a header, then entries of two bytes of
// flags, the sizes of key and value and an expiry as varints, key, value, and a
// CRC-32C of all that. A transaction ends with an entry of its own.
const (
	logHeader = 20
	endOfTxn  = 1 << 7
	minKey    = 8 // a key ends with its version
)

// checkLogs makes sure that no log but the last was cut. Logs follow one another
// without a gap: Badger has more than one only while the first is being made a
// table. What the last has lost at its end, it cannot tell.
func checkLogs(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	slices.Sort(paths) // they are numbered with leading zeros
	var before string
	var until uint64
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		first, last := commits(b)
		if last == 0 {
			continue
		}
		if until > 0 && first != until+1 {
			return damaged(before, fmt.Errorf("it ends with commit %d, and %s begins with %d", until, filepath.Base(path), first))
		}
		before, until = path, last
	}
	return nil
}

// commits returns the versions of the first and the last transaction that a log
// has whole; 0, 0 if it has none. What is after the first entry that is not whole
// does not count.
func commits(log []byte) (first, last uint64) {
	for rest := log[min(logHeader, len(log)):]; ; {
		flags, key, size, err := entry(rest)
		if err != nil {
			return first, last
		}
		if flags&endOfTxn != 0 {
			last = y.ParseTs(key)
			if first == 0 {
				first = last
			}
		}
		rest = rest[size:]
	}
}

// entry reads the entry at the beginning of b.
func entry(b []byte) (flags byte, key []byte, size int, err error) {
	r := bytes.NewReader(b)
	var sizes [3]uint64 // the last is no size but the expiry
	flags, err = r.ReadByte()
	if err == nil {
		_, err = r.ReadByte()
	}
	for i := range sizes {
		if err == nil {
			sizes[i], err = binary.ReadUvarint(r)
		}
	}
	if err != nil {
		return 0, nil, 0, err
	}
	at := len(b) - r.Len()
	end := uint64(at) + uint64(uint32(sizes[0])) + uint64(uint32(sizes[1]))
	if sizes[0] < minKey || end+crc32.Size > uint64(len(b)) {
		return 0, nil, 0, errors.New("an entry is cut")
	}
	if crc32.Checksum(b[:end], y.CastagnoliCrcTable) != binary.BigEndian.Uint32(b[end:]) {
		return 0, nil, 0, errors.New("an entry's checksum is wrong")
	}
	return flags, b[at : at+int(sizes[0])], int(end) + crc32.Size, nil
}
