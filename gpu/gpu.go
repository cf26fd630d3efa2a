// Package gpu names the devices of a machine that can be sold.
//
// What a probe returns is what the machine says of itself: a claim, until a
// challenge proves it. [Device.Evidence] tells how far that went, and a device
// made up for a test says so in [Device.Simulated].
package gpu

import (
	"context"
	"slices"
	"strings"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// ClassCPU is the class of the processor.
const ClassCPU = "CPU"

// Healthy is the [Device.Health] of a device that can be leased; any other text
// says what is wrong with it, for people.
const Healthy = "ok"

// maxClass bounds a class name, so that it fits in any offer.
const maxClass = 48

// Device is one physical GPU, one MIG slice, or the processor.
type Device struct {
	ID          string            // NVML UUID, or cpu- and a stable hash
	Class       string            // devices of one class share an offer; see [Class]
	Vendor      string            // the [Vendor] that gives it to a container; empty: it needs none, as the processor
	Model       string            // as the driver names it
	MemoryBytes uint64            // of the device; for the processor, what a job may use at most
	ComputeCap  uint32            // compute capability times ten, 89 for 8.9; 0 for the processor
	MIG         string            // profile of the slice, "1g.5gb"; empty for a whole device
	Health      string            // [Healthy], or what is wrong
	Evidence    marketv1.Evidence // how well it is proved to be what it says
	CPU         bool              // the processor itself
	Simulated   bool              // made up for a test; never to be sold as real
	CPUMilli    uint32            // cores in thousandths; the processor only

	Whole        string   // of a slice: the ID of the GPU that it is cut from
	PCI          string   // where it is, "00000000:01:00.0"; empty for the processor
	Driver       string   // version of its driver; empty for the processor
	Scrub        string   // whether its driver clears memory that a program gives back: "on", "off"; empty: not told
	CUDA         uint32   // newest CUDA version that the driver runs, times ten: 124 for 12.4; 0: not told
	Confidential string   // confidential computing, for people: "on", "off"; empty: not told
	Links        []string // IDs of the GPUs that NVLink joins it to, directly or by a switch
	Limits       Limits
	Errors       Errors
	Failed       bool    // what runs on it cannot go on or be trusted: Health says why
	Fault        string  // where Failed, the kind of [Incident]
	Recovery     Reading // the driver's own verdict, field 230: 0 asks for nothing
	Now          Sample  // what it measured when it was last read
	Used         string  // what runs on it, for people, be it a lease's or its owner's; empty: it is idle
}

// Limits are bounds that the driver keeps a device in.
type Limits struct {
	PowerMilliwatts Reading // what it may draw
	SlowdownCelsius Reading // from here on it slows down
	ShutdownCelsius Reading // from here on it switches itself off
	SMClockMHz      Reading // highest clock of its processors
	MemClockMHz     Reading // highest clock of its memory
}

// Errors counts what went wrong on a device. Volatile counts begin anew when the
// driver is loaded.
type Errors struct {
	CorrectedECC   Reading // DCGM_FI_DEV_ECC_SBE_VOL_TOTAL
	UncorrectedECC Reading // DCGM_FI_DEV_ECC_DBE_VOL_TOTAL
	RetiredPages   Reading // memory pages taken out of use, for good
	RemappedRows   Reading // memory rows replaced by spare ones, for good
	PCIeReplays    Reading // DCGM_FI_DEV_PCIE_REPLAY_COUNTER
	Xid            Reading // since the probe began: the first that takes the card off sale, or else the last; see [XidIncident]
}

// Probe finds the devices of one kind.
type Probe interface {
	// Devices lists what is there now. No device is not an error.
	Devices(context.Context) ([]Device, error)
}

// dropped are words of a model name that do not change what the device can do,
// or that only its form factor has.
var dropped = []string{"NVIDIA", "GEFORCE", "TESLA", "QUADRO", "GPU", "GENERATION", "PCIE", "NVL", "HBM2", "HBM2E", "HBM3", "HBM3E"}

// Class turns a driver's model name into a device class: "NVIDIA GeForce RTX
// 4090" is RTX_4090, "NVIDIA H100 80GB HBM3" is H100. It holds only capitals,
// digits and underscores, and is never empty.
//
// The class of a MIG slice has the card's, cut to fit, and the profile: that of
// "NVIDIA A100-SXM4-40GB MIG 1g.5gb" is A100_MIG_1G_5GB.
func Class(model string) string {
	card, profile := strings.ToUpper(model), ""
	if at := strings.LastIndex(" "+card, " MIG "); at >= 0 { // its size does matter
		card, profile = card[:at], strings.ReplaceAll(card[at:], "-", " NO ") // 1g.24gb-me is not 1g.24gb+me
	}
	var words []string
	for word := range strings.FieldsFuncSeq(card, notClass) {
		if !slices.Contains(dropped, word) && !isSize(word) && !strings.HasPrefix(word, "SXM") {
			words = append(words, word)
		}
	}
	slice := strings.Join(slices.Collect(strings.FieldsFuncSeq(profile, notClass)), "_")
	if slice != "" {
		slice = cut("_"+slice, maxClass)
	}
	class := strings.TrimLeft(cut(strings.Join(words, "_"), maxClass-len(slice))+slice, "_")
	if class == "" {
		return "GPU"
	}
	return class
}

// cut is the start of a class, at most n bytes.
func cut(class string, n int) string {
	if len(class) <= n {
		return class
	}
	return strings.TrimRight(class[:max(n, 0)], "_")
}

func notClass(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }

// isSize tells whether word is an amount of memory, such as 80GB.
func isSize(word string) bool {
	digits, ok := strings.CutSuffix(word, "GB")
	return ok && strings.Trim(digits, "0123456789") == ""
}
