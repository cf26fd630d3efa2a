//go:build cgo

package nvml

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebitengine/purego"

	"github.com/souk-market/souk/gpu"
)

// Inside looks at a container's devices from inside, with the driver's libraries that
// it was given: it opens every node, lists the devices, and starts CUDA. The driver
// may hang or end the process.
func Inside() (s gpu.Seen) {
	s.Nodes = openNodes("/dev")
	library := gpu.DriverFolder + "/" + library
	session, closed, err := open(cmp.Or(os.Getenv(LibraryVariable), library))
	if err != nil {
		s.Error = oneLine(err)
		return s
	}
	defer closed()
	l, err := session.read(time.Now())
	if err != nil {
		s.Error = oneLine(err)
		return s
	}
	for _, d := range l.devices(time.Now()) {
		s.IDs = append(s.IDs, d.ID)
	}
	if err := startCUDA(); err != nil {
		s.Error = oneLine(err)
	}
	return s
}

// openNodes opens all NVIDIA's nodes in a folder. Those that allow a slice are for
// reading alone.
func openNodes(dev string) (all []gpu.SeenNode) {
	for _, pattern := range []string{"nvidia*", "nvidia-caps/*"} {
		found, _ := filepath.Glob(filepath.Join(dev, pattern))
		for _, path := range found {
			if info, err := os.Lstat(path); err == nil && info.IsDir() || path == dev+"/nvidia-modeset" {
				continue // an engine's own list has the latter, which is of no card
			}
			n, mode := gpu.SeenNode{Path: path}, os.O_RDWR
			if strings.HasPrefix(pattern, "nvidia-caps") {
				mode = os.O_RDONLY
			}
			f, err := os.OpenFile(path, mode, 0)
			if err == nil {
				f.Close()
			} else {
				n.Error = oneLine(err)
			}
			all = append(all, n)
		}
	}
	return all
}

// startCUDA loads libcuda and starts it.
func startCUDA() error {
	handle, err := purego.Dlopen(gpu.DriverFolder+"/libcuda.so.1", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("libcuda cannot be loaded: %w", err)
	}
	symbol, err := purego.Dlsym(handle, "cuInit")
	if err != nil {
		return fmt.Errorf("libcuda has no function cuInit: %w", err)
	}
	var start func(flags uint32) int32
	purego.RegisterFunc(&start, symbol)
	if code := start(0); code != 0 {
		return fmt.Errorf("CUDA does not start: error %d", code)
	}
	return nil
}
