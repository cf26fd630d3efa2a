//go:build cgo

package nvml

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/nvidia-container-toolkit/pkg/nvcdi"
	"tags.cncf.io/container-device-interface/specs-go"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/child"
)

// EditsMain is the body of the child process that makes edits: it reads one line with
// the devices, writes one with the edits or why there are none, and returns the exit code.
func EditsMain(stdin io.Reader, stdout, stderr io.Writer) int {
	lines := bufio.NewScanner(stdin)
	lines.Buffer(nil, maxListing)
	var order wanted
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &order) != nil {
		fmt.Fprintln(stderr, "no order")
		return child.Failed
	}
	go func() { // the call that hangs may be one of ours: only an exit ends it
		_, _ = io.Copy(io.Discard, stdin)
		os.Exit(0)
	}()
	var answer edited
	var err error
	if answer.Edits, err = makeEdits(order.IDs, os.Getenv); err != nil {
		answer = edited{Error: oneLine(err)}
	}
	if json.NewEncoder(stdout).Encode(answer) != nil {
		return child.Failed
	}
	return 0
}

// driverRoots are where a driver may be, beside where it is told to be: images that
// bring a driver have it there.
var driverRoots = [...]string{"/", "/usr/local/nvidia", "/run/nvidia/driver"}

// makeEdits asks the driver for the edits of ids.
func makeEdits(ids []string, env func(string) string) (gpu.Edits, error) {
	s, closed, err := open(env(LibraryVariable))
	if err != nil {
		return gpu.Edits{}, err
	}
	defer closed()
	for _, name := range []string{"nvmlSystemGetDriverVersion", "nvmlDeviceGetHandleByUUID", "nvmlDeviceIsMigDeviceHandle", "nvmlDeviceGetIndex", "nvmlDeviceGetMinorNumber", "nvmlDeviceGetPciInfo_v3"} {
		if !s.has(name) {
			return gpu.Edits{}, fmt.Errorf("the driver's library has no function %s: the driver is too old", name)
		}
	}
	roots := driverRoots[:]
	if told := env(DriverRootVariable); told != "" {
		roots = []string{told}
	}
	m := maker{session: s, dev: cmp.Or(env(DevRootVariable), "/"), proc: cmp.Or(env(ProcVariable), "/proc/driver")}
	var common *specs.ContainerEdits
	for _, root := range roots {
		if err = m.at(root); err == nil {
			if common, err = m.common(); err == nil {
				break
			}
		}
	}
	if err != nil {
		return gpu.Edits{}, err
	}
	e := gpu.Edits{Folder: gpu.DriverFolder}
	if err := m.give(&e, common); err != nil {
		return gpu.Edits{}, err
	}
	for _, id := range ids {
		if err := m.device(&e, id); err != nil {
			return gpu.Edits{}, fmt.Errorf("device %s: %w", id, err)
		}
	}
	return e, nil
}

// maker makes the edits of one container.
type maker struct {
	session *session
	cdi     nvcdi.Interface
	dev     string // below which /dev is
	proc    string
}

// at takes the driver below root.
func (m *maker) at(root string) (err error) {
	namer, err := nvcdi.NewDeviceNamer(nvcdi.DeviceNameStrategyUUID)
	if err != nil {
		return err
	}
	m.cdi, err = nvcdi.New(nvcdi.WithMode(nvcdi.ModeNvml), nvcdi.WithNvmlLib(m.session.api), nvcdi.WithDriverRoot(root), nvcdi.WithDevRoot(m.dev),
		nvcdi.WithDeviceNamers(namer), nvcdi.WithDisabledHooks(nvcdi.AllHooks), nvcdi.WithLogger(silent{}),
		nvcdi.WithFeatureFlags(nvcdi.FeatureDisableNvsandboxUtils, nvcdi.FeatureDisableIPCDiscoverer, nvcdi.FeatureNoAdditionalGIDsForDeviceNodes))
	return err
}

// common is what every container of the driver needs.
func (m *maker) common() (*specs.ContainerEdits, error) {
	got, err := m.cdi.GetCommonEdits()
	if err != nil {
		return nil, err
	}
	for _, mount := range got.Mounts {
		if strings.HasPrefix(filepath.Base(mount.HostPath), "libcuda.so.") {
			return got.ContainerEdits, nil
		}
	}
	return nil, errors.New("the driver's library libcuda is not found on this machine: install the driver's compute part")
}

// device adds what one device needs.
func (m *maker) device(e *gpu.Edits, id string) error {
	handle, ret := m.session.api.DeviceGetHandleByUUID(id)
	if ret != nvml.SUCCESS {
		return fmt.Errorf("the driver does not know it: %s", answered(int32(ret), gpu.Device{}))
	}
	slice, ret := handle.IsMigDeviceHandle()
	if ret != nvml.SUCCESS {
		return errors.New(answered(int32(ret), gpu.Device{}))
	}
	if slice {
		return m.slice(e, handle)
	}
	found, err := m.cdi.GetDeviceSpecsByID(id)
	if err != nil {
		return err
	}
	for _, d := range found {
		if d.Name != id {
			continue // a spec that knows only all devices, or numbers, is of no use
		}
		before := len(e.Nodes)
		if err := m.give(e, &d.ContainerEdits); err != nil {
			return err
		}
		if len(e.Nodes) == before {
			return errors.New("it has no device node: load the driver's modules, or run nvidia-smi once as root")
		}
		return nil
	}
	return errors.New("the driver's device list has no entry under its UUID, and a lease is of one device, never of all")
}

// graphics are how libraries begin that draw: they need hooks to work, and add mounts.
var graphics = [...]string{"libGL", "libEGL", "libglx", "libnvidia-gl", "libnvidia-egl", "libnvidia-tls", "libnvidia-fbc", "libnvidia-vksc", "libvdpau",
	"libnvidia-gtk", "libnvidia-wayland", "libnvidia-xcfg", "libnvidia-present", "libnvidia-api"}

// give turns NVIDIA's edits into ours. Of nodes those that compute, of files the
// libraries and nvidia-smi; its hooks are off and none is taken.
func (m *maker) give(e *gpu.Edits, from *specs.ContainerEdits) error {
	if len(from.Hooks) > 0 {
		return errors.New("NVIDIA's edits want a program run on the host, which is not done")
	}
	for _, d := range from.DeviceNodes {
		if strings.HasPrefix(d.Path, "/dev/nvidia") && d.Path != "/dev/nvidia-modeset" {
			m.node(e, d.Path)
		}
	}
	for _, f := range from.Mounts {
		base := filepath.Base(f.HostPath)
		switch {
		case base == "nvidia-smi":
			addFile(e, f.HostPath, base)
		case strings.Contains(base, ".so.") && !slices.ContainsFunc(graphics[:], func(p string) bool { return strings.HasPrefix(base, p) }):
			if name := soname(f.HostPath); name != "" {
				addFile(e, f.HostPath, name)
			}
		}
	}
	return nil
}

// node adds a node by its usual path.
func (m *maker) node(e *gpu.Edits, path string) {
	n := gpu.Node{Host: filepath.Join(m.dev, path), Path: path}
	if !slices.Contains(e.Nodes, n) {
		e.Nodes = append(e.Nodes, n)
	}
}

// addFile adds a file under the name that programs know it by. Libcuda has a second,
// by which older programs load it.
func addFile(e *gpu.Edits, host, name string) {
	for _, name := range append([]string{name}, map[string][]string{"libcuda.so.1": {"libcuda.so"}}[name]...) {
		path := gpu.DriverFolder + "/" + name
		if !slices.ContainsFunc(e.Files, func(f gpu.File) bool { return f.Path == path }) {
			e.Files = append(e.Files, gpu.File{Host: host, Path: path})
		}
	}
}

func oneLine(err error) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, err.Error())
}

// silent is a log that nobody reads: what matters is in errors.
type silent struct{}

func (silent) Debugf(string, ...any)   {}
func (silent) Errorf(string, ...any)   {}
func (silent) Info(...any)             {}
func (silent) Infof(string, ...any)    {}
func (silent) Warning(...any)          {}
func (silent) Warningf(string, ...any) {}
func (silent) Tracef(string, ...any)   {}
