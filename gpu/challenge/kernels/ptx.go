package kernels

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the compiled kernels
	"fmt"
	"io"
)

//go:embed challenge.ptx.gz
var compressed []byte

// PTX is the kernels for NVIDIA's drivers, which compile it for any card of compute
// capability 6.1 or newer. It is made from [Source] by make kernels.
func PTX() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	return text, nil
}
