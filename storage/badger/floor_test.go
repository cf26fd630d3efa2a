package badger

import (
	"errors"
	"math"
	"testing"

	"github.com/souk-market/souk/storage"
)

// TestLowDisk raises the floor instead of filling the disk.
func TestLowDisk(t *testing.T) {
	c := Config{Dir: t.TempDir(), MemTable: 4 << 20, FreeFloor: math.MaxUint64}
	if _, err := Open(c); !errors.Is(err, ErrLowDisk) {
		t.Errorf("Open = %v; want %v", err, ErrLowDisk)
	}
	c.FreeFloor = 1
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	set := func(tx storage.Txn) error { return tx.Set([]byte("a"), []byte("1")) }
	if err := s.Update(set); err != nil {
		t.Fatal(err)
	}
	s.floor = math.MaxUint64
	ran := false
	if err := s.Update(func(storage.Txn) error { ran = true; return nil }); !errors.Is(err, ErrLowDisk) || ran {
		t.Errorf("Update = %v, function ran: %t; want %v before it runs", err, ran, ErrLowDisk)
	}
	if err := s.View(func(tx storage.Txn) error {
		v, err := tx.Get([]byte("a"))
		if string(v) != "1" {
			t.Errorf("a = %q on a full disk", v)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	s.floor = 1
	if err := s.Update(set); err != nil {
		t.Errorf("Update after space was made = %v", err)
	}
}

// TestBroken checks that a store whose commit failed takes no further writes.
func TestBroken(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), MemTable: 4 << 20, FreeFloor: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fault := errors.New("disk fault")
	s.broken.Store(&fault)
	err = s.Update(func(storage.Txn) error { return nil })
	if !errors.Is(err, ErrBroken) || !errors.Is(err, fault) {
		t.Errorf("Update = %v; want %v and its cause", err, ErrBroken)
	}
}
