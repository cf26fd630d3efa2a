package fake_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/gpu/runner/runnertest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// guest does what the program of the contract does.
func guest(p *fake.Process) int {
	switch p.Args[0] {
	case "hello":
		fmt.Fprintf(p.Stdout, "args %q\n", p.Args[1:])
		for _, v := range p.Env {
			fmt.Fprintf(p.Stdout, "env %q\n", v)
		}
		fmt.Fprintln(p.Stderr, "this is stderr")
		if p.In != nil {
			text, err := fs.ReadFile(p.In, "greeting")
			fmt.Fprintf(p.Stdout, "in %s\n", text)
			if err != nil {
				return 1
			}
		}
		return failed(p.WriteFile("greeting", []byte("hello")))
	case "exit":
		code, _ := strconv.Atoi(p.Args[1])
		return code
	case "memory":
		for {
			p.Grow(4 << 20)
		}
	case "fill":
		for n := 0; ; n++ {
			if err := p.WriteFile(fmt.Sprintf("f%d", n), make([]byte, 20_000)); err != nil {
				return 1
			}
		}
	case "grow":
		return failed(p.WriteFile("hole", make([]byte, 2<<20)))
	case "within":
		for range 100 {
			if err := p.WriteFile("file", make([]byte, 100_000)); err != nil {
				return 1
			}
			if err := p.Remove("file"); err != nil {
				return 1
			}
		}
	case "loop":
		fmt.Fprintln(p.Stdout, "looping")
		p.Loop()
	case "blink":
		for n := 0; ; n++ {
			fmt.Fprintln(p.Stdout, n)
			p.Work(time.Millisecond)
		}
	case "flood":
		count, _ := strconv.Atoi(p.Args[1])
		for n := range count {
			fmt.Fprintf(p.Stdout, "line %d\n", n)
		}
	case "same":
		fmt.Fprintln(p.Stdout, p.Rand.Uint64(), true)
	case "escape":
		return escape(p)
	}
	return 0 // what a guest cannot even try is refused
}

func failed(errs ...error) int {
	for _, err := range errs {
		if err != nil {
			return 1
		}
	}
	return 0
}

func escape(p *fake.Process) (allowed int) {
	names := []string{p.Args[1], "../..", "escape/etc/passwd", "absolute", "up", "chain", "proc", "folder/x"}
	for _, name := range names {
		if _, err := fs.ReadFile(p.In, name); err == nil {
			fmt.Fprintln(p.Stdout, "allowed:", name)
			allowed++
		}
		if err := p.WriteFile("../"+name, []byte("x")); err == nil {
			fmt.Fprintln(p.Stdout, "allowed: write", name)
			allowed++
		}
	}
	fmt.Fprintln(p.Stdout, "tried", len(names))
	return allowed
}

func newRunner(t *testing.T, guests map[string]fake.Guest) *fake.Runner {
	t.Helper()
	r, err := fake.New(fake.Config{Guests: guests})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func program(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestContract(t *testing.T) {
	r, p := newRunner(t, map[string]fake.Guest{"guest": guest}), runnertest.Modules(program(t, "guest"), program(t, "something else"))
	runnertest.Run(t, r, p)
	runnertest.RunModules(t, r, p)
}

// An hour's job, paused in its middle, under a clock that jumps.
func TestVirtualTime(t *testing.T) {
	path, out := program(t, "guest"), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRunner(t, map[string]fake.Guest{"guest": func(p *fake.Process) int { p.Work(time.Hour); return 7 }})
		start := time.Now()
		run, err := r.Start(t.Context(), runner.Spec{Program: runner.Program{Module: path}, Out: out, Memory: 1, Disk: 1, Duration: 2 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		if err := run.Pause(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour)
		if err := run.Resume(); err != nil {
			t.Fatal(err)
		}
		got := run.Wait()
		if got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 7 || got.Usage.RunningFor != time.Hour {
			t.Errorf("%+v", got)
		}
		if took := time.Since(start); took != 6*time.Hour {
			t.Errorf("took %v", took)
		}
	})
}
