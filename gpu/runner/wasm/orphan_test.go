package wasm_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/wasm"
)

// daemon runs a module that never ends, as a daemon that is about to crash does.
func daemon(program, dir string) error {
	r, err := wasm.New(wasm.Config{Command: child, CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		return err
	}
	run, err := r.Start(context.Background(), runner.Spec{
		Program: runner.Program{Module: program}, Out: dir, Memory: 64 << 20, Disk: 1 << 20, Duration: time.Minute,
	})
	if err != nil {
		return err
	}
	fmt.Println("running")
	run.Wait()
	return nil
}

// A module must not outlive the daemon that meters it, even one that is killed.
func TestModuleDiesWithItsDaemon(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "module.wasm")
	if err := os.WriteFile(program, module(simple(loop, empty, br, 0, end)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "daemon", program, dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "running\n" {
		t.Fatalf("%q, %v", line, err)
	}
	children := childrenOf(t, cmd.Process.Pid)
	if len(children) != 1 {
		t.Fatalf("children %v", children)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); alive(children[0]); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("process %s still runs", children[0])
		}
	}
}

// stat is the state and the parent of a process; a process that is gone has none.
func stat(pid string) (state, parent string) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return "", ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	return fields[0], fields[1]
}

func alive(pid string) bool {
	state, _ := stat(pid)
	return state != "" && state != "Z" && state != "X"
}

func childrenOf(t *testing.T, pid int) (children []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, parent := stat(entry.Name()); parent == fmt.Sprint(pid) && alive(entry.Name()) {
			children = append(children, entry.Name())
		}
	}
	return children
}
