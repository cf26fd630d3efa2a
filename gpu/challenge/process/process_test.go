//go:build linux

package process_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/challengetest"
	"github.com/souk-market/souk/gpu/challenge/process"
)

// childName makes the test binary its own child, as souk is.
const childName = "challenge-exec"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childName {
		os.Exit(process.Main(os.Stdin, os.Stdout, os.Stderr, os.Getenv))
	}
	os.Exit(m.Run())
}

// config is a device's process.
func config(t *testing.T, b process.Backend) process.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return process.Config{Command: []string{self, childName}, Backend: b, Within: time.Minute}
}

func start(t *testing.T, cfg process.Config, c challenge.Challenge) *process.Device {
	t.Helper()
	d, err := process.Start(t.Context(), cfg, c, c.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// standIn builds the stand-in for CUDA's library.
func standIn(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "libcuda.so.1")
	build := exec.Command("cc", "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", path, "../cuda/testdata/libcuda/libcuda.c", "-lOpenCL")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	source, err := filepath.Abs("../kernels/challenge.cl")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOUK_CUDA_LIBRARY", path)
	t.Setenv("SOUK_KERNEL_SOURCE", source)
}

func TestSameBytes(t *testing.T) {
	standIn(t)
	for _, b := range []process.Backend{process.Reference, process.OpenCL, process.CUDA} {
		t.Run(string(b), func(t *testing.T) {
			challengetest.Run(t, func(t *testing.T, c challenge.Challenge) challenge.Device { return start(t, config(t, b), c) })
		})
	}
}

// small is the least challenge.
func small() challenge.Challenge {
	return challenge.Challenge{Devices: []string{"GPU-1"}, Arithmetic: challenge.Int8, Size: challenge.MinSize, Rounds: 2}
}

// TestNoStart starts what cannot compute: each says why.
func TestNoStart(t *testing.T) {
	bad := small()
	bad.Rounds = 0
	for _, tt := range []struct {
		name    string
		cfg     process.Config
		c       challenge.Challenge
		library string
		want    string
	}{
		{"no CUDA", config(t, process.CUDA), small(), "/no/such/libcuda.so.1", "no CUDA driver"},
		{"no backend", config(t, "abacus"), small(), "", "no backend"},
		{"no challenge", config(t, process.Reference), bad, "", "rounds"},
		{"no program", process.Config{Command: []string{"/no/such/program"}}, small(), "", "no such file"},
		{"a program that ends", process.Config{Command: []string{"/bin/false"}}, small(), "", "ended"},
		{"a program that says something else", process.Config{Command: []string{"/bin/echo", "hello"}}, small(), "", "no answer"},
		{"a program that says nothing", process.Config{Command: []string{"/bin/sleep", "60"}, Within: 200 * time.Millisecond}, small(), "", "did not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("SOUK_CUDA_LIBRARY", tt.library)
			_, err := process.Start(t.Context(), tt.cfg, tt.c, "GPU-1")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := errors.Is(err, process.ErrNoLibrary); got != (tt.library != "") {
				t.Errorf("no library: %t", got)
			}
		})
	}
}

// TestAnotherDevice has a driver that shows another GPU than the one that is meant.
func TestAnotherDevice(t *testing.T) {
	standIn(t)
	if _, err := process.Start(t.Context(), config(t, process.CUDA), small(), "GPU-1"); err == nil || !strings.Contains(err.Error(), "where GPU-1 was asked for") {
		t.Errorf("got %v", err)
	}
}

// TestWipe has a tenant leave a pattern in a card's memory, and counts what is left of
// it after a wipe.
func TestWipe(t *testing.T) {
	standIn(t)
	const id, size = "GPU-11111111-2222-3333-4444-555555555555", 96<<20 + 12345
	pattern := []byte("the weights of a tenant's model ")
	path := filepath.Join(t.TempDir(), "memory")
	if err := os.WriteFile(path, bytes.Repeat(pattern, size/len(pattern)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOUK_CUDA_MEMORY", path)
	wiped, err := process.Wipe(t.Context(), config(t, process.CUDA), id, 1<<40)
	if err != nil || wiped != 96<<20 {
		t.Fatalf("%d bytes, %v", wiped, err)
	}
	left, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	survivors := 0
	for at := 0; at+len(pattern) <= int(wiped); at += len(pattern) {
		if bytes.Equal(left[at:at+len(pattern)], pattern) {
			survivors++
		}
	}
	if survivors != 0 || bytes.Count(left[wiped:], pattern) == 0 {
		t.Errorf("%d pieces of the tenant's memory are left in what was wiped", survivors)
	}
	if wiped, err := process.Wipe(t.Context(), config(t, process.CUDA), id, 8<<20); err != nil || wiped != 8<<20 {
		t.Errorf("of 8 MiB at most: %d bytes, %v", wiped, err)
	}
}

// TestNoWipe has devices that cannot be wiped say why.
func TestNoWipe(t *testing.T) {
	standIn(t)
	if _, err := process.Wipe(t.Context(), config(t, process.Reference), "GPU-1", 1<<20); err == nil || !strings.Contains(err.Error(), "no backend") {
		t.Errorf("without a device: %v", err)
	}
	t.Setenv("SOUK_CUDA_SCENARIO", "none")
	if _, err := process.Wipe(t.Context(), config(t, process.CUDA), challengetest.DeviceID, 1<<20); err == nil || !strings.Contains(err.Error(), "no device") {
		t.Errorf("without a card: %v", err)
	}
}

// TestCancelled ends a challenge in the middle of a product.
func TestCancelled(t *testing.T) {
	c := small()
	c.Size = 2048 // seconds of work
	d := start(t, config(t, process.Reference), c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.Multiply(ctx, challenge.Hash{}); err == nil {
		t.Error("it has computed")
	}
	if _, err := d.Multiply(t.Context(), challenge.Hash{1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after that it answers for the product before: %v", err)
	}
}

// TestWrongOpening opens what is not there; the process says so, and ends.
func TestWrongOpening(t *testing.T) {
	d := start(t, config(t, process.Reference), small())
	if _, err := d.Open(t.Context(), 7, 0); err == nil || !strings.Contains(err.Error(), "not there") {
		t.Errorf("got %v", err)
	}
	if _, err := d.Multiply(t.Context(), challenge.Hash{}); err == nil {
		t.Error("it goes on after an error")
	}
}
