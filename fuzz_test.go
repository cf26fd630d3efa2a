package souk_test

import (
	"strings"
	"testing"

	"github.com/souk-market/souk"
)

// FuzzParseAtoms: what is read is printed so that it reads the same, and no
// amount is negative.
func FuzzParseAtoms(f *testing.F) {
	for _, s := range []string{"0.5", "12", "0.000001", "9223372036854.775807", "9223372036854.775808", "-1", "1e3", "1.", ".5", "00.10", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := souk.ParseAtoms(s)
		if err != nil {
			return
		}
		if back, err := souk.ParseAtoms(a.String()); a < 0 || err != nil || back != a {
			t.Errorf("%q is %d, printed %q, read back as %d, %v", s, a, a, back, err)
		}
	})
}

// FuzzParseSize: what is offered in place of a wrong size is a right one, and a
// size is printed near what it is.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"24GB", "16GiB", "4", "4G", "4Gb", "4 gib", "1.5GB", "18446744073709551615B", "18446744073709551615KB", "GB", "0B", "4IB", "0BG", "20000000000000000K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := souk.ParseSize(s)
		if err == nil {
			if text := souk.FormatSize(n); text == "" {
				t.Errorf("%q: nothing is printed", s)
			}
			return
		}
		if _, offered, ok := strings.Cut(err.Error(), "did you mean "); ok && !strings.Contains(s, "did you mean") {
			if _, err := souk.ParseSize(strings.TrimSuffix(offered, "?")); err != nil {
				t.Errorf("%q: offers %q: %v", s, offered, err)
			}
		}
	})
}
