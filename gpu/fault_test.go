package gpu_test

import (
	"testing"

	"github.com/souk-market/souk/gpu"
)

func TestXidFault(t *testing.T) {
	for _, tt := range []struct {
		xid     uint64
		blame   gpu.Blame
		offSale bool
	}{
		{13, gpu.BlameJob, false},
		{31, gpu.BlameJob, false},
		{48, gpu.BlameDevice, false},
		{64, gpu.BlameDevice, true},
		{79, gpu.BlameUnknown, true},
		{94, gpu.BlameDevice, false},
		{95, gpu.BlameDevice, true},
		{119, gpu.BlameHost, false},
		{0, gpu.BlameUnknown, false},
		{4_000_000_000, gpu.BlameUnknown, false},
	} {
		if f := gpu.XidFault(tt.xid); f.Blame != tt.blame || f.OffSale != tt.offSale || f.What == "" {
			t.Errorf("Xid %d: %+v", tt.xid, f)
		}
	}
}
