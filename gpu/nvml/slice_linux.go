//go:build cgo

package nvml

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/souk-market/souk/gpu"
)

// slice adds what a MIG slice needs: its card's node, and the two nodes that let its
// holder use this slice. NVIDIA's code would ask the driver for the slice's profile by
// calls that want an owner's rights, only to find nodes that draw.
func (m *maker) slice(e *gpu.Edits, handle nvml.Device) error {
	for _, name := range []string{"nvmlDeviceGetDeviceHandleFromMigDeviceHandle", "nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId"} {
		if !m.session.has(name) {
			return fmt.Errorf("the driver's library has no function %s: the driver is too old for slices", name)
		}
	}
	card, ret := handle.GetDeviceHandleFromMigDeviceHandle()
	if ret != nvml.SUCCESS {
		return fmt.Errorf("its card: %s", answered(int32(ret), gpu.Device{}))
	}
	minor, ret := card.GetMinorNumber()
	if ret != nvml.SUCCESS {
		return fmt.Errorf("its card's number: %s", answered(int32(ret), gpu.Device{}))
	}
	part, ret := handle.GetGpuInstanceId()
	if ret != nvml.SUCCESS {
		return fmt.Errorf("its GPU instance: %s", answered(int32(ret), gpu.Device{}))
	}
	compute, ret := handle.GetComputeInstanceId()
	if ret != nvml.SUCCESS {
		return fmt.Errorf("its compute instance: %s", answered(int32(ret), gpu.Device{}))
	}
	m.node(e, fmt.Sprintf("/dev/nvidia%d", minor))
	for _, access := range []string{fmt.Sprintf("gpu%d/gi%d/access", minor, part), fmt.Sprintf("gpu%d/gi%d/ci%d/access", minor, part, compute)} {
		number, err := m.capability(access)
		if err != nil {
			return err
		}
		m.node(e, "/dev/nvidia-caps/nvidia-cap"+number)
	}
	return nil
}

// capability is the number of the node that allows access.
func (m *maker) capability(access string) (number string, err error) {
	f, err := os.Open(filepath.Join(m.proc, "nvidia-caps", "mig-minors"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, n, ok := strings.Cut(lines.Text(), " "); ok && name == access {
			if strings.Trim(n, "0123456789") != "" || n == "" {
				break
			}
			return n, nil
		}
	}
	return "", errors.New("the driver lists no node for " + access)
}

// soname is the name that programs load a library of this machine's word length by;
// empty: it is none.
func soname(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	names, err := f.DynString(elf.DT_SONAME)
	switch {
	case err != nil || f.Class != elf.ELFCLASS64:
		return ""
	case len(names) == 0:
		return filepath.Base(path)
	case names[0] != filepath.Base(names[0]):
		return ""
	}
	return names[0]
}
