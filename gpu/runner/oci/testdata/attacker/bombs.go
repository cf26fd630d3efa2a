package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// bombs take more than they may, or do not end.
var bombs = map[string]func([]string) int{
	"memory": func([]string) int { return memory() },
	"memory-of-children": func([]string) int {
		for range 8 {
			_ = exec.Command("/attacker", "memory").Start()
		}
		return memory()
	},
	"memory-in-tmp": func([]string) int { return fill("/tmp") },
	"memory-in-shm": func([]string) int { return fill("/dev/shm") },
	"fork": func([]string) int {
		fmt.Println("forking")
		for {
			if err := exec.Command("/attacker", "fork").Start(); err != nil {
				time.Sleep(time.Millisecond)
			}
		}
	},
	"disk":     func([]string) int { return fill("/out") },
	"one-file": func([]string) int { return oneFile() },
	"names":    func([]string) int { return names() },
	"deep":     func([]string) int { return deep() },
	"unlinked": func([]string) int { return unlinked() },
	"flood":    func([]string) int { return flood() },
	"deaf": func([]string) int {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		fmt.Println("deaf")
		return forever()
	},
	"silent":       func([]string) int { os.Stdout.Close(); os.Stderr.Close(); return forever() },
	"leave-behind": func([]string) int { _ = exec.Command("/attacker", "deaf").Start(); return 0 },
	"links":        func([]string) int { return links() },
	"environment":  func([]string) int { fmt.Println(strings.Join(os.Environ(), "\n")); return 0 },
	"user":         func([]string) int { fmt.Println(os.Getuid() != 0, "uid"); return forever() },
	"write-volume": func(args []string) int { return writeVolume(args[0]) },
	"shm-size": func([]string) int {
		var s syscall.Statfs_t
		err := syscall.Statfs("/dev/shm", &s)
		fmt.Println("shm", s.Blocks*uint64(s.Bsize), err)
		return 0
	},
	"where":         func([]string) int { dir, _ := os.Getwd(); fmt.Println(dir); return 0 },
	"fake-the-kill": func([]string) int { return 137 },
	"fake-the-exec": func([]string) int { fmt.Fprintln(os.Stderr, "exec /x: exec format error"); return 255 },
}

func memory() int {
	for all := [][]byte{}; ; {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
}

// fill writes files of a mebibyte until that fails.
func fill(dir string) int {
	for n := 0; ; n++ {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, n), make([]byte, 1<<20), 0o600); err != nil {
			fmt.Println("full")
			return 1
		}
	}
}

func oneFile() int {
	signal.Ignore(syscall.SIGXFSZ)
	f, err := os.Create("/out/one")
	if err != nil {
		return 2
	}
	for {
		if _, err := f.Write(make([]byte, 1<<16)); err != nil {
			return 1
		}
	}
}

func names() int {
	for n := 0; ; n++ {
		f, err := os.Create(fmt.Sprintf("/out/%d", n))
		if err != nil {
			return 1
		}
		f.Close()
	}
}

func deep() int {
	if err := os.Chdir("/out"); err != nil {
		return 1
	}
	for {
		if os.Mkdir("d", 0o700) != nil || os.Chdir("d") != nil {
			return 1
		}
	}
}

// unlinked fills files that have no name any more.
func unlinked() int {
	signal.Ignore(syscall.SIGXFSZ)
	for n := 0; ; n++ {
		f, err := os.Create("/out/unlinked")
		if err != nil {
			return 1
		}
		if err := os.Remove("/out/unlinked"); err != nil {
			return 1
		}
		if _, err := f.Write(make([]byte, 1<<19)); err != nil {
			return 1
		}
		if n == 200 {
			return 0
		}
	}
}

func flood() int {
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 64 << 10 {
		if _, err := os.Stdout.Write(line); err != nil {
			return 1
		}
	}
	return 0
}

// links leaves what leads elsewhere or is no file.
func links() int {
	for name, to := range map[string]string{"absolute": "/etc/passwd", "up": "../../../../etc/shadow", "root": "/", "self": "self"} {
		if err := os.Symlink(to, "/out/"+name); err != nil {
			return 1
		}
	}
	if err := os.Mkdir("/out/folder", 0o700); err != nil {
		return 1
	}
	if syscall.Mkfifo("/out/pipe", 0o600) != nil || os.Symlink("..", "/out/folder/up") != nil || os.WriteFile("/out/folder/kept", []byte("kept"), 0) != nil {
		return 1
	}
	return 0
}

func writeVolume(dir string) int {
	err := os.WriteFile(dir+"/x", make([]byte, 1<<20), 0o600)
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.SplitSeq(string(mounts), "\n") {
		if strings.Contains(line, " "+dir+" ") {
			fmt.Println(strings.Fields(line)[2], strings.Contains(line, "nosuid") && strings.Contains(line, "nodev"))
		}
	}
	if err != nil {
		return 1
	}
	return 0
}
