//go:build linux

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// libraryName is the driver's own library: no toolkit is needed.
const libraryName = "libcuda.so.1"

// ErrAbsent is returned where there is no CUDA driver on this machine.
var ErrAbsent = errors.New("no CUDA driver on this machine")

// ErrNoLibrary is an [ErrAbsent]: its library cannot be loaded at all.
var ErrNoLibrary = fmt.Errorf("%w: its library cannot be loaded", ErrAbsent)

// Results and options of the driver API, from NVIDIA's cuda.h.
const (
	success         = 0
	errNoDevice     = 100
	jitErrorLog     = 5
	jitErrorLogSize = 6
	maxLog          = 4096
)

// library is the functions that are used. A CUresult is an int32, a CUdeviceptr a
// uint64.
type library struct {
	start            func(flags uint32) int32
	deviceGetCount   func(count *int32) int32
	deviceGet        func(device *int32, ordinal int32) int32
	deviceGetName    func(name *byte, length, device int32) int32
	deviceGetUUID    func(uuid *[16]byte, device int32) int32
	ctxCreate        func(ctx *uintptr, flags uint32, device int32) int32
	ctxSetCurrent    func(ctx uintptr) int32
	ctxDestroy       func(ctx uintptr) int32
	ctxSynchronize   func() int32
	moduleLoadDataEx func(module *uintptr, image *byte, options uint32, names *int32, values *uintptr) int32
	moduleFunction   func(function *uintptr, module uintptr, name string) int32
	memAlloc         func(to *uint64, bytes uintptr) int32
	memcpyHtoD       func(to uint64, from unsafe.Pointer, bytes uintptr) int32
	memcpyDtoH       func(to unsafe.Pointer, from uint64, bytes uintptr) int32
	launchKernel     func(function uintptr, gridX, gridY, gridZ, blockX, blockY, blockZ, shared uint32, stream uintptr, params *unsafe.Pointer, extra uintptr) int32
	getErrorName     func(result int32, name **byte) int32
}

// open loads the library at path, or the system's own where path is empty.
func open(path string) (*library, error) {
	if path == "" {
		path = libraryName
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoLibrary, err)
	}
	l := &library{}
	for name, to := range map[string]any{
		"cuInit": &l.start, "cuDeviceGetCount": &l.deviceGetCount, "cuDeviceGet": &l.deviceGet, "cuDeviceGetName": &l.deviceGetName,
		"cuDeviceGetUuid_v2": &l.deviceGetUUID, "cuCtxCreate_v2": &l.ctxCreate, "cuCtxSetCurrent": &l.ctxSetCurrent, "cuCtxDestroy_v2": &l.ctxDestroy,
		"cuCtxSynchronize": &l.ctxSynchronize, "cuModuleLoadDataEx": &l.moduleLoadDataEx, "cuModuleGetFunction": &l.moduleFunction,
		"cuMemAlloc_v2": &l.memAlloc, "cuMemcpyHtoD_v2": &l.memcpyHtoD, "cuMemcpyDtoH_v2": &l.memcpyDtoH,
		"cuLaunchKernel": &l.launchKernel, "cuGetErrorName": &l.getErrorName,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("%s has no function %s: the driver is too old", path, name)
		}
		purego.RegisterFunc(to, symbol)
	}
	return l, nil
}

// Error is a call that the driver refused.
type Error struct {
	Call string
	Code int32  // a CUresult
	Name string // as the driver names it, CUDA_ERROR_OUT_OF_MEMORY; empty: it has no name
}

func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("cuda: %s: error %d", e.Call, e.Code)
	}
	return fmt.Sprintf("cuda: %s: %s", e.Call, e.Name)
}

// check turns a result into an error.
func (l *library) check(call string, code int32) error {
	if code == success {
		return nil
	}
	e := &Error{Call: call, Code: code}
	var name *byte
	if l.getErrorName(code, &name) == success && name != nil {
		e.Name = text(name, 128)
	}
	return e
}

// text copies a C string of at most so many bytes.
func text(from *byte, most int) string {
	bytes := unsafe.Slice(from, most)
	for i := range most {
		if bytes[i] == 0 {
			return string(bytes[:i])
		}
	}
	return string(bytes)
}
