package gpu

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Reading is a number that a device may be unable to tell. The zero Reading is
// unknown: a card without a power sensor does not draw nothing.
type Reading struct {
	plusOne uint64 // 0: unknown
}

// Known is the reading v. The largest number of 64 bits is read as the one below it.
func Known(v uint64) Reading { return Reading{min(v, math.MaxUint64-1) + 1} }

// Value returns the number; false if the device cannot tell it.
func (r Reading) Value() (v uint64, ok bool) {
	if r.plusOne == 0 {
		return 0, false
	}
	return r.plusOne - 1, true
}

// Or is the number, or other if the device cannot tell it.
func (r Reading) Or(other uint64) uint64 {
	if v, ok := r.Value(); ok {
		return v
	}
	return other
}

// AtMost is r, or unknown if its number is larger than most: a sensor that says
// what cannot be says nothing.
func (r Reading) AtMost(most uint64) Reading {
	if v, ok := r.Value(); ok && v > most {
		return Reading{}
	}
	return r
}

// MarshalJSON implements [encoding/json.Marshaler]. An unknown reading is null;
// with the option omitzero it is left out.
func (r Reading) MarshalJSON() ([]byte, error) {
	v, ok := r.Value()
	if !ok {
		return []byte("null"), nil
	}
	return strconv.AppendUint(nil, v, 10), nil
}

// UnmarshalJSON implements [encoding/json.Unmarshaler]. It takes whole numbers
// from 0 on, and null.
func (r *Reading) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*r = Reading{}
		return nil
	}
	v, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("%.30q is not a number of a device", text)
	}
	*r = Known(v)
	return nil
}

// Sample is what a device measured at one moment. Units are those of NVML, and
// the names of operators' tools stand beside them.
type Sample struct {
	At time.Time // zero: nothing was measured

	GPUUtilPercent     Reading // DCGM_FI_DEV_GPU_UTIL: part of the last period in which a kernel ran
	MemCopyUtilPercent Reading // DCGM_FI_DEV_MEM_COPY_UTIL
	MemoryUsedBytes    Reading // DCGM_FI_DEV_FB_USED, in bytes
	MemoryFreeBytes    Reading // DCGM_FI_DEV_FB_FREE, in bytes
	PowerMilliwatts    Reading // DCGM_FI_DEV_POWER_USAGE, in mW
	EnergyMillijoules  Reading // DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION: since the driver was loaded, so only differences mean anything
	Celsius            Reading // DCGM_FI_DEV_GPU_TEMP
	MemoryCelsius      Reading // DCGM_FI_DEV_MEMORY_TEMP
	MarginCelsius      Reading // degrees until it slows down; 0: it is as hot as that
	SMClockMHz         Reading // DCGM_FI_DEV_SM_CLOCK
	MemClockMHz        Reading // DCGM_FI_DEV_MEM_CLOCK
	ClockReasons       Reading // DCGM_FI_DEV_CLOCKS_EVENT_REASONS: why clocks are lower than they could be, as NVML's bits
	ComputeProcesses   Reading // processes that hold a compute context
	GraphicsProcesses  Reading // processes that draw
	ProcessBytes       Reading // memory of these processes, as far as the driver tells it

	Xids []uint64 // DCGM_FI_DEV_XID_ERRORS: since the sample before, in order; see [XidIncident]
}

// History keeps the newest samples of one device. It is not safe for use by
// several goroutines at once.
type History struct {
	most    int
	samples []Sample // a ring once it is full
	oldest  int
}

// NewHistory returns a history of at most so many samples.
func NewHistory(most int) *History { return &History{most: max(most, 1)} }

// Add keeps s, and lets go of the oldest sample if there is no room for both.
// A sample that is not newer than the last one is not added.
func (h *History) Add(s Sample) {
	if last, ok := h.Last(); ok && !s.At.After(last.At) {
		return
	}
	if len(h.samples) < h.most {
		h.samples = append(h.samples, s)
		return
	}
	h.samples[h.oldest] = s
	h.oldest = (h.oldest + 1) % h.most
}

// Last is the newest sample; false if there is none.
func (h *History) Last() (Sample, bool) {
	if len(h.samples) == 0 {
		return Sample{}, false
	}
	return h.samples[(h.oldest+len(h.samples)-1)%len(h.samples)], true
}

// Newest returns at most n samples, oldest first.
func (h *History) Newest(n int) []Sample {
	newest := make([]Sample, 0, min(n, len(h.samples)))
	for i := max(0, len(h.samples)-n); i < len(h.samples); i++ {
		newest = append(newest, h.samples[(h.oldest+i)%len(h.samples)])
	}
	return newest
}

// After returns the samples later than t, oldest first.
func (h *History) After(t time.Time) []Sample {
	var after []Sample
	for i := range h.samples {
		if s := h.samples[(h.oldest+i)%len(h.samples)]; s.At.After(t) {
			after = append(after, s)
		}
	}
	return after
}
