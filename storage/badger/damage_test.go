package badger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/souk-market/souk/storage"
	"github.com/souk-market/souk/storage/badger"
)

var (
	flips = flag.Int("flips", 1, "how many bytes to flip in each file, and at how many places to cut it")
	seed  = flag.Uint64("seed", 1, "of the places")
)

// filled is how many commits the database has: enough for tables and a log.
const filled = 120

const damageEnv = "SOUK_TEST_BADGER_DAMAGE"

// TestDamage flips bytes of every file of a database and cuts each, one at a time,
// and opens what it is then: that fails with the file's name, or nothing of what
// was written is missing, or what was written last. It never gives a value that
// was not written, and never ends the process. Cut logs look to Badger like a
// crash in the middle of a write: who must know keeps a count elsewhere.
//
// It runs in a process of its own: Badger ends it, where it does, without a word.
func TestDamage(t *testing.T) {
	for _, how := range []string{"closed", "killed"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$", fmt.Sprintf("-flips=%d", *flips), fmt.Sprintf("-seed=%d", *seed))
			cmd.Env = append(os.Environ(), damageEnv+"="+t.TempDir(), crashEnv+"="+how)
			var told bytes.Buffer
			cmd.Stdout, cmd.Stderr = &told, &told
			err := cmd.Run()
			lines := strings.Split(strings.TrimSpace(told.String()), "\n")
			if err != nil || len(lines) == 0 {
				t.Fatalf("seed %d: %v; it said last:\n%s", *seed, err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
			}
			t.Log(lines[len(lines)-1])
		})
	}
}

// damageAll is the process of TestDamage.
func damageAll(dir, how string, out io.Writer) error {
	want, home := filepath.Join(dir, "want"), filepath.Join(dir, "home")
	s, err := badger.Open(small(want))
	if err != nil {
		return err
	}
	if err := fill(s, filled); err != nil {
		return err
	}
	if how == "killed" { // what lies on the disk now is what a kill would leave
		err = os.CopyFS(home, os.DirFS(want))
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	if how == "closed" {
		home = want
	}
	rng, tried, found, shorter := rand.New(rand.NewPCG(*seed, 0)), 0, 0, 0
	files, err := os.ReadDir(home)
	if err != nil {
		return err
	}
	for _, file := range files {
		whole, err := os.ReadFile(filepath.Join(home, file.Name()))
		if err != nil {
			return err
		}
		for n := range 2 * *flips {
			bad, place := harm(rng, whole, n)
			fmt.Fprintf(out, "seed %d, %s of %d bytes: %s\n", *seed, file.Name(), len(whole), place)
			at := filepath.Join(dir, "try")
			err := errors.Join(os.RemoveAll(at), os.CopyFS(at, os.DirFS(home)), os.WriteFile(filepath.Join(at, file.Name()), bad, 0o600))
			if err != nil {
				return err
			}
			tried++
			has, err := reads(at)
			switch {
			case errors.Is(err, errWrong):
				return err
			case err != nil && !strings.Contains(err.Error(), at):
				return fmt.Errorf("the error names no file: %w", err)
			case err != nil:
				found++
			case has < filled && filepath.Ext(file.Name()) != ".mem":
				return fmt.Errorf("%d of %d values are left", has, filled)
			case has < filled:
				shorter++
			}
			fmt.Fprintf(out, "  %d values, %v\n", has, err)
		}
	}
	fmt.Fprintf(out, "%d files, %d times harmed: found %d times, lost what was last %d times, harmless else\n", len(files), tried, found, shorter)
	return nil
}

// harm flips a bit of b, or cuts it, by the turn.
func harm(rng *rand.Rand, b []byte, turn int) (bad []byte, place string) {
	if len(b) == 0 {
		return []byte{1}, "a byte more"
	}
	at := rng.IntN(len(b))
	if used := len(bytes.TrimRight(b, "\x00")); rng.IntN(8) > 0 && used > 0 {
		at = rng.IntN(used) // the rest of a log is zeros that mean nothing
	}
	if turn%2 == 0 {
		bad = bytes.Clone(b)
		bit := byte(1) << rng.IntN(8)
		bad[at] ^= bit
		return bad, fmt.Sprintf("byte %d: %02x made %02x", at, b[at], bad[at])
	}
	return b[:at], fmt.Sprintf("cut after %d", at)
}

// fill makes n commits, the i-th of a key of its own and one that all change.
func fill(s *badger.Store, n uint64) error {
	for i := range n {
		err := s.Update(func(tx storage.Txn) error {
			return errors.Join(tx.Set(binary.BigEndian.AppendUint64([]byte("k"), i), valueOf(i)),
				tx.Set([]byte("last"), binary.BigEndian.AppendUint64(nil, i)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// valueOf is random enough to fill tables.
func valueOf(i uint64) []byte {
	r := rand.New(rand.NewPCG(i, 1))
	var v []byte
	for len(v) < 60<<10 {
		v = binary.BigEndian.AppendUint64(v, r.Uint64())
	}
	return v
}

var errWrong = errors.New("a wrong value")

// reads counts the commits that are there: the first so many, each whole.
func reads(dir string) (n uint64, err error) {
	s, err := badger.Open(small(dir))
	if err != nil {
		return 0, err
	}
	defer s.Close()
	err = s.View(func(tx storage.Txn) error {
		err := tx.Scan([]byte("k"), nil, func(key, value []byte) (bool, error) {
			if i := binary.BigEndian.Uint64(key[1:]); i != n || !bytes.Equal(value, valueOf(i)) {
				return false, fmt.Errorf("commit %d after %d: %w", i, n, errWrong)
			}
			n++
			return true, nil
		})
		if err != nil {
			return err
		}
		last, err := tx.Get([]byte("last"))
		if err == nil && n > 0 && binary.BigEndian.Uint64(last) != n-1 {
			return fmt.Errorf("%d commits, the last says it is %x: %w", n, last, errWrong)
		}
		return err
	})
	return n, err
}

// TestManifestForgets cuts a manifest between two of its changes, so that it looks
// whole: the table it does not name any more is missed, again and again.
func TestManifestForgets(t *testing.T) {
	dir := t.TempDir()
	s := open(t, small(dir))
	if err := fill(s, filled); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(home, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(home, "MANIFEST")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int
	for at := 8; at < len(whole); {
		ends = append(ends, at)
		at += 8 + int(binary.BigEndian.Uint32(whole[at:]))
	}
	if len(ends) < 2 {
		t.Fatalf("a manifest of %d changes: no table was made", len(ends))
	}
	if err := os.WriteFile(name, whole[:ends[len(ends)-1]], 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := reads(home); !errors.Is(err, badger.ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Fatalf("opened with %d of %d values, %v", n, filled, err)
		}
	}
}
