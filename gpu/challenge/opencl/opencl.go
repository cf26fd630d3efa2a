//go:build linux

// Package opencl runs a challenge's kernels by a machine's OpenCL driver, loaded at
// run time: the build needs neither OpenCL nor a C compiler.
//
// Its driver can hang, or end the process: whoever uses it does so in a process of
// its own.
package opencl

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/souk-market/souk/gpu/challenge/kernels"
)

// Accelerator is one OpenCL device. It implements [kernels.Accelerator].
type Accelerator struct {
	lib     *library
	device  uintptr
	context uintptr
	queue   uintptr
	program uintptr
	kernels map[string]uintptr
	buffers []uintptr
}

// Open takes the OpenCL device of an index over all platforms, and builds the
// kernels for it. The error is [ErrAbsent] where there is none.
func Open(index int) (_ *Accelerator, err error) {
	lib, err := open()
	if err != nil {
		return nil, err
	}
	devices, err := lib.devices()
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= len(devices) {
		return nil, fmt.Errorf("%w: device %d of %d", ErrAbsent, index, len(devices))
	}
	a := &Accelerator{lib: lib, device: devices[index], kernels: map[string]uintptr{}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	var code int32
	if a.context = lib.createContext(0, 1, &a.device, 0, 0, &code); code != 0 {
		return nil, failed("create a context", code)
	}
	if a.queue = lib.createCommandQueue(a.context, a.device, 0, &code); code != 0 {
		return nil, failed("create a queue", code)
	}
	return a, a.build(kernels.Source)
}

// devices lists those of all platforms.
func (l *library) devices() ([]uintptr, error) {
	platforms, err := list(func(count uint32, to *uintptr, found *uint32) int32 { return l.getPlatformIDs(count, to, found) })
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	var all []uintptr
	for _, p := range platforms {
		here, err := list(func(count uint32, to *uintptr, found *uint32) int32 {
			return l.getDeviceIDs(p, deviceTypeAll, count, to, found)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, here...)
	}
	return all, nil
}

// list asks how many there are, and then for them.
func list(ask func(count uint32, to *uintptr, found *uint32) int32) ([]uintptr, error) {
	var found uint32
	if code := ask(0, nil, &found); code == deviceNotFound || code == 0 && found == 0 {
		return nil, nil
	} else if code != 0 {
		return nil, failed("count", code)
	}
	ids := make([]uintptr, found)
	if code := ask(found, &ids[0], &found); code != 0 {
		return nil, failed("list", code)
	}
	return ids[:min(len(ids), int(found))], nil
}

// build compiles the kernels, which some drivers do only now.
func (a *Accelerator) build(source string) error {
	var code int32
	text, length := unsafe.StringData(source), uintptr(len(source))
	if a.program = a.lib.createProgram(a.context, 1, &text, &length, &code); code != 0 {
		return failed("take the source", code)
	}
	options := []byte("-cl-std=CL1.2\x00")
	if code := a.lib.buildProgram(a.program, 1, &a.device, &options[0], 0, 0); code != 0 {
		return fmt.Errorf("%w: %s", failed("build the kernels", code), a.info(func(size uintptr, to *byte, used *uintptr) int32 {
			return a.lib.getBuildInfo(a.program, a.device, programLog, size, to, used)
		}))
	}
	for _, name := range kernels.Names() {
		if a.kernels[name] = a.lib.createKernel(a.program, name, &code); code != 0 {
			return failed("find the kernel "+name, code)
		}
	}
	return nil
}

// Name is what the driver calls the device.
func (a *Accelerator) Name() string {
	return a.info(func(size uintptr, to *byte, used *uintptr) int32 {
		return a.lib.getDeviceInfo(a.device, deviceName, size, to, used)
	})
}

// info reads a text of at most 4 KiB.
func (a *Accelerator) info(ask func(size uintptr, to *byte, used *uintptr) int32) string {
	text, used := make([]byte, 4096), uintptr(0)
	if code := ask(uintptr(len(text)), &text[0], &used); code != 0 {
		return ""
	}
	out, _, _ := strings.Cut(string(text[:min(int(used), len(text))]), "\x00")
	return out
}

// Allocate implements [kernels.Accelerator].
func (a *Accelerator) Allocate(bytes uint64) (kernels.Buffer, error) {
	var code int32
	b := a.lib.createBuffer(a.context, memReadWrite, uintptr(bytes), 0, &code)
	if code != 0 {
		return nil, failed(fmt.Sprintf("allocate %d bytes", bytes), code)
	}
	a.buffers = append(a.buffers, b)
	return b, nil
}

// Launch implements [kernels.Accelerator].
func (a *Accelerator) Launch(kernel string, items, group uint32, args ...any) error {
	k, ok := a.kernels[kernel]
	if !ok {
		return fmt.Errorf("opencl: no kernel %s", kernel)
	}
	for i, arg := range args {
		var code int32
		switch v := arg.(type) {
		case uint32:
			code = a.lib.setKernelArg(k, uint32(i), unsafe.Sizeof(v), unsafe.Pointer(&v))
		case uintptr:
			code = a.lib.setKernelArg(k, uint32(i), unsafe.Sizeof(v), unsafe.Pointer(&v))
		default:
			return fmt.Errorf("opencl: %s: argument %d is a %T", kernel, i, arg)
		}
		if code != 0 {
			return failed(fmt.Sprintf("%s: argument %d", kernel, i), code)
		}
	}
	global, local := uintptr(items), uintptr(group)
	size := &local
	if group == 0 {
		size = nil
	}
	if code := a.lib.enqueueKernel(a.queue, k, 1, nil, &global, size, 0, 0, 0); code != 0 {
		return failed("run "+kernel, code)
	}
	return nil
}

// Read implements [kernels.Accelerator].
func (a *Accelerator) Read(from kernels.Buffer, offset uint64, to []byte) error {
	if code := a.lib.enqueueRead(a.queue, from.(uintptr), blocking, uintptr(offset), uintptr(len(to)), unsafe.Pointer(unsafe.SliceData(to)), 0, 0, 0); code != 0 {
		return failed("read", code)
	}
	return nil
}

// Write implements [kernels.Accelerator].
func (a *Accelerator) Write(to kernels.Buffer, from []byte) error {
	if code := a.lib.enqueueWrite(a.queue, to.(uintptr), blocking, 0, uintptr(len(from)), unsafe.Pointer(unsafe.SliceData(from)), 0, 0, 0); code != 0 {
		return failed("write", code)
	}
	return nil
}

// Close gives back what Open and Allocate took.
func (a *Accelerator) Close() error {
	var errs []error
	free := func(call string, object uintptr) {
		if object == 0 {
			return
		}
		if code := a.lib.release[call](object); code != 0 {
			errs = append(errs, failed(call, code))
		}
	}
	for _, b := range a.buffers {
		free("clReleaseMemObject", b)
	}
	for _, k := range a.kernels {
		free("clReleaseKernel", k)
	}
	free("clReleaseProgram", a.program)
	free("clReleaseCommandQueue", a.queue)
	free("clReleaseContext", a.context)
	return errors.Join(errs...)
}
