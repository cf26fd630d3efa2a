//go:build !linux || !cgo

package nvml

import (
	"fmt"
	"io"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/child"
)

// Main is the body of the child process. This build cannot load a library, so
// it finds no devices.
func Main(_ io.Reader, stdout, _ io.Writer) int {
	if _, err := fmt.Fprintln(stdout, `{"absent":true,"gpus":[]}`); err != nil {
		return child.Failed
	}
	return 0
}

// EditsMain is the body of the child process that makes edits, of which this build
// makes none.
func EditsMain(_ io.Reader, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "this build cannot load NVIDIA's library")
	return child.Failed
}

// Inside looks at a container's devices from inside, which this build cannot.
func Inside() gpu.Seen { return gpu.Seen{Error: "this build cannot load NVIDIA's library"} }
