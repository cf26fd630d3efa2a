// Package vendors lists the makers of devices that souk knows: it is the one place
// besides its own folder that names a maker.
//
// What may hang or crash with a driver runs in processes of this same program. They are
// started by hidden words, and [Children] has what each does.
package vendors

import (
	"io"
	"slices"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/runner/gate"
)

const (
	probeNVML = "probe-nvml"
	editsNVML = "edits-nvml"
)

// All are the vendors of a program that is started as self.
func All(self []string) gpu.Vendors {
	child := func(word string) []string { return append(slices.Clone(self), word) }
	return gpu.Vendors{nvml.Probe{Command: child(probeNVML), EditsCommand: child(editsNVML)}}
}

// Children are the bodies of the vendors' processes, by the word that starts each.
func Children() map[string]func(stdin io.Reader, stdout, stderr io.Writer) (code int) {
	return map[string]func(io.Reader, io.Writer, io.Writer) int{probeNVML: nvml.Main, editsNVML: nvml.EditsMain}
}

// Inside is what containers see of each vendor's devices.
func Inside() gate.Inside { return gate.Inside{nvml.Vendor: nvml.Inside} }

// Backend is what computes on a device; ok is false where souk has no kernels for it.
func Backend(d gpu.Device) (b process.Backend, ok bool) {
	switch {
	case d.CPU:
		return process.Reference, true
	case d.Vendor == nvml.Vendor:
		return process.CUDA, true
	}
	return "", false
}
