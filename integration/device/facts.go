package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// facts notes what the later stages depend on. Nothing here can fail.
func facts(ctx context.Context, s site, n *notes) error {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		n.figure("kernel", unix.ByteSliceToString(u.Release[:]))
	}
	n.figure("cores", runtime.NumCPU())
	n.figure("root", os.Geteuid() == 0)
	n.figure("cgroup", cgroupVersion())
	n.figure("overlay", strings.Contains(content("/proc/filesystems"), "overlay"))
	n.figure("user namespaces", said(ctx, "unshare", "-Urm", "true"))
	n.figure("maker of containers", said(ctx, s.program(s.maker()), "--version"))
	nodes, _ := filepath.Glob("/dev/nvidia*") // the pattern is good
	n.figure("nodes", nodes)
	links, _ := filepath.Glob("/dev/char/195:*")
	n.figure("links in /dev/char", len(links))
	n.figure("driver", first(strings.Split(content("/proc/driver/nvidia/version"), "\n")))
	n.figure("driver parameters", content("/proc/driver/nvidia/params"))
	n.figure("libcuda", found("libcuda.so*"))
	return nil
}

// cgroupVersion is 2, 1, both, or none.
func cgroupVersion() string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "2"
	}
	if _, err := os.Stat("/sys/fs/cgroup/unified/cgroup.controllers"); err == nil {
		return "both"
	}
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err == nil {
		return "1"
	}
	return "none"
}

// found are the files of a name where drivers lie.
func found(pattern string) (all []string) {
	for _, dir := range []string{"/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/nvidia/lib64", "/usr/local/cuda/compat", "/run/nvidia/driver/usr/lib*"} {
		more, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is good
		all = append(all, more...)
	}
	return all
}

// content is a file's text, or why there is none.
func content(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// said is the first line that a command prints, "yes" for one that prints nothing, or
// why it failed.
func said(ctx context.Context, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	line := first(strings.Split(strings.TrimSpace(string(out)), "\n"))
	switch {
	case err != nil:
		return strings.TrimSpace("no: " + err.Error() + " " + line)
	case line == "":
		return "yes"
	}
	return line
}
