//go:build !linux || !cgo

package nvml

import (
	"fmt"
	"github.com/souk-market/souk/gpu/child"
	"io"
)

// Main is the body of the child process. This build cannot load a library, so
// it finds no devices.
func Main(_ io.Reader, stdout, _ io.Writer) int {
	if _, err := fmt.Fprintln(stdout, `{"absent":true,"gpus":[]}`); err != nil {
		return child.Failed
	}
	return 0
}
