package badger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// A stray is a table that no manifest has ever named. A crash leaves one that was
// just made, and then all that is in it is elsewhere too, in a log or in other
// tables; so Badger removes it. But if the manifest was cut, the stray was in
// use. Only the open database can tell, so strays are kept aside until then.

// straysDir is the folder within the database's, where Badger does not look.
const straysDir = "strays"

// deletedMark is the bit of an entry's meta that says it deletes its key.
const deletedMark = 1

// keepStrays puts the tables that are not in named aside, with the manifest. One
// that is not whole was being written when the process ended: Badger names a
// table only once it is.
func keepStrays(dir string, manifest []byte, named map[uint64]bool) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	aside := filepath.Join(dir, straysDir)
	for _, path := range paths {
		id, ok := table.ParseFileID(filepath.Base(path))
		if _, is := named[id]; is || !ok {
			continue
		}
		if _, err := readTable(path); err != nil {
			continue
		}
		if err := os.MkdirAll(aside, 0o700); err != nil {
			return err
		}
		if err := os.Link(path, filepath.Join(aside, filepath.Base(path))); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.WriteFile(filepath.Join(aside, badger.ManifestFilename), manifest, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// checkStrays fails if a stray has what the database has not, and forgets the
// strays if not.
func checkStrays(dir string, db *badger.DB) error {
	aside := filepath.Join(dir, straysDir)
	paths, err := filepath.Glob(filepath.Join(aside, "*.sst"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		t, err := readTable(path)
		if err != nil {
			return damaged(path, err)
		}
		missed, err := missing(t, db)
		if err != nil {
			return err
		}
		if missed {
			return damaged(filepath.Join(dir, badger.ManifestFilename),
				fmt.Errorf("it does not name a table that was in use; both are kept in %s", aside))
		}
	}
	return os.RemoveAll(aside)
}

// missing tells whether t has a value that db does not have, nor a later one.
func missing(t *table.Table, db *badger.DB) (bool, error) {
	tx := db.NewTransaction(false)
	defer tx.Discard()
	it := t.NewIterator(table.NOCACHE)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		key := y.ParseKey(it.Key())
		if bytes.HasPrefix(key, []byte("!badger!")) {
			continue
		}
		item, err := tx.Get(key)
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			if it.Value().Meta&deletedMark == 0 {
				return true, nil
			}
		case err != nil:
			return false, err
		case item.Version() < y.ParseTs(it.Key()):
			return true, nil
		}
	}
	return false, nil
}
