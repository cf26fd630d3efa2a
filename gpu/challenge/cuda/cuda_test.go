//go:build linux

package cuda_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/challengetest"
	"github.com/souk-market/souk/gpu/challenge/cuda"
	"github.com/souk-market/souk/gpu/challenge/kernels"
)

// standIn builds the stand-in for the driver's library, which computes by OpenCL,
// and has it play a scenario.
func standIn(t *testing.T, scenario string) string {
	t.Helper()
	source, err := filepath.Abs("../kernels/challenge.cl")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOUK_KERNEL_SOURCE", source)
	t.Setenv("SOUK_CUDA_SCENARIO", scenario)
	path := filepath.Join(t.TempDir(), "libcuda.so.1")
	build := exec.Command("cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", path, "testdata/libcuda/libcuda.c", "-lOpenCL")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	return path
}

func open(t *testing.T, library string) *cuda.Accelerator {
	t.Helper()
	on, err := cuda.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := on.Close(); err != nil {
			t.Error(err)
		}
	})
	return on
}

func TestSameBytes(t *testing.T) {
	library := standIn(t, "")
	challengetest.Run(t, func(t *testing.T, c challenge.Challenge) challenge.Device {
		on := open(t, library)
		if id, err := on.UUID(); err != nil || id != challengetest.DeviceID || on.Name() == "" {
			t.Errorf("it is %q, %q, %v", id, on.Name(), err)
		}
		d, err := kernels.New(c, on)
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// TestNoDriver opens what is not there, or is no driver.
func TestNoDriver(t *testing.T) {
	if _, err := cuda.Open(filepath.Join(t.TempDir(), "libcuda.so.1")); !errors.Is(err, cuda.ErrAbsent) {
		t.Errorf("no library: %v", err)
	}
	if _, err := cuda.Open("libm.so.6"); err == nil || errors.Is(err, cuda.ErrAbsent) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("another library: %v", err)
	}
	if _, err := cuda.Open(standIn(t, "none")); !errors.Is(err, cuda.ErrAbsent) {
		t.Errorf("no device: %v", err)
	}
	if _, err := cuda.Open(standIn(t, "two")); err == nil || !strings.Contains(err.Error(), "CUDA_VISIBLE_DEVICES") {
		t.Errorf("two devices: %v", err)
	}
	var refused *cuda.Error
	if _, err := cuda.Open(standIn(t, "old")); !errors.As(err, &refused) || refused.Name != "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" ||
		!strings.Contains(err.Error(), "unsupported .version") {
		t.Errorf("an old driver: %v", err)
	}
}

// TestDeviceFails computes on devices that run out of memory and that break.
func TestDeviceFails(t *testing.T) {
	c := challenge.Challenge{Devices: []string{"GPU-1"}, Arithmetic: challenge.Int8, Size: challenge.MinSize, Rounds: 2}
	for scenario, want := range map[string]string{"full": "CUDA_ERROR_OUT_OF_MEMORY", "fault": "CUDA_ERROR_ILLEGAL_ADDRESS"} {
		t.Run(scenario, func(t *testing.T) {
			d, err := kernels.New(c, open(t, standIn(t, scenario)))
			if err != nil {
				t.Fatal(err)
			}
			var refused *cuda.Error
			if _, err := d.Multiply(t.Context(), challenge.Hash{}); !errors.As(err, &refused) || refused.Name != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		d, err := kernels.New(c, open(t, standIn(t, "")))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := d.Multiply(ctx, challenge.Hash{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// TestFlippedBit has a device whose memory flips one bit of each product, before it
// is hashed: all it commits to is consistent, and the check finds it.
func TestFlippedBit(t *testing.T) {
	c := challenge.Challenge{Digest: souk.Digest{1}, Devices: []string{"GPU-1"}, Arithmetic: challenge.Int8, Size: challenge.MinSize, Rounds: 1}
	d, err := kernels.New(c, open(t, standIn(t, "flip")))
	if err != nil {
		t.Fatal(err)
	}
	p, err := challenge.NewProver(c, []challenge.Device{d})
	if err != nil {
		t.Fatal(err)
	}
	now, random := time.Unix(0, 0), randomness()
	v, err := challenge.NewVerifier(c, challenge.Band{}, now)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := p.Commit(t.Context())
	if err == nil {
		err = v.Committed(now, roots)
	}
	if err == nil {
		err = v.Recall(now, challenge.Hash{2})
	}
	if err != nil {
		t.Fatal(err)
	}
	recalled, err := p.Recall(t.Context(), challenge.Hash{2})
	if err == nil {
		err = v.Recalled(now, recalled)
	}
	if err != nil {
		t.Fatal(err)
	}
	places, err := v.Draw(40, random) // of four tiles: each of them
	if err != nil {
		t.Fatal(err)
	}
	openings, err := p.Open(t.Context(), places)
	if err != nil {
		t.Fatal(err)
	}
	fault, ok := errors.AsType[*challenge.FaultError](second(v.Opened(openings, random)))
	if !ok || fault.Fault != challenge.Wrong || !strings.Contains(fault.Detail, "not of the product") {
		t.Errorf("got %v", fault)
	}
}

func second[T any](_ T, err error) error { return err }

// randomness is the same in each run.
func randomness() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{1}) }
