// Package gputest holds every probe to what package gpu promises.
package gputest

import (
	"reflect"
	"regexp"
	"testing"

	"github.com/souk-market/souk/gpu"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

var class = regexp.MustCompile(`^[A-Z0-9]+(_[A-Z0-9]+)*$`)

// Run is the contract. It returns what the probe found.
func Run(t *testing.T, p gpu.Probe) []gpu.Device {
	t.Helper()
	devices, err := p.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(again) != len(devices) {
		t.Fatalf("%d devices, then %d", len(devices), len(again))
	}
	seen := map[string]bool{}
	for i, d := range devices {
		if d.ID == "" || seen[d.ID] {
			t.Errorf("device %d: id %q is empty or taken", i, d.ID)
		}
		seen[d.ID] = true
		if d.ID != again[i].ID {
			t.Errorf("device %d: id %q, then %q", i, d.ID, again[i].ID)
		}
		if !class.MatchString(d.Class) {
			t.Errorf("device %s: class %q", d.ID, d.Class)
		}
		if d.CPU != (d.Class == gpu.ClassCPU) || d.CPU && (d.ComputeCap != 0 || d.CPUMilli == 0) {
			t.Errorf("device %s: class %s, cpu %v, compute capability %d, %d thousandths of cores", d.ID, d.Class, d.CPU, d.ComputeCap, d.CPUMilli)
		}
		if d.Model == "" || d.MemoryBytes == 0 && d.Health == gpu.Healthy || d.Health == "" || d.Evidence == marketv1.Evidence_EVIDENCE_UNSPECIFIED {
			t.Errorf("device %s is not fully described: %+v", d.ID, d)
		}
		if d.Failed && d.Health == gpu.Healthy {
			t.Errorf("device %s has failed and is healthy", d.ID)
		}
		if (d.MIG != "") != (d.Whole != "") || seen[d.Whole] {
			t.Errorf("device %s: slice %q of %q, which must not be for sale beside it", d.ID, d.MIG, d.Whole)
		}
		sample(t, d)
	}
	return devices
}

// sample holds what a device measured to what can be.
func sample(t *testing.T, d gpu.Device) {
	t.Helper()
	s := d.Now
	if s.At.IsZero() && !reflect.DeepEqual(s, gpu.Sample{}) {
		t.Errorf("device %s: a sample without its time: %+v", d.ID, s)
	}
	for _, r := range []struct {
		what string
		is   gpu.Reading
		most uint64
	}{
		{"utilisation", s.GPUUtilPercent, 100},
		{"utilisation of memory", s.MemCopyUtilPercent, 100},
		{"memory used", s.MemoryUsedBytes, d.MemoryBytes},
		{"memory free", s.MemoryFreeBytes, d.MemoryBytes},
		{"temperature", s.Celsius, 250},
		{"temperature of memory", s.MemoryCelsius, 250},
		{"power", s.PowerMilliwatts, 100_000_000},
		{"power limit", d.Limits.PowerMilliwatts, 100_000_000},
	} {
		if v, ok := r.is.Value(); ok && v > r.most {
			t.Errorf("device %s: %s is %d", d.ID, r.what, v)
		}
	}
}
