package badger_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/souk-market/souk/storage"
	"github.com/souk-market/souk/storage/badger"
	"github.com/souk-market/souk/storage/storetest"
)

// small lets the tests run on a nearly full disk.
func small(dir string) badger.Config {
	return badger.Config{Dir: dir, MemTable: 4 << 20, FreeFloor: 32 << 20}
}

func open(t *testing.T, c badger.Config) *badger.Store {
	t.Helper()
	s, err := badger.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (storetest.Store, func() storetest.Store) {
		c := small(t.TempDir())
		s := open(t, c)
		return s, func() storetest.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, c)
			return s
		}
	})
}

func TestSecondOpen(t *testing.T) {
	dir := t.TempDir()
	open(t, small(dir))
	_, err := badger.Open(small(dir))
	if !errors.Is(err, badger.ErrLocked) || !strings.Contains(err.Error(), "another souk daemon") {
		t.Errorf("second Open = %v; want %v", err, badger.ErrLocked)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]badger.Config{
		"no directory":       {},
		"memory table small": {Dir: t.TempDir(), MemTable: 1},
		"memory table large": {Dir: t.TempDir(), MemTable: math.MaxInt64},
	} {
		if s, err := badger.Open(c); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

const crashEnv = "SOUK_TEST_BADGER_CRASH_DIR"

// TestMain doubles as the process that TestKill kills, and that TestDamage risks.
func TestMain(m *testing.M) {
	flag.Parse()
	if dir := os.Getenv(damageEnv); dir != "" {
		if err := damageAll(dir, os.Getenv(crashEnv), os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(crashEnv); dir != "" {
		fmt.Fprintln(os.Stderr, writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver commits pairs of keys that must stay together, and tells each
// one that is durable on stdout.
func writeForEver(dir string) error {
	s, err := badger.Open(small(dir))
	if err != nil {
		return err
	}
	value := bytes.Repeat([]byte("v"), 4<<10) // some tables are flushed on the way
	for i := uint64(0); ; i++ {
		err := s.Update(func(tx storage.Txn) error {
			k := binary.BigEndian.AppendUint64(nil, i)
			return errors.Join(tx.Set(append([]byte("a"), k...), value), tx.Set(append([]byte("b"), k...), value))
		})
		if err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// TestKill kills a writing process and looks for every commit it told of.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := int64(-1)
	for round := range 3 {
		acked = max(acked, killAfter(t, dir, 200+600*round))
		s := open(t, small(dir))
		a, b := count(t, s, "a"), count(t, s, "b")
		if a != b || a <= acked {
			t.Fatalf("round %d: %d and %d keys of a pair, %d acknowledged", round, a, b, acked+1)
		}
		t.Logf("round %d: %d commits acknowledged in all, %d found", round, acked+1, a)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func killAfter(t *testing.T, dir string, commits int) (last int64) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last = -1
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if n == commits {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
			break // the line that the kill tore
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed: always an error
	return last
}

func count(t *testing.T, s *badger.Store, prefix string) (n int64) {
	err := s.View(func(tx storage.Txn) error {
		return tx.Scan([]byte(prefix), nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
