//go:build cgo

package nvml

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/souk-market/souk/gpu"
)

// library is where the driver puts it.
const library = "libnvidia-ml.so.1"

// Main is the body of the child process. It writes the devices as JSON to
// stdout, or why there is no list to stderr, and returns the exit code.
func Main(stdout, stderr io.Writer) int {
	l, err := list(os.Getenv(LibraryVariable))
	if err == nil {
		err = json.NewEncoder(stdout).Encode(l)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// list asks the library at path, or the system's own if path is empty.
func list(path string) (listing, error) {
	named := path != ""
	if !named {
		path = library
	}
	symbols := dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := symbols.Open(); err != nil {
		if !named && strings.Contains(err.Error(), "No such file") {
			return listing{Devices: []device{}}, nil
		}
		return listing{}, fmt.Errorf("open %s: %w", path, err)
	}
	s := session{api: nvml.New(nvml.WithLibraryPath(path)), symbols: symbols}
	// A call to a function that is not there would end this process.
	for _, names := range [][]string{
		{"nvmlInit_v2", "nvmlInit"},
		{"nvmlShutdown"},
		{"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"},
		{"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"},
		{"nvmlDeviceGetName"},
		{"nvmlDeviceGetUUID"},
		{"nvmlDeviceGetMemoryInfo"},
	} {
		if !s.has(names...) {
			return listing{}, fmt.Errorf("%s has no function %s", path, names[0])
		}
	}
	if ret := s.api.Init(); ret != nvml.SUCCESS {
		return listing{}, s.failed("start", ret)
	}
	defer s.api.Shutdown()
	return s.list()
}

// session is a library that has been started.
type session struct {
	api     nvml.Interface
	symbols *dl.DynamicLibrary
}

// has tells whether the library has one of the functions.
func (s session) has(names ...string) bool {
	for _, name := range names {
		if s.symbols.Lookup(name) == nil {
			return true
		}
	}
	return false
}

// failed names what the library said; its number, if it has no words for it.
func (s session) failed(what string, ret nvml.Return) error {
	if s.has("nvmlErrorString") {
		return fmt.Errorf("%s: %s", what, ret.Error())
	}
	return fmt.Errorf("%s: NVML error %d", what, int32(ret))
}

func (s session) list() (listing, error) {
	count, ret := s.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return listing{}, s.failed("count devices", ret)
	}
	l := listing{Devices: []device{}}
	var errs []error
	for i := range count {
		handle, ret := s.api.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			errs = append(errs, s.failed(fmt.Sprintf("device %d", i), ret))
			continue
		}
		found, err := s.expand(handle)
		if err != nil {
			errs = append(errs, fmt.Errorf("device %d: %w", i, err))
		}
		l.Devices = append(l.Devices, found...)
	}
	if len(l.Devices) == 0 && len(errs) > 0 { // one lost GPU does not hide the others
		return l, errors.Join(errs...)
	}
	return l, nil
}

// expand is the device itself or, where it is cut into slices, these: the whole
// cannot be used beside them.
func (s session) expand(whole nvml.Device) ([]device, error) {
	d, err := s.describe(whole)
	if err != nil {
		return nil, err
	}
	d.ComputeCap = s.computeCap(whole)
	if d.Health = s.health(whole); !s.sliced(whole) {
		return []device{d}, nil
	}
	var slices []device
	most, ret := whole.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return nil, s.failed("count slices", ret)
	}
	for i := range most {
		handle, ret := whole.GetMigDeviceHandleByIndex(i)
		if ret == nvml.ERROR_NOT_FOUND {
			continue
		}
		if ret != nvml.SUCCESS {
			return slices, s.failed(fmt.Sprintf("slice %d", i), ret)
		}
		slice, err := s.describe(handle)
		if err != nil {
			return slices, fmt.Errorf("slice %d: %w", i, err)
		}
		slice.ComputeCap, slice.Health = d.ComputeCap, d.Health
		_, slice.MIG, _ = strings.Cut(slice.Model, "MIG ")
		slices = append(slices, slice)
	}
	return slices, nil
}

func (s session) describe(handle nvml.Device) (device, error) {
	name, ret := handle.GetName()
	if ret != nvml.SUCCESS {
		return device{}, s.failed("name", ret)
	}
	id, ret := handle.GetUUID()
	if ret != nvml.SUCCESS {
		return device{}, s.failed("uuid", ret)
	}
	memory, ret := handle.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return device{}, s.failed("memory", ret)
	}
	return device{ID: id, Model: name, MemoryBytes: memory.Total}, nil
}

// computeCap is times ten; 0 where it cannot be told.
func (s session) computeCap(handle nvml.Device) uint32 {
	if !s.has("nvmlDeviceGetCudaComputeCapability") {
		return 0
	}
	major, minor, ret := handle.GetCudaComputeCapability()
	if ret != nvml.SUCCESS || major < 0 || minor < 0 || minor > 9 {
		return 0
	}
	return uint32(major)*10 + uint32(minor)
}

// health looks at the memory's spare rows: a device that has used them up, or
// waits to be reset, gives wrong results or stops in the middle of a job.
func (s session) health(handle nvml.Device) string {
	if !s.has("nvmlDeviceGetRemappedRows") {
		return gpu.Healthy
	}
	_, _, pending, failure, ret := handle.GetRemappedRows()
	switch {
	case ret == nvml.ERROR_GPU_IS_LOST:
		return "lost: reboot the machine"
	case ret != nvml.SUCCESS: // most consumer devices cannot tell
		return gpu.Healthy
	case failure:
		return "memory rows could not be remapped: replace the GPU"
	case pending:
		return "memory rows wait to be remapped: reset the GPU"
	}
	return gpu.Healthy
}

func (s session) sliced(handle nvml.Device) bool {
	if !s.has("nvmlDeviceGetMigMode") || !s.has("nvmlDeviceGetMaxMigDeviceCount") || !s.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return false
	}
	current, _, ret := handle.GetMigMode()
	return ret == nvml.SUCCESS && current == nvml.DEVICE_MIG_ENABLE
}
