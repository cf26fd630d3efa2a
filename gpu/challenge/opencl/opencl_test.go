//go:build linux

package opencl_test

import (
	"testing"

	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/challengetest"
	"github.com/souk-market/souk/gpu/challenge/kernels"
	"github.com/souk-market/souk/gpu/challenge/opencl"
)

// TestSameBytes runs the kernels on this machine's first OpenCL device: PoCL's, on
// the processor, where make test has installed it.
func TestSameBytes(t *testing.T) {
	challengetest.Run(t, func(t *testing.T, c challenge.Challenge) challenge.Device {
		on, err := opencl.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := on.Close(); err != nil {
				t.Error(err)
			}
		})
		t.Logf("on %s", on.Name())
		d, err := kernels.New(c, on)
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// TestNoSuchDevice asks for a device past the last.
func TestNoSuchDevice(t *testing.T) {
	for _, index := range []int{-1, 1000} {
		if _, err := opencl.Open(index); err == nil {
			t.Errorf("device %d is there", index)
		}
	}
}
