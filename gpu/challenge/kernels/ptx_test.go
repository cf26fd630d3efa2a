package kernels_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/souk-market/souk/gpu/challenge/kernels"
)

// TestPTXIsFresh fails when the source changed and the PTX did not.
func TestPTXIsFresh(t *testing.T) {
	text, err := kernels.PTX()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if want := fmt.Sprintf("// challenge.cl %x", sha256.Sum256([]byte(kernels.Source))); string(first) != want {
		t.Errorf("the PTX was made from another source: run make kernels\n got %s\nwant %s", first, want)
	}
	for _, name := range kernels.Names() {
		if !bytes.Contains(text, []byte(".visible .entry "+name+"(")) {
			t.Errorf("no kernel %s", name)
		}
	}
	for _, bad := range []string{".extern", "__local_depot"} { // a function that no driver has; arrays that are not in registers
		if bytes.Contains(text, []byte(bad)) {
			t.Errorf("the PTX has %s", bad)
		}
	}
}
