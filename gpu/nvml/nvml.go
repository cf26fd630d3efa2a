// Package nvml finds NVIDIA GPUs by asking the driver's own library.
//
// The library is asked in a child process: calling a function that a driver of
// another age lacks would end the process that calls, and a broken driver can
// hang it. A machine without the library has no such devices, which is no error.
package nvml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// LibraryVariable names the environment variable that may hold the library's
// path; without it the system's own is taken, and may be absent.
const LibraryVariable = "SOUK_NVML_LIBRARY"

// Bounds of what the child may say.
const (
	maxListing = 1 << 20 // bytes; a device needs about 200
	maxDevices = 128     // 16 GPUs of 8 slices
	maxText    = 96      // bytes of one text; NVML's own bound
	maxMemory  = 1 << 50 // bytes of one device
	maxCap     = 10_000  // compute capability times ten
)

// probeWithin is the default for [Probe.Timeout]: a cold driver takes seconds.
const probeWithin = 15 * time.Second

// Probe asks a child process for the devices.
type Probe struct {
	Command []string      // argv of the child: it calls [Main]
	Timeout time.Duration // for one call; default 15s
}

// Devices implements [gpu.Probe].
func (p Probe) Devices(ctx context.Context) ([]gpu.Device, error) {
	if len(p.Command) == 0 {
		return nil, errors.New("probe nvml: no command")
	}
	if p.Timeout == 0 {
		p.Timeout = probeWithin
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	text, err := p.ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("probe nvml: %w", err)
	}
	devices, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("probe nvml: %w", err)
	}
	return devices, nil
}

// ask runs the child and returns what it wrote.
func (p Probe) ask(ctx context.Context) ([]byte, error) {
	var stdout, stderr bounded
	cmd := exec.CommandContext(ctx, p.Command[0], p.Command[1:]...)
	cmd.Env = environment(os.LookupEnv)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, oneLine(string(stderr.text)))
	case stdout.cut:
		return nil, fmt.Errorf("more than %d bytes of devices", maxListing)
	}
	return stdout.text, nil
}

// environment is what the child needs of ours; passwords are not among it.
func environment(lookup func(string) (string, bool)) []string {
	env := []string{}
	for _, name := range []string{LibraryVariable, "LD_LIBRARY_PATH"} {
		if value, ok := lookup(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// bounded keeps the first [maxListing] bytes written to it.
type bounded struct {
	text []byte
	cut  bool // there was more
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), maxListing-len(b.text))
	b.text = append(b.text, p[:keep]...)
	b.cut = b.cut || keep < len(p)
	return len(p), nil
}

func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.ToValidUTF8(s[:min(len(s), 200)], "?")
}

// listing is what the child writes.
type listing struct {
	Devices []device `json:"devices"`
}

type device struct {
	ID          string `json:"id"`
	Model       string `json:"model"`
	MemoryBytes uint64 `json:"memory_bytes"`
	ComputeCap  uint32 `json:"compute_cap"`
	MIG         string `json:"mig"`
	Health      string `json:"health"`
}

var (
	plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9/-]*$`)
	plain   = regexp.MustCompile(`^[ -~]*$`)
)

// check refuses what no driver says.
func (d device) check() error {
	for _, text := range []string{d.ID, d.Model, d.MIG, d.Health} {
		if len(text) > maxText || !plain.MatchString(text) {
			return fmt.Errorf("device %.20q: %.100q is not plain text", d.ID, text)
		}
	}
	switch {
	case !plainID.MatchString(d.ID):
		return fmt.Errorf("device id %q", d.ID)
	case d.Model == "" || d.Health == "":
		return fmt.Errorf("device %s: no model or no health", d.ID)
	case d.MemoryBytes == 0 || d.MemoryBytes > maxMemory:
		return fmt.Errorf("device %s: %d bytes of memory", d.ID, d.MemoryBytes)
	case d.ComputeCap > maxCap:
		return fmt.Errorf("device %s: compute capability %d", d.ID, d.ComputeCap)
	}
	return nil
}

// decode reads a listing strictly: it comes from a process that a driver's
// library has been loaded into.
func decode(text []byte) ([]gpu.Device, error) {
	var l listing
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return nil, fmt.Errorf("listing: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("listing: more than one value")
	}
	if len(l.Devices) > maxDevices {
		return nil, fmt.Errorf("listing: %d devices", len(l.Devices))
	}
	devices := make([]gpu.Device, 0, len(l.Devices))
	seen := make(map[string]bool, len(l.Devices))
	for _, d := range l.Devices {
		if err := d.check(); err != nil {
			return nil, fmt.Errorf("listing: %w", err)
		}
		if seen[d.ID] {
			return nil, fmt.Errorf("listing: device %s twice", d.ID)
		}
		seen[d.ID] = true
		devices = append(devices, gpu.Device{
			ID: d.ID, Class: gpu.Class(d.Model), Model: d.Model,
			MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap, MIG: d.MIG, Health: d.Health,
			Evidence: marketv1.Evidence_EVIDENCE_NONE, // the driver's word only
		})
	}
	return devices, nil
}
