package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
)

func room() error { return nil }

// TestSampleFile adds and reads samples over restarts, one of which left half a
// sample behind.
func TestSampleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "telemetry", "lease")
	const n = 3000
	sample := func(i int) string { return fmt.Sprintf("sample %d %s", i, strings.Repeat("x", i%40)) }
	full := false
	open := func() *SampleFile {
		s := NewSampleFile(path, 100, func() error {
			if full {
				return errors.New("full")
			}
			return nil
		})
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	s := open()
	for i := range n {
		if i == n/2 {
			s.Close()
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("\x50half"); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if s = open(); s.Len() != n/2 {
				t.Fatalf("%d samples after a crash, want %d", s.Len(), n/2)
			}
		}
		if kept, err := s.Append([]byte(sample(i))); err != nil || !kept {
			t.Fatalf("sample %d: kept %v, %v", i, kept, err)
		}
	}
	for _, first := range []uint64{0, 1, markEvery - 1, markEvery, 2*markEvery + 1, n - 1, n, n + 7} {
		at := first
		for {
			list, err := s.Read(at, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			for _, b := range list {
				if string(b) != sample(int(at)) {
					t.Fatalf("sample %d is %q", at, b)
				}
				at++
			}
		}
		if at != max(first, n) {
			t.Errorf("from %d on: read up to %d", first, at)
		}
	}
	read := 0
	for at := int64(0); ; { // a reader that comes back for more every now and then
		before := read
		next, err := readSamples(path, 100, at, func(b []byte) error {
			if string(b) != sample(read) {
				t.Fatalf("sample %d is %q", read, b)
			}
			if read == before+999 {
				return errEnough // it is not taken
			}
			read++
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		if at = next; read == before {
			break
		}
	}
	if read != n {
		t.Errorf("read %d samples piece by piece, want %d", read, n)
	}
	full = true
	if kept, err := s.Append([]byte("no room")); err != nil || kept {
		t.Errorf("on a full disk: kept %v, %v", kept, err)
	}
	full = false
	if kept, err := s.Append([]byte("after a gap")); err != nil || kept {
		t.Errorf("after one that was not kept: kept %v, %v", kept, err)
	}
	for _, b := range [][]byte{nil, make([]byte, 101)} {
		if _, err := s.Append(b); err == nil {
			t.Errorf("a sample of %d bytes is taken", len(b))
		}
	}
}

// TestSweepSamples removes the oldest telemetry when there is too much, and nothing
// that is fresh.
func TestSweepSamples(t *testing.T) {
	home, now := t.TempDir(), time.Now()
	s := NewSampleFiles(home, room)
	if err := s.Sweep(now); err != nil {
		t.Fatal(err)
	}
	for i := range byte(4) {
		f := s.Of(souk.LeaseID{Digest: souk.Digest{i}})
		if err := f.Resume(); err != nil {
			t.Fatal(err)
		}
		f.Close()
		path := s.path(souk.LeaseID{Digest: souk.Digest{i}})
		if err := errors.Join(os.Truncate(path, keptSamples/3), os.Chtimes(path, now, now.Add(-48*time.Hour+time.Duration(i)*time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(now); err != nil {
		t.Fatal(err)
	}
	for i := range byte(4) {
		_, err := os.Stat(s.path(souk.LeaseID{Digest: souk.Digest{i}}))
		if gone := err != nil; gone != (i == 0) {
			t.Errorf("the telemetry of lease %d: %v", i, err)
		}
	}
}
