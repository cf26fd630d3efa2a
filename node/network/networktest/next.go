package networktest

import (
	"bufio"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// ReadNext reads recorded messages by name.
func ReadNext(t *testing.T, name string, want int) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string][]byte{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, text, ok := strings.Cut(lines.Text(), ": "); ok && k[0] != '#' {
			if got[k], err = hex.DecodeString(text); err != nil {
				t.Fatalf("%s: %v", k, err)
			}
		}
	}
	if len(got) < want {
		t.Fatalf("%s has %d messages; want %d: run with -update", name, len(got), want)
	}
	return got
}
