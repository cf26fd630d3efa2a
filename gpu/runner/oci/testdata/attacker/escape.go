package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// files are attempts on the files of the host and of the image.
func files(h host) (all []attempt) {
	up := strings.Repeat("../", 20)
	for _, path := range []string{h.canary, "/in/" + up + h.canary, "/out/" + up + h.canary, "/proc/1/root" + h.canary, "/proc/self/cwd/" + up + h.canary,
		"/in/link", "/in/proc-link", h.socket, "/var/run/docker.sock", "/run/podman/podman.sock", "/etc/ssh/ssh_host_ed25519_key", "/etc/shadow", "/proc/1/root/var/lib/containers"} {
		all = append(all, reads(path))
	}
	for path, text := range map[string]string{"/attacker": "x", "/etc/hosts": "x", "/etc/resolv.conf": "x", "/etc/hostname": "x", "/in/greeting": "x", "/in/link": "x"} {
		all = append(all, refused("write "+path, func() error { return write(path, text) }))
	}
	for _, path := range []string{"/new", "/bin/new", "/etc/new", "/in/new", "/usr/new", "/lib/new", "/var/new", "/dev/new", "/sys/new", "/proc/new"} {
		all = append(all, refused("create "+path, func() error { return os.WriteFile(path, []byte("x"), 0o600) }))
	}
	mount := func(name, source, target, kind string, flags uintptr) {
		all = append(all, refused(name, func() error { return unix.Mount(source, target, kind, flags, "") }))
	}
	mount("make the root writable", "", "/", "", unix.MS_REMOUNT)
	mount("make /in writable", "", "/in", "", unix.MS_REMOUNT|unix.MS_BIND)
	mount("mount memory", "none", "/tmp", "tmpfs", 0)
	mount("mount proc", "proc", "/tmp", "proc", 0)
	mount("mount sysfs", "sysfs", "/tmp", "sysfs", 0)
	mount("mount cgroup", "cgroup", "/tmp", "cgroup", 0)
	mount("mount cgroup2", "cgroup2", "/tmp", "cgroup2", 0)
	mount("mount debugfs", "debugfs", "/tmp", "debugfs", 0)
	mount("mount devpts", "devpts", "/tmp", "devpts", 0)
	mount("mount overlay", "overlay", "/tmp", "overlay", 0)
	mount("bind proc", "/proc", "/tmp", "", unix.MS_BIND)
	mount("share mounts", "", "/", "", unix.MS_SHARED|unix.MS_REC)
	return append(all,
		refused("unmount /in", func() error { return unix.Unmount("/in", unix.MNT_DETACH) }),
		refused("unmount /proc/kcore", func() error { return unix.Unmount("/proc/kcore", unix.MNT_DETACH) }),
		refused("pivot_root", func() error { return unix.PivotRoot("/tmp", "/tmp") }),
		refused("chroot", func() error { return unix.Chroot("/out") }),
		refused("link an input", func() error { return os.Link("/in/greeting", "/out/linked") }),
		refused("move an input", func() error { return os.Rename("/in/greeting", "/out/moved") }),
		refused("open by handle", func() error {
			_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), unix.O_RDONLY)
			return err
		}),
		refused("new mount API", func() error { _, err := unix.Fsopen("tmpfs", 0); return err }),
		refused("clone a mount", func() error { _, err := unix.OpenTree(unix.AT_FDCWD, "/in", unix.OPEN_TREE_CLONE); return err }),
	)
}

// devices are attempts to reach devices.
func devices() (all []attempt) {
	for name, number := range map[string]uint64{"memory": unix.Mkdev(1, 1), "kmsg": unix.Mkdev(1, 11), "sda": unix.Mkdev(8, 0), "vda": unix.Mkdev(254, 0),
		"loop": unix.Mkdev(7, 0), "nvidia": unix.Mkdev(195, 0), "fuse": unix.Mkdev(10, 229), "kvm": unix.Mkdev(10, 232)} {
		for _, kind := range []uint32{unix.S_IFCHR, unix.S_IFBLK} {
			all = append(all, refused(fmt.Sprintf("make the device %s of kind %o", name, kind), func() error {
				path := filepath.Join("/out", fmt.Sprintf("device-%s-%o", name, kind))
				return unix.Mknod(path, kind|0o666, int(number))
			}))
		}
	}
	for _, path := range []string{"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop0", "/dev/loop-control",
		"/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/vhost-net", "/dev/vsock", "/dev/nvidia0", "/dev/nvidiactl", "/dev/dri/renderD128", "/dev/mapper/control"} {
		all = append(all, refused("open "+path, func() error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err == nil {
				f.Close()
			}
			return err
		}))
	}
	return all
}

// kernel are attempts on what the kernel shows as files.
func kernel() (all []attempt) {
	for path, text := range map[string]string{"/proc/sys/kernel/core_pattern": "|/out/x", "/proc/sys/kernel/modprobe": "/out/x", "/proc/sys/vm/overcommit_memory": "1",
		"/proc/sys/vm/drop_caches": "3", "/proc/sys/kernel/hostname": "x", "/proc/sysrq-trigger": "b", "/proc/self/oom_score_adj": "-1000", "/proc/irq/default_smp_affinity": "1",
		"/sys/kernel/mm/transparent_hugepage/enabled": "never", "/sys/kernel/uevent_helper": "/out/x", "/sys/power/state": "mem", "/sys/block/vda/queue/read_ahead_kb": "1",
		"/proc/self/uid_map": "0 0 1", "/proc/self/gid_map": "0 0 1", "/proc/self/setgroups": "allow", "/proc/1/oom_score_adj": "-1000", "/proc/bus/pci/00/00.0": "x",
		"/proc/self/attr/current": "unconfined", "/proc/sys/fs/binfmt_misc/register": ":x:M::x::/out/x:"} {
		all = append(all, refused("write "+path, func() error { return write(path, text) }))
	}
	for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats",
		"/sys/firmware/dmi/tables/DMI", "/sys/kernel/debug/x", "/proc/scsi/scsi", "/proc/kmsg"} {
		all = append(all, reads(path))
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*")
	for _, g := range append(groups, "/sys/fs/cgroup") {
		all = append(all,
			refused("make a group in "+g, func() error { return os.Mkdir(filepath.Join(g, "escape"), 0o700) }),
			refused("raise the memory of "+g, func() error { return write(filepath.Join(g, "memory.limit_in_bytes"), "-1") }),
			refused("lift the processes of "+g, func() error { return write(filepath.Join(g, "pids.max"), "max") }),
			refused("set the release agent of "+g, func() error { return write(filepath.Join(g, "release_agent"), "/out/x") }),
			refused("allow devices of "+g, func() error { return write(filepath.Join(g, "devices.allow"), "a") }),
			refused("leave "+g, func() error { return write(filepath.Join(g, "cgroup.procs"), "0") }))
	}
	return all
}

// processes are attempts on other processes and on who it is.
func processes(h host) []attempt {
	status, _ := os.ReadFile("/proc/self/status")
	says := func(line string) attempt {
		return attempt{"status " + line, func() string {
			if strings.Contains(string(status), line) {
				return ""
			}
			return string(status)
		}}
	}
	return []attempt{
		says("CapInh:\t0000000000000000"), says("CapPrm:\t0000000000000000"), says("CapEff:\t0000000000000000"), says("CapBnd:\t0000000000000000"),
		says("CapAmb:\t0000000000000000"), says("NoNewPrivs:\t1"), says("Seccomp:\t2"),
		{"groups of others", func() string {
			groups, _ := os.Getgroups()
			for _, g := range groups {
				if g != os.Getgid() {
					return fmt.Sprint(groups)
				}
			}
			return ""
		}},
		refused("kill the runner", func() error { return unix.Kill(h.pid, 0) }),
		refused("trace the runner", func() error { return unix.PtraceAttach(h.pid) }),
		refused("read the runner's memory", func() error {
			local, remote := []unix.Iovec{{Base: new(byte), Len: 1}}, []unix.RemoteIovec{{Base: 0x400000, Len: 1}}
			_, err := unix.ProcessVMReadv(h.pid, local, remote, 0)
			return err
		}),
		{"see other processes", func() string {
			ids, _ := filepath.Glob("/proc/[0-9]*")
			if len(ids) > 1 {
				return fmt.Sprint(ids)
			}
			return ""
		}},
		{"be root", func() string {
			if self, _ := os.ReadFile("/proc/self/uid_map"); os.Getuid() == 0 && strings.Fields(string(self))[1] == "0" {
				return "uid 0 of the host"
			}
			return ""
		}},
		refused("become root", func() error { return unix.Setresuid(0, 0, 0) }),
		refused("become another group", func() error { return unix.Setresgid(0, 0, 0) }),
		refused("take groups", func() error { return unix.Setgroups([]int{0}) }),
		refused("raise a limit", func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}) }),
		refused("lift the limit of files' sizes", func() error {
			return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		}),
		refused("be first", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -20) }),
		refused("join the first namespace", func() error {
			fd, err := unix.Open("/proc/1/ns/mnt", unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			return unix.Setns(fd, 0)
		}),
	}
}

// network are attempts to talk to anybody.
func network(h host) (all []attempt) {
	for _, to := range []string{"1.1.1.1:53", "127.0.0.1:" + h.port, "[::1]:" + h.port, "169.254.169.254:80", "10.0.2.2:80", "192.168.1.1:80", "172.17.0.1:80"} {
		all = append(all, refused("connect to "+to, func() error { _, err := net.DialTimeout("tcp", to, time.Second); return err }))
	}
	for name, s := range map[string][3]int{"raw packets": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, "packets of the link": {unix.AF_PACKET, unix.SOCK_RAW, 0},
		"raw packets of version 6": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6}} {
		all = append(all, refused("open a socket for "+name, func() error { _, err := unix.Socket(s[0], s[1], s[2]); return err }))
	}
	return append(all,
		attempt{"other interfaces than its own", func() string {
			list, _ := net.Interfaces()
			if len(list) > 1 || len(list) == 1 && list[0].Name != "lo" {
				return fmt.Sprint(list)
			}
			return ""
		}},
		refused("an abstract socket of the host", func() error { _, err := net.Dial("unix", "@souk-attack-"+h.port); return err }),
		refused("the kernel's ciphers", func() error { _, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0); return err }),
		refused("the host by vsock", func() error {
			_, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
			return err
		}),
	)
}

// calls are calls of the kernel that a job has no use for.
func calls() (all []attempt) {
	for name, flags := range map[string]int{"user": unix.CLONE_NEWUSER, "mount": unix.CLONE_NEWNS, "process": unix.CLONE_NEWPID, "network": unix.CLONE_NEWNET,
		"name": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP} {
		all = append(all, refused("unshare the "+name+" namespace", func() error { return unix.Unshare(flags) }))
	}
	raw := func(name string, number uintptr, a ...uintptr) {
		all = append(all, refused(name, func() error {
			var args [6]uintptr
			copy(args[:], a)
			_, _, errno := unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
			if errno == unix.EPERM || errno == unix.ENOSYS || errno == unix.EACCES {
				return errno
			}
			return nil // it was let in, whatever it said of the arguments
		}))
	}
	raw("bpf", unix.SYS_BPF, 5)
	raw("perf_event_open", unix.SYS_PERF_EVENT_OPEN)
	raw("userfaultfd", unix.SYS_USERFAULTFD)
	raw("init_module", unix.SYS_INIT_MODULE)
	raw("finit_module", unix.SYS_FINIT_MODULE)
	raw("delete_module", unix.SYS_DELETE_MODULE)
	raw("kexec_load", unix.SYS_KEXEC_LOAD)
	raw("reboot", unix.SYS_REBOOT, 0xfee1dead, 672274793, 0)
	raw("swapon", unix.SYS_SWAPON)
	raw("acct", unix.SYS_ACCT)
	raw("quotactl", unix.SYS_QUOTACTL)
	raw("syslog", unix.SYS_SYSLOG, 10)
	raw("vhangup", unix.SYS_VHANGUP)
	raw("lookup_dcookie", 212)
	raw("move_pages", unix.SYS_MOVE_PAGES, 1)
	// Keys may be used, in rings of its own: those of the host are not in them.
	for name, ring := range map[string]int{"session": unix.KEY_SPEC_SESSION_KEYRING, "user": unix.KEY_SPEC_USER_KEYRING, "user session": unix.KEY_SPEC_USER_SESSION_KEYRING} {
		all = append(all, refused("a key of the host by the ring of the "+name, func() error {
			_, err := unix.KeyctlSearch(ring, "user", "souk-attack", 0)
			return err
		}))
	}
	all = append(all,
		refused("set the clock", func() error { return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: 1}) }),
		refused("set the time", func() error { return unix.Settimeofday(&unix.Timeval{Sec: 1}) }),
		refused("adjust the clock", func() error { _, err := unix.Adjtimex(&unix.Timex{Modes: 1}); return err }),
		refused("name the host", func() error { return unix.Sethostname([]byte("x")) }),
		refused("name the domain", func() error { return unix.Setdomainname([]byte("x")) }),
		refused("watch all files", func() error { _, err := unix.FanotifyInit(0, 0); return err }),
	)
	return all
}
