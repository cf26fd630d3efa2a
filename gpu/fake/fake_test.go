package fake_test

import (
	"testing"

	"github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/gpu/gputest"
)

func TestContract(t *testing.T) {
	p := fake.Probe{Name: "a", Model: "NVIDIA L40S", Count: 3, MemoryBytes: 48 << 30, ComputeCap: 89}
	devices := gputest.Run(t, p)
	if len(devices) != 3 {
		t.Fatalf("%d devices", len(devices))
	}
	for _, d := range devices {
		if !d.Simulated || d.Class != "L40S" {
			t.Errorf("%+v", d)
		}
	}
	if none := gputest.Run(t, fake.Probe{}); len(none) != 0 {
		t.Errorf("the zero probe finds %v", none)
	}
}
