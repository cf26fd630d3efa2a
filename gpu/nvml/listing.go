package nvml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/souk-market/souk/gpu"
)

// Bounds of what the child may say.
const (
	maxListing = 1 << 20 // bytes of one line; a card needs about 1,000
	maxCards   = 64
	maxSlices  = 16      // of one card; NVML has seven at most
	maxLinks   = 64      // of one card; NVML has 36
	maxXids    = 16      // of one card that are told in one reading, and remembered
	maxText    = 95      // bytes of one text; NVML has 96 with the zero at the end
	maxMemory  = 1 << 50 // bytes of one device
)

// listing is all cards as they were at one moment. The child writes one each
// second, one a line. Names and units are NVML's; what a card cannot tell is left out.
type listing struct {
	Absent    bool        `json:"absent,omitempty"` // there is no driver, and nothing more will be said
	Driver    string      `json:"driver_version,omitempty"`
	Library   string      `json:"nvml_version,omitempty"`
	CUDA      gpu.Reading `json:"cuda_driver_version,omitzero"` // 12040 for 12.4
	CCEnv     gpu.Reading `json:"cc_environment,omitzero"`
	CCFeature gpu.Reading `json:"cc_feature,omitzero"`
	CCTools   gpu.Reading `json:"cc_dev_tools_mode,omitzero"`
	CCReady   gpu.Reading `json:"cc_gpus_ready_state,omitzero"`
	Cards     []card      `json:"gpus"`
}

// card is one GPU.
type card struct {
	Index  uint32   `json:"index"`
	Return int32    `json:"nvml_return,omitzero"` // what a call that must go well answered: the card is in trouble
	Xids   []uint64 `json:"xids,omitempty"`       // since the reading before
	Seen   []uint64 `json:"xids_seen,omitempty"`  // since the library was started, each once
	facts
	vitals
	Slices []slice `json:"mig_devices,omitempty"`
}

// facts are what hardly changes; they are read again every minute.
type facts struct {
	UUID         string      `json:"uuid,omitempty"`
	Name         string      `json:"name,omitempty"`
	BusID        string      `json:"pci_bus_id,omitempty"`
	Major        gpu.Reading `json:"cuda_compute_capability_major,omitzero"`
	Minor        gpu.Reading `json:"cuda_compute_capability_minor,omitzero"`
	PowerLimit   gpu.Reading `json:"enforced_power_limit,omitzero"`           // mW
	MaxSMClock   gpu.Reading `json:"max_clock_sm,omitzero"`                   // MHz
	MaxMemClock  gpu.Reading `json:"max_clock_mem,omitzero"`                  // MHz
	Shutdown     gpu.Reading `json:"temperature_threshold_shutdown,omitzero"` // °C
	Slowdown     gpu.Reading `json:"temperature_threshold_slowdown,omitzero"` // °C
	RetiredPages gpu.Reading `json:"retired_pages,omitzero"`
	LinkedTo     []string    `json:"nvlink_remote_pci_bus_id,omitempty"` // cards or switches
}

// vitals are what is read each second.
type vitals struct {
	memory
	GPUUtil      gpu.Reading `json:"utilization_gpu,omitzero"`          // percent
	MemUtil      gpu.Reading `json:"utilization_memory,omitzero"`       // percent
	Power        gpu.Reading `json:"power_usage,omitzero"`              // mW
	Energy       gpu.Reading `json:"total_energy_consumption,omitzero"` // mJ
	Celsius      gpu.Reading `json:"temperature_gpu,omitzero"`
	MemCelsius   gpu.Reading `json:"temperature_memory,omitzero"`
	Margin       gpu.Reading `json:"margin_temperature,omitzero"`   // °C; 0 also for what NVML gives as negative
	SMClock      gpu.Reading `json:"clock_sm,omitzero"`             // MHz
	MemClock     gpu.Reading `json:"clock_mem,omitzero"`            // MHz
	ClockReasons gpu.Reading `json:"clocks_event_reasons,omitzero"` // bits
	Compute      gpu.Reading `json:"compute_running_processes,omitzero"`
	Graphics     gpu.Reading `json:"graphics_running_processes,omitzero"`
	ProcessBytes gpu.Reading `json:"used_gpu_memory,omitzero"`
	Corrected    gpu.Reading `json:"ecc_errors_corrected_volatile,omitzero"`
	Uncorrected  gpu.Reading `json:"ecc_errors_uncorrected_volatile,omitzero"`
	RetirePend   gpu.Reading `json:"retired_pages_pending,omitzero"`
	Remapped     gpu.Reading `json:"remapped_rows,omitzero"`
	RemapPending gpu.Reading `json:"remapped_rows_pending,omitzero"`
	RemapFailed  gpu.Reading `json:"remapped_rows_failure,omitzero"`
	Recovery     gpu.Reading `json:"gpu_recovery_action,omitzero"` // field 230
	ComputeMode  gpu.Reading `json:"compute_mode,omitzero"`
	Replays      gpu.Reading `json:"pcie_replay_counter,omitzero"`
	MIGMode      gpu.Reading `json:"mig_mode_current,omitzero"`
	MIGPending   gpu.Reading `json:"mig_mode_pending,omitzero"`
}

// memory is in bytes.
type memory struct {
	MemoryTotal gpu.Reading `json:"memory_total,omitzero"`
	MemoryFree  gpu.Reading `json:"memory_free,omitzero"`
	MemoryUsed  gpu.Reading `json:"memory_used,omitzero"`
}

// slice is a MIG device. What it does not tell is told by its card alone.
type slice struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
	memory
}

// decode reads one line strictly: it comes from a process that a driver's library
// has been loaded into. What it refuses is no listing; what cannot be of a single
// card is told of that card by [listing.devices].
func decode(line []byte) (listing, error) {
	var l listing
	if len(line) > maxListing {
		return l, fmt.Errorf("more than %d bytes", maxListing)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return listing{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return listing{}, errors.New("more than one value")
	}
	if len(l.Cards) > maxCards {
		return listing{}, fmt.Errorf("%d GPUs", len(l.Cards))
	}
	for _, c := range l.Cards {
		if len(c.Slices) > maxSlices || len(c.LinkedTo) > maxLinks || len(c.Xids) > maxXids || len(c.Seen) > maxXids {
			return listing{}, fmt.Errorf("GPU %d: %d slices, %d links, %d and %d Xids", c.Index, len(c.Slices), len(c.LinkedTo), len(c.Xids), len(c.Seen))
		}
	}
	return l, nil
}

var (
	plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9/-]*$`)
	plainAt = regexp.MustCompile(`^[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]$`)
	plain   = regexp.MustCompile(`^[ -~]+$`)
)

// clean is text, or nothing if it is not what pattern describes.
func clean(text string, pattern *regexp.Regexp) string {
	if len(text) > maxText || !pattern.MatchString(text) {
		return ""
	}
	return text
}
