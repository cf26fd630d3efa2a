package oci_test

import (
	"fmt"
	"strings"
	"testing"
)

// hasShm looks from inside at the /dev/shm that a job asked for.
func (a *attack) hasShm(t *testing.T) {
	for asked, want := range map[uint64]int{0: attackMemory / 2, 80 << 20: 80 << 20, 1 << 40: attackMemory} {
		s, out := a.spec(t, "shm-size")
		s.Shm = asked
		if got := a.start(t, s).Wait(); !strings.Contains(out.String(), fmt.Sprintf("shm %d <nil>", want)) {
			t.Errorf("asked for %d, want %d: %s%+v", asked, want, out, got)
		}
	}
}
