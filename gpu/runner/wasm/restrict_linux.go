package wasm

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights that landlock can take away; each kernel knows those up to its version.
const (
	readFile = unix.LANDLOCK_ACCESS_FS_READ_FILE
	readTree = readFile | unix.LANDLOCK_ACCESS_FS_READ_DIR
	runFile  = readFile | unix.LANDLOCK_ACCESS_FS_EXECUTE
	// No links, no devices, no sockets.
	writeTree = readTree | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_REFER |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
	first = 1<<13 - 1 // all that the first version knows
)

// libraries are where a dynamically linked program looks for what it needs.
var libraries = []string{
	"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache",
}

// landlockVersion is what this kernel knows; 0: nothing.
func landlockVersion() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// restrict takes from the calling thread, and all that it starts, what a module
// that broke out of wazero could use. The thread must be locked, and must end
// with its goroutine, as nothing is given back.
func restrict(program string, o order) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if version := landlockVersion(); version > 0 {
		if err := landlock(version, program, o); err != nil {
			return fmt.Errorf("landlock: %w", err)
		}
	}
	if err := filterCalls(); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}

// landlock leaves the files that o names, and those of the program itself; no
// TCP, and no signals or sockets to the outside.
func landlock(version int, program string, o order) error {
	rules := unix.LandlockRulesetAttr{Handled_access_fs: first}
	for since, right := range map[int]uint64{
		2: unix.LANDLOCK_ACCESS_FS_REFER, 3: unix.LANDLOCK_ACCESS_FS_TRUNCATE, 5: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
	} {
		if version >= since {
			rules.Handled_access_fs |= right
		}
	}
	size := unsafe.Offsetof(rules.Handled_access_net) // what the first version has
	if version >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = unsafe.Offsetof(rules.Scoped)
	}
	if version >= 6 {
		rules.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Offsetof(rules.Quiet_access_fs)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	loader, err := interpreter(program)
	if err != nil {
		return err
	}
	cacheRights := uint64(readTree)
	if o.Compile {
		cacheRights = writeTree
	}
	for _, rule := range append([]grant{
		{program, runFile}, {loader, runFile}, {o.Program, readFile}, {o.In, readTree}, {o.Out, writeTree}, {o.Cache, cacheRights},
	}, grants(libraries, readFile)...) {
		if err := rule.add(int(fd), rules.Handled_access_fs); err != nil {
			return fmt.Errorf("%s: %w", rule.path, err)
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// grant allows rights on a path and all below it.
type grant struct {
	path   string
	rights uint64
}

func grants(paths []string, rights uint64) (all []grant) {
	for _, path := range paths {
		all = append(all, grant{path, rights})
	}
	return all
}

// add adds the grant to a ruleset that handles the given rights. A path that is
// empty or absent grants nothing.
func (g grant) add(rules int, handled uint64) error {
	if g.path == "" {
		return nil
	}
	fd, err := unix.Open(g.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: g.rights & handled, Parent_fd: int32(fd)}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		beneath.Allowed_access &= runFile | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// interpreter is the dynamic loader that a program names; empty if it has none.
func interpreter(program string) (string, error) {
	f, err := elf.Open(program)
	if _, bad := errors.AsType[*elf.FormatError](err); bad {
		return "", nil // a script; what runs it is not among the grants
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			path, err := io.ReadAll(io.LimitReader(part.Open(), 4096))
			return strings.TrimRight(string(path), "\x00"), err
		}
	}
	return "", nil
}

// refused are calls that no module needs and that reach past its box: the
// network, other processes, the kernel's own doors.
var refused = []uint32{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_MOUNT, unix.SYS_UMOUNT2,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_PERSONALITY, unix.SYS_MEMFD_CREATE,
}

// architectures are the kernel's names for the ones that Go builds for.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// filterCalls makes the refused calls fail, and any call of another architecture,
// whose numbers mean something else.
func filterCalls() error {
	architecture, ok := architectures[runtime.GOARCH]
	if !ok {
		return nil // the numbers above are Go's own, but the layout is not known here
	}
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		above  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		result = unix.BPF_RET | unix.BPF_K
		number = 0 // offsets in struct seccomp_data
		arch   = 4
		other  = 0x40000000 // numbers of the x32 calls start here
	)
	deny := unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	filter := []unix.SockFilter{
		{Code: load, K: arch}, {Code: equal, K: architecture, Jt: 1}, deny,
		{Code: load, K: number}, {Code: above, K: other, Jf: 1}, deny,
	}
	for _, call := range refused {
		filter = append(filter, unix.SockFilter{Code: equal, K: call, Jf: 1}, deny)
	}
	filter = append(filter, unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	runtime.KeepAlive(filter)
	if errors.Is(err, unix.EINVAL) { // a kernel without filters
		return nil
	}
	return err
}

// confinement names what holds a module beside wazero, for people.
func confinement() string {
	parts := []string{"own process", "no environment"}
	if version := landlockVersion(); version > 0 {
		parts = append(parts, fmt.Sprintf("landlock %d", version))
	}
	if _, ok := architectures[runtime.GOARCH]; ok {
		if _, err := os.Stat("/proc/sys/kernel/seccomp"); err == nil {
			parts = append(parts, "seccomp")
		}
	}
	return strings.Join(parts, ", ")
}
