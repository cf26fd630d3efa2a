package yamlfile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/souk-market/souk/cmd/souk/yamlfile"
)

// FuzzParse reads any text: each fault has a place that is in the file, and is
// shown by its own line.
func FuzzParse(f *testing.F) {
	for _, src := range []string{"name: x\non: true\n", "name: [", "on:\n\t- x", "\xff", "name: \"a\n\n", "a: b: c", "# x\r\nnaem: x\r\n", "name: *a", "é: x"} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		err := read(src)
		if err == nil {
			return
		}
		e, ok := errors.AsType[*yamlfile.Error](err)
		if !ok {
			t.Fatalf("%q: %v has no place", src, err)
		}
		lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(src), "\n")
		if e.Line < 0 || e.Line > len(lines) || e.Line > 0 && e.Column < 1 {
			t.Errorf("%q: place %d:%d of %d lines", src, e.Line, e.Column, len(lines))
		}
		if x := e.Excerpt(); x != "" && (strings.Count(x, "\n") != 2 || !strings.Contains(x, lines[e.Line-1])) {
			t.Errorf("%q: excerpt %q", src, x)
		}
	})
}
