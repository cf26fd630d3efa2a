package nvml

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/souk-market/souk/gpu"
	"golang.org/x/sys/unix"
)

// systemdRuns is there where systemd manages the machine.
const systemdRuns = "/run/systemd/system"

// Advice implements [gpu.Adviser]: systemd finds a container's devices by their links in
// /dev/char. Those that have none are taken from every running container when it reads
// its units anew (NVIDIA/nvidia-container-toolkit#48).
func (Probe) Advice() []gpu.Advice {
	if _, err := os.Stat(systemdRuns); err != nil {
		return nil
	}
	return unlinked("/dev", deviceNumber)
}

// deviceNumber tells which device a node is; ok is false for what is none.
func deviceNumber(path string) (major, minor uint64, ok bool) {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return 0, 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return uint64(unix.Major(uint64(stat.Rdev))), uint64(unix.Minor(uint64(stat.Rdev))), true
}

// unlinked are the nodes of the driver below dev without a link.
func unlinked(dev string, number func(string) (major, minor uint64, ok bool)) []gpu.Advice {
	var nodes, missing []string
	for _, pattern := range []string{"nvidia*", "nvidia-caps/*"} {
		found, _ := filepath.Glob(filepath.Join(dev, pattern)) // fails for a bad pattern alone
		nodes = append(nodes, found...)
	}
	slices.Sort(nodes)
	for _, n := range nodes {
		major, minor, ok := number(n)
		if !ok {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dev, "char", fmt.Sprintf("%d:%d", major, minor))); err != nil {
			missing = append(missing, n)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []gpu.Advice{{
		Text: fmt.Sprintf("systemctl daemon-reload takes %s from running containers: no links in %s", strings.Join(missing, ", "), filepath.Join(dev, "char")),
		Fix:  "nvidia-ctk system create-dev-char-symlinks --create-all, at each boot",
	}}
}
