//go:build !linux

package process

import (
	"fmt"
	"io"

	"github.com/souk-market/souk/gpu/child"
)

// Main says that challenges are computed on Linux alone.
func Main(_ io.Reader, _, stderr io.Writer, _ func(string) string) int {
	fmt.Fprintln(stderr, "challenges are computed on Linux alone")
	return child.Failed
}
