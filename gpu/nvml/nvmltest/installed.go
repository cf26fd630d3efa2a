package nvmltest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// Installed is a driver as it lies on a machine, made up: libraries, nodes that do
// nothing, and the kernel's list of slices.
type Installed struct {
	Root string // the driver's libraries lie below it
	Dev  string // dev/ with its nodes lies below it
	Proc string // in place of /proc/driver
}

// Environment is what makes a probe find the driver, beside its library.
func (i Installed) Environment() map[string]string {
	return map[string]string{"SOUK_NVML_DRIVER_ROOT": i.Root, "SOUK_NVML_DEV_ROOT": i.Dev, "SOUK_NVML_PROC": i.Proc}
}

var (
	versionLine = regexp.MustCompile(`(?m)^driver (\S+)$`)
	deviceLine  = regexp.MustCompile(`(?m)^(gpu|slice) `)
)

// Install puts the driver of a machine below dir. The machine is also in the library
// that is installed, for containers. The nodes are of the kind of /dev/null, so that
// whoever is not root cannot make them.
func (l *Library) Install(dir string, machine []byte) (Installed, error) {
	i := Installed{Root: filepath.Join(dir, "driver"), Dev: filepath.Join(dir, "nodes"), Proc: filepath.Join(dir, "proc")}
	v := versionLine.FindSubmatch(machine)
	if v == nil {
		return i, errors.New("the machine has no driver")
	}
	lib := filepath.Join(i.Root, "usr", "lib64")
	for _, d := range []string{lib, filepath.Join(i.Dev, "dev", "nvidia-caps"), filepath.Join(i.Proc, "nvidia-caps")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return i, err
		}
	}
	if err := l.libraries(lib, string(v[1]), machine); err != nil {
		return i, err
	}
	return i, i.nodes(machine)
}

// libraries puts two libraries under their names of a version, and a program.
func (l *Library) libraries(dir, version string, machine []byte) error {
	text, err := os.ReadFile(l.Path)
	if err != nil {
		return err
	}
	text = append(append(text, "\n# machine of this library\n"...), machine...)
	cuda := filepath.Join(dir, "libcuda.so."+version)
	return errors.Join(os.WriteFile(filepath.Join(dir, "libnvidia-ml.so."+version), text, 0o755),
		compiler("-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o", cuda, filepath.Join(l.dir, "driver", "libcuda.c")))
}

// nodes makes those of each card and slice.
func (i Installed) nodes(machine []byte) error {
	names := []string{"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"}
	var minors strings.Builder
	card, place := -1, 0
	for _, m := range deviceLine.FindAllSubmatch(machine, -1) {
		if bytes.Equal(m[1], []byte("gpu")) {
			card, place = card+1, 0
			names = append(names, fmt.Sprintf("nvidia%d", card))
			continue
		}
		number := 16 + 2*place
		fmt.Fprintf(&minors, "gpu%d/gi%d/access %d\ngpu%d/gi%d/ci0/access %d\n", card, place+1, number, card, place+1, number+1)
		names = append(names, fmt.Sprintf("nvidia-caps/nvidia-cap%d", number), fmt.Sprintf("nvidia-caps/nvidia-cap%d", number+1))
		place++
	}
	for _, n := range names {
		path := filepath.Join(i.Dev, "dev", n)
		err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
		if err == nil {
			err = os.Chmod(path, 0o666)
		}
		if err != nil {
			return fmt.Errorf("make the node %s: %w", n, err)
		}
	}
	return os.WriteFile(filepath.Join(i.Proc, "nvidia-caps", "mig-minors"), []byte(minors.String()), 0o644)
}
