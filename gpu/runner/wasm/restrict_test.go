package wasm_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/wasm"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// brokenOut stands in for the process of a module that took it over: it has all
// of Go, and tells which of its tries were not refused.
func brokenOut(args []string) {
	reports := json.NewEncoder(os.NewFile(3, "reports"))
	end := map[string]any{"reason": runv1.EndReason_END_REASON_COMPLETED, "exit": 0, "detail": ""}
	order := struct{ Compile bool }{}
	text, _ := io.ReadAll(os.Stdin)
	if json.Unmarshal(text, &order) != nil || !order.Compile {
		_ = reports.Encode(map[string]any{"reason": 0, "exit": 0, "detail": ""})
		tries := attempts(args[0], args[1])
		for name, try := range tries {
			if err := try(); err == nil {
				fmt.Println("allowed:", name)
			}
		}
		fmt.Println("tried", len(tries))
	}
	_ = reports.Encode(end)
}

func attempts(outside, address string) map[string]func() error {
	parent := os.Getppid()
	return map[string]func() error{
		"read a file":        func() error { return second(os.ReadFile(filepath.Join(outside, "canary"))) },
		"read passwd":        func() error { return second(os.ReadFile("/etc/passwd")) },
		"list the root":      func() error { return second(os.ReadDir("/")) },
		"list a home":        func() error { return second(os.ReadDir(outside)) },
		"write a file":       func() error { return os.WriteFile(filepath.Join(outside, "new"), nil, 0o600) },
		"change a file":      func() error { return os.WriteFile(filepath.Join(outside, "canary"), nil, 0o600) },
		"remove a file":      func() error { return os.Remove(filepath.Join(outside, "canary")) },
		"write to tmp":       func() error { return os.WriteFile("/tmp/souk-broken-out", nil, 0o600) },
		"read our secrets":   func() error { return second(os.ReadFile(fmt.Sprintf("/proc/%d/environ", parent))) },
		"read our memory":    func() error { return second(os.Open(fmt.Sprintf("/proc/%d/mem", parent))) },
		"trace us":           func() error { return syscall.PtraceAttach(parent) },
		"signal us":          func() error { return syscall.Kill(parent, syscall.SIGCONT) },
		"connect":            func() error { return second(net.DialTimeout("tcp", address, time.Second)) },
		"listen":             func() error { return second(net.Listen("tcp", "127.0.0.1:0")) },
		"send a datagram":    func() error { return second(net.Dial("udp", address)) },
		"open a unix socket": func() error { return second(syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)) },
		"run a program":      func() error { return exec.Command("/bin/true").Run() },
		"make a namespace":   func() error { return syscall.Unshare(syscall.CLONE_NEWUSER) },
		"mount":              func() error { return syscall.Mount("none", "/tmp", "tmpfs", 0, "") },
		"a file in memory":   func() error { return second(unix.MemfdCreate("x", 0)) },
		"see an environment": func() error {
			if env := os.Environ(); len(env) > 0 {
				fmt.Println(env)
				return nil
			}
			return os.ErrNotExist
		},
		"find a descriptor": func() error {
			for fd := 4; fd < 256; fd++ {
				var st syscall.Stat_t
				if err := syscall.Fstat(fd, &st); err != nil {
					continue
				}
				switch st.Mode & syscall.S_IFMT {
				case syscall.S_IFREG, syscall.S_IFDIR, syscall.S_IFSOCK, syscall.S_IFIFO:
					fmt.Println("descriptor", fd)
					return nil
				}
			}
			return os.ErrNotExist
		},
	}
}

func second[T any](_ T, err error) error { return err }

func TestBrokenOutModuleFindsNothing(t *testing.T) {
	t.Setenv("SOUK_PASSWORD", "secret")
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r, err := wasm.New(wasm.Config{
		Command:  []string{os.Args[0], "broken-out", outside, listener.Addr().String()},
		CacheDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Confinement())
	if !strings.Contains(r.Confinement(), "landlock") || !strings.Contains(r.Confinement(), "seccomp") {
		t.Skip("this kernel cannot restrict a process")
	}
	program := filepath.Join(t.TempDir(), "module.wasm")
	if err := os.WriteFile(program, module(simple()), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	run, err := r.Start(t.Context(), runner.Spec{
		Program: runner.Program{Module: program}, Out: t.TempDir(), Memory: 64 << 20, Disk: 1 << 20, Duration: time.Minute,
		Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := run.Wait()
	if strings.Contains(stdout.String(), "allowed") || !strings.Contains(stdout.String(), "tried") {
		t.Errorf("%+v\n%s%s", got, &stdout, &stderr)
	}
	if text, err := os.ReadFile(canary); string(text) != "secret" || err != nil {
		t.Errorf("the canary is %q, %v", text, err)
	}
}
