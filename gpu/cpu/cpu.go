// Package cpu finds the processor: one device that every machine has.
//
// Its id stays the same over restarts, and tells nobody the machine's own id.
package cpu

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/souk-market/souk/gpu"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Where Linux keeps what is asked here, below the root.
const (
	cpuInfo     = "proc/cpuinfo"
	memoryInfo  = "proc/meminfo"
	memoryLimit = "sys/fs/cgroup/memory.max"
	machineID   = "etc/machine-id"
)

// maxRead bounds one of these files; a machine of a thousand cores needs 2 MiB.
const maxRead = 8 << 20

// Probe finds the processor. The zero value looks at this machine.
type Probe struct {
	Root     fs.FS  // the file system; default: this machine's
	Hostname string // tells machines without an id apart; default: this machine's
	Cores    int    // default: those this process may use
}

// Devices implements [gpu.Probe]. There is always one device; what cannot be
// found out about it is left at its default.
func (p Probe) Devices(context.Context) ([]gpu.Device, error) {
	if p.Root == nil {
		p.Root = os.DirFS("/")
	}
	if p.Hostname == "" {
		p.Hostname, _ = os.Hostname() // without a name there is the model
	}
	if p.Cores == 0 {
		p.Cores = runtime.NumCPU()
	}
	memory, err := p.memory()
	if err != nil {
		return nil, fmt.Errorf("probe processor: %w", err)
	}
	model := p.model()
	return []gpu.Device{{
		ID: p.id(model), Class: gpu.ClassCPU, Model: model,
		MemoryBytes: memory, Health: gpu.Healthy, Evidence: marketv1.Evidence_EVIDENCE_NONE,
		CPU: true, CPUMilli: uint32(p.Cores) * 1000,
	}}, nil
}

// id hashes the machine's id, which must not be shown to others as it is.
func (p Probe) id(model string) string {
	who := p.Hostname
	if id, err := p.read(machineID); err == nil && strings.TrimSpace(id) != "" {
		who = strings.TrimSpace(id)
	}
	sum := sha256.Sum256([]byte("souk/device/cpu\x00" + who + "\x00" + model))
	return fmt.Sprintf("cpu-%x", sum[:12])
}

// model is what the processor calls itself.
func (p Probe) model() string {
	if text, err := p.read(cpuInfo); err == nil {
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			if name = strings.TrimSpace(name); value != "" && (name == "model name" || name == "Hardware") {
				return value
			}
		}
	}
	return runtime.GOARCH + " processor"
}

// memory is what this machine, or the control group around us, has in all.
func (p Probe) memory() (uint64, error) {
	text, err := p.read(memoryInfo)
	if err != nil {
		return 0, err
	}
	total, err := parseMemory(text)
	if err != nil {
		return 0, err
	}
	if text, err := p.read(memoryLimit); err == nil {
		if limit, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64); err == nil && limit > 0 {
			total = min(total, limit)
		}
	}
	return total, nil
}

// parseMemory finds the line of the whole memory in /proc/meminfo.
func parseMemory(text string) (uint64, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		var kib uint64
		if n, _ := fmt.Sscanf(lines.Text(), "MemTotal: %d kB", &kib); n == 1 && kib > 0 && kib < 1<<44 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no MemTotal in meminfo")
}

func (p Probe) read(name string) (string, error) {
	f, err := p.Root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRead))
	return string(text), err
}
