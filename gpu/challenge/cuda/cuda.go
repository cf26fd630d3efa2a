//go:build linux

// Package cuda runs a challenge's kernels by NVIDIA's driver, loaded at run time:
// neither the build nor the machine needs the CUDA toolkit.
//
// The driver can hang, or end the process: whoever uses it does so in a process of
// its own, one for each device, with CUDA_VISIBLE_DEVICES set to its UUID.
package cuda

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/souk-market/souk/gpu/challenge/kernels"
)

// maxBlock is how many threads of a kernel share a block where it does not matter.
const maxBlock = 128

// Accelerator is one CUDA device. It implements [kernels.Accelerator].
type Accelerator struct {
	lib       *library
	device    int32
	ctx       uintptr
	functions map[string]uintptr
}

// Open takes the only device that the driver shows to this process, and compiles
// the kernels for it. Library is the path of the driver's library; empty: the
// system's own. The error is [ErrAbsent] where there is none, and an [*Error] where
// the driver refused something.
func Open(library string) (_ *Accelerator, err error) {
	lib, err := open(library)
	if err != nil {
		return nil, err
	}
	a := &Accelerator{lib: lib, functions: map[string]uintptr{}}
	if err := a.find(); err != nil {
		return nil, err
	}
	runtime.LockOSThread() // a context is of a thread
	defer runtime.UnlockOSThread()
	if err := lib.check("create a context", lib.ctxCreate(&a.ctx, 0, a.device)); err != nil {
		return nil, err
	}
	if err := a.load(); err != nil {
		lib.ctxDestroy(a.ctx)
		return nil, err
	}
	return a, nil
}

// find takes the device.
func (a *Accelerator) find() error {
	code := a.lib.start(0)
	if code == errNoDevice {
		return fmt.Errorf("%w: it has no device", ErrAbsent)
	}
	if err := a.lib.check("start", code); err != nil {
		return err
	}
	var count int32
	if err := a.lib.check("count devices", a.lib.deviceGetCount(&count)); err != nil {
		return err
	}
	if count != 1 {
		return fmt.Errorf("cuda: the driver shows %d devices, and one was meant: set CUDA_VISIBLE_DEVICES to its UUID", count)
	}
	return a.lib.check("take the device", a.lib.deviceGet(&a.device, 0))
}

// load compiles the kernels for the device.
func (a *Accelerator) load() error {
	ptx, err := kernels.PTX()
	if err != nil {
		return err
	}
	ptx = append(ptx, 0)
	log := make([]byte, maxLog)
	names := []int32{jitErrorLog, jitErrorLogSize}
	values := []uintptr{uintptr(unsafe.Pointer(&log[0])), maxLog} // a pointer and a number, in places of one size
	var module uintptr
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&log[0])
	if err := a.lib.check("compile the kernels", a.lib.moduleLoadDataEx(&module, &ptx[0], 2, &names[0], &values[0])); err != nil {
		return fmt.Errorf("%w: %.500s", err, text(&log[0], maxLog))
	}
	for _, name := range kernels.Names() {
		var f uintptr
		if err := a.lib.check("find the kernel "+name, a.lib.moduleFunction(&f, module, name)); err != nil {
			return err
		}
		a.functions[name] = f
	}
	return nil
}

// Name is what the driver calls the device.
func (a *Accelerator) Name() string {
	name := make([]byte, 256)
	if a.lib.deviceGetName(&name[0], int32(len(name)), a.device) != success {
		return ""
	}
	return text(&name[0], len(name))
}

// UUID is the device's id as NVML writes it for a whole GPU.
func (a *Accelerator) UUID() (string, error) {
	var u [16]byte
	if err := a.lib.check("read the UUID", a.lib.deviceGetUUID(&u, a.device)); err != nil {
		return "", err
	}
	return fmt.Sprintf("GPU-%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), nil
}

// with runs do on a thread that has the context.
func (a *Accelerator) with(call string, do func() int32) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := a.lib.check("take the context", a.lib.ctxSetCurrent(a.ctx)); err != nil {
		return err
	}
	return a.lib.check(call, do())
}

// Allocate implements [kernels.Accelerator].
func (a *Accelerator) Allocate(bytes uint64) (kernels.Buffer, error) {
	var to uint64
	err := a.with(fmt.Sprintf("allocate %d bytes", bytes), func() int32 { return a.lib.memAlloc(&to, uintptr(bytes)) })
	return to, err
}

// Launch implements [kernels.Accelerator].
func (a *Accelerator) Launch(kernel string, items, group uint32, args ...any) error {
	f, ok := a.functions[kernel]
	if !ok {
		return fmt.Errorf("cuda: no kernel %s", kernel)
	}
	if group == 0 {
		group = min(items&-items, maxBlock) // it divides items, which are few or a power of two
	}
	if items == 0 || items%group != 0 {
		return fmt.Errorf("cuda: %s: %d items in groups of %d", kernel, items, group)
	}
	params, values := make([]unsafe.Pointer, len(args)), make([]uint64, len(args))
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, arg := range args {
		switch v := arg.(type) {
		case uint32:
			values[i] = uint64(v) // the low half comes first
		case uint64:
			values[i] = v
		default:
			return fmt.Errorf("cuda: %s: argument %d is a %T", kernel, i, arg)
		}
		pin.Pin(&values[i])
		params[i] = unsafe.Pointer(&values[i])
	}
	return a.with("run "+kernel, func() int32 {
		return a.lib.launchKernel(f, items/group, 1, 1, group, 1, 1, 0, 0, &params[0], 0)
	})
}

// Read implements [kernels.Accelerator].
func (a *Accelerator) Read(from kernels.Buffer, offset uint64, to []byte) error {
	return a.with("read", func() int32 {
		if code := a.lib.ctxSynchronize(); code != success {
			return code
		}
		return a.lib.memcpyDtoH(unsafe.Pointer(unsafe.SliceData(to)), from.(uint64)+offset, uintptr(len(to)))
	})
}

// Write implements [kernels.Accelerator].
func (a *Accelerator) Write(to kernels.Buffer, from []byte) error {
	return a.with("write", func() int32 {
		return a.lib.memcpyHtoD(to.(uint64), unsafe.Pointer(unsafe.SliceData(from)), uintptr(len(from)))
	})
}

// Close gives the device back, with all memory that was taken.
func (a *Accelerator) Close() error {
	return a.lib.check("end the context", a.lib.ctxDestroy(a.ctx))
}
