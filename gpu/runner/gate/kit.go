package gate

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Kit is what makes souk run in any image: itself, and the host's loader with the
// libraries that it needs, in a folder.
type Kit struct {
	program string // on the host
	folder  string // on the host
	loader  string // its name in the folder; empty: the program needs none
}

// beside are libraries that a driver needs and the program may not have loaded.
var beside = [...]string{"libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1"}

// NewKit copies what program needs into folder. Program is one that this process runs,
// whose libraries are found where this process has them.
func NewKit(program, folder string) (*Kit, error) {
	k := &Kit{program: program, folder: folder}
	f, err := elf.Open(program)
	if err != nil {
		return nil, fmt.Errorf("devices' gate: %w", err)
	}
	defer f.Close()
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
		return nil, err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return nil, err
		}
		loader := strings.TrimRight(string(text), "\x00")
		k.loader = filepath.Base(loader)
		if err := k.copyLoader(loader); err != nil {
			return nil, err
		}
	}
	if k.loader == "" {
		return k, nil
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	return k, k.libraries(string(maps))
}

// libraries copies those that a process has in its memory, and some that lie beside.
func (k *Kit) libraries(maps string) error {
	had := map[string]bool{}
	for line := range strings.Lines(maps) {
		fields := strings.Fields(line)
		if len(fields) < 6 || had[fields[5]] || !strings.HasPrefix(fields[5], "/") || !strings.Contains(filepath.Base(fields[5]), ".so") {
			continue
		}
		path := fields[5]
		had[path] = true
		name := soname(path)
		if name == "" || name == k.loader {
			continue
		}
		if err := k.copy(path, name); err != nil {
			return err
		}
		if name != "libc.so.6" {
			continue
		}
		for _, other := range beside {
			if err := k.copy(filepath.Join(filepath.Dir(path), other), other); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// soname is the name that a library is loaded by.
func soname(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if names, err := f.DynString(elf.DT_SONAME); err == nil && len(names) > 0 {
		return filepath.Base(names[0])
	}
	return filepath.Base(path)
}

// preload is the file by which a loader of glibc lets whoever wrote it run code in every
// program. In a container that is the image, which must not run any in ours: the copy
// looks for it where there is none.
const preload, noPreload = "/etc/ld.so.preload\x00", Libraries + "/preload\x00"

func (k *Kit) copyLoader(from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return k.write(bytes.ReplaceAll(text, []byte(preload), []byte(noPreload)), k.loader)
}

func (k *Kit) copy(from, name string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return k.write(text, name)
}

func (k *Kit) write(text []byte, name string) error {
	path := filepath.Join(k.folder, name)
	return errors.Join(os.WriteFile(path, text, 0o755), os.Chmod(path, 0o755))
}

// Mounts are the files and folders of the host that a container is shown read-only,
// by their places in it.
func (k *Kit) Mounts() map[string]string {
	return map[string]string{Program: k.program, Libraries: k.folder}
}

// Command is the argv that runs one of the two programs in a container.
func (k *Kit) Command(driver string, args ...string) []string {
	if k.loader == "" {
		return append([]string{Program}, args...)
	}
	path := Libraries
	if driver != "" {
		path = driver + ":" + path
	}
	return append([]string{Libraries + "/" + k.loader, "--library-path", path, Program}, args...)
}
