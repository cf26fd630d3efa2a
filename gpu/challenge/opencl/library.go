//go:build linux

package opencl

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// libraryName is the loader of the drivers (ICD) that Khronos defines.
const libraryName = "libOpenCL.so.1"

// ErrAbsent is returned where there is no OpenCL on this machine.
var ErrAbsent = errors.New("no OpenCL on this machine")

// Constants of OpenCL 1.2, from Khronos' cl.h.
const (
	deviceTypeAll  = 0xFFFFFFFF
	deviceName     = 0x102B
	programLog     = 0x1183
	memReadWrite   = 1
	blocking       = 1
	deviceNotFound = -1
)

// library is the functions that are used. A cl_int is an int32, a size_t an uintptr.
type library struct {
	getPlatformIDs     func(count uint32, to *uintptr, found *uint32) int32
	getDeviceIDs       func(platform uintptr, kind uint64, count uint32, to *uintptr, found *uint32) int32
	getDeviceInfo      func(device uintptr, what uint32, size uintptr, to *byte, used *uintptr) int32
	createContext      func(properties uintptr, count uint32, devices *uintptr, notify, data uintptr, err *int32) uintptr
	createCommandQueue func(context, device uintptr, properties uint64, err *int32) uintptr
	createProgram      func(context uintptr, count uint32, source **byte, lengths *uintptr, err *int32) uintptr
	buildProgram       func(program uintptr, count uint32, devices *uintptr, options *byte, notify, data uintptr) int32
	getBuildInfo       func(program, device uintptr, what uint32, size uintptr, to *byte, used *uintptr) int32
	createKernel       func(program uintptr, name string, err *int32) uintptr
	setKernelArg       func(kernel uintptr, index uint32, size uintptr, value unsafe.Pointer) int32
	createBuffer       func(context uintptr, flags uint64, size, host uintptr, err *int32) uintptr
	enqueueKernel      func(queue, kernel uintptr, dims uint32, offset, global, local *uintptr, waits uint32, list, event uintptr) int32
	enqueueRead        func(queue, buffer uintptr, wait uint32, offset, size uintptr, to unsafe.Pointer, waits uint32, list, event uintptr) int32
	enqueueWrite       func(queue, buffer uintptr, wait uint32, offset, size uintptr, from unsafe.Pointer, waits uint32, list, event uintptr) int32
	release            map[string]func(object uintptr) int32
}

// open loads the library.
func open() (*library, error) {
	handle, err := purego.Dlopen(libraryName, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	l := &library{release: map[string]func(uintptr) int32{}}
	functions := map[string]any{
		"clGetPlatformIDs": &l.getPlatformIDs, "clGetDeviceIDs": &l.getDeviceIDs, "clGetDeviceInfo": &l.getDeviceInfo,
		"clCreateContext": &l.createContext, "clCreateCommandQueue": &l.createCommandQueue,
		"clCreateProgramWithSource": &l.createProgram, "clBuildProgram": &l.buildProgram, "clGetProgramBuildInfo": &l.getBuildInfo,
		"clCreateKernel": &l.createKernel, "clSetKernelArg": &l.setKernelArg, "clCreateBuffer": &l.createBuffer,
		"clEnqueueNDRangeKernel": &l.enqueueKernel, "clEnqueueReadBuffer": &l.enqueueRead, "clEnqueueWriteBuffer": &l.enqueueWrite,
	}
	for name, to := range functions {
		if err := load(handle, name, to); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"clReleaseMemObject", "clReleaseKernel", "clReleaseProgram", "clReleaseCommandQueue", "clReleaseContext"} {
		var f func(uintptr) int32
		if err := load(handle, name, &f); err != nil {
			return nil, err
		}
		l.release[name] = f
	}
	return l, nil
}

// load binds one function. A library without it is an error, not a crash.
func load(handle uintptr, name string, to any) error {
	symbol, err := purego.Dlsym(handle, name)
	if err != nil {
		return fmt.Errorf("%s has no function %s", libraryName, name)
	}
	purego.RegisterFunc(to, symbol)
	return nil
}

// failed names a call that returned an error of OpenCL's.
func failed(call string, code int32) error { return fmt.Errorf("opencl: %s: error %d", call, code) }
