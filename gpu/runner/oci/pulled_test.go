package oci

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPulledImages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.json")
	at := func(m int) time.Time { return time.Unix(int64(60*m), 0) }
	s := readPulled(path)
	for n, name := range []string{"first", "second", "third"} {
		s.add(name, 10, at(n))
	}
	s.use("first", at(4))
	s.use("others", at(4)) // not ours
	for _, tt := range []struct {
		limit uint64
		want  []string
	}{{30, nil}, {29, []string{"second"}}, {19, []string{"third", "second"}}, {0, []string{"first", "third", "second"}}} {
		if got := s.surplus(tt.limit); !slices.Equal(got, tt.want) {
			t.Errorf("beyond %d: %q, want %q", tt.limit, got, tt.want)
		}
	}
	if s.waste("first") || s.waste("others") {
		t.Error("an image that a job has is taken from it")
	}
	s.add("broken", 10, at(5))
	if !s.waste("broken") || !slices.Equal(s.surplus(100), []string{"broken"}) {
		t.Errorf("what broke off stays: %q", s.surplus(100))
	}
	s.forget("broken", true, at(5))
	s.waste("second")
	s.forget("second", false, at(5)) // it may still come
	if again := readPulled(path); !slices.Equal(again.surplus(30), []string{"second"}) {
		t.Errorf("another life has %+v", again.images)
	}
	s.forget("second", false, at(30))
	s.forget("first", true, at(5))
	if got := readPulled(path).surplus(0); !slices.Equal(got, []string{"third"}) {
		t.Errorf("%q are left", got)
	}
}
