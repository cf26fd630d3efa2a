package gpu_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu"
)

func TestXidFault(t *testing.T) {
	for _, tt := range []struct {
		xid     uint64
		blame   gpu.Blame
		offSale bool
		source  string
	}{
		{13, gpu.BlameJob, false, "RESTART_APP"},
		{31, gpu.BlameJob, false, "RESTART_APP"},
		{43, gpu.BlameJob, false, "IGNORE"},
		{45, gpu.BlameUnknown, false, "WORKFLOW_XID_45"},
		{48, gpu.BlameDevice, false, "WORKFLOW_XID_48"},
		{54, gpu.BlameHost, true, "CHECK_MECHANICALS"},
		{64, gpu.BlameDevice, true, "RESET_GPU"},
		{74, gpu.BlameUnknown, false, "WORKFLOW_NVLINK_ERR"},
		{79, gpu.BlameUnknown, true, "RESTART_BM"},
		{92, gpu.BlameDevice, false, "IGNORE"},
		{94, gpu.BlameDevice, false, "RESTART_APP"},
		{95, gpu.BlameDevice, true, "RESET_GPU"},
		{109, gpu.BlameUnknown, true, "RESET_GPU"},
		{119, gpu.BlameHost, true, "RESET_GPU"},
		{154, gpu.BlameUnknown, false, "XID_154"},
		{0, gpu.BlameUnknown, false, "not listed"},
		{4_000_000_000, gpu.BlameUnknown, false, "not listed"},
	} {
		f := gpu.XidFault(tt.xid)
		if f.Blame != tt.blame || f.OffSale != tt.offSale || f.What == "" || f.Kind != fmt.Sprintf("xid-%d", tt.xid) || !strings.HasSuffix(f.Source, tt.source) && tt.source != "not listed" {
			t.Errorf("Xid %d: %+v", tt.xid, f)
		}
	}
}

func TestFaultsBetween(t *testing.T) {
	// of is a device with a temperature, a count of errors, reasons and Xids.
	of := func(celsius, errors, reasons uint64, xids ...uint64) gpu.Device {
		return gpu.Device{Limits: gpu.Limits{SlowdownCelsius: gpu.Known(89)}, Errors: gpu.Errors{UncorrectedECC: gpu.Known(errors)},
			Now: gpu.Sample{Celsius: gpu.Known(celsius), ClockReasons: gpu.Known(reasons), Xids: xids}}
	}
	for _, tt := range []struct {
		name          string
		before, after gpu.Device
		want          string
	}{
		{"all well", of(50, 0, 1), of(60, 0, 4), ""},
		{"old errors", of(50, 7, 0), of(50, 7, 0), ""},
		{"a new error", of(50, 7, 0), of(50, 8, 0), "ecc/device/off"},
		{"the driver was loaded anew", of(50, 7, 0), of(50, 0, 0), ""},
		{"the first reading", gpu.Device{}, of(50, 7, 0), ""},
		{"too hot", of(50, 0, 0), of(89, 0, 0), "thermal/host/off"},
		{"no margin left", gpu.Device{}, gpu.Device{Now: gpu.Sample{MarginCelsius: gpu.Known(0)}}, "thermal/host/off"},
		{"some margin left", gpu.Device{}, gpu.Device{Now: gpu.Sample{MarginCelsius: gpu.Known(1)}}, ""},
		{"slowed down by heat", of(50, 0, 0), of(80, 0, 0x40), "thermal/host"},
		{"both, told once", of(50, 0, 0), of(90, 0, 0x20), "thermal/host"},
		{"the power supply", of(50, 0, 0), of(50, 0, 0x80), "power-brake/host"},
		{"Xids in a row", of(50, 0, 0), of(50, 1, 0, 48, 45, 154, 45), "xid-48/device xid-45/unknown xid-154/unknown ecc/device/off"},
		{"a program's fault", of(50, 0, 0), of(50, 0, 0, 31), "xid-31/job"},
		{"a device that cannot tell", of(50, 0, 0), gpu.Device{}, ""},
	} {
		var got []string
		for _, f := range gpu.FaultsBetween(tt.before, tt.after) {
			text := f.Kind + "/" + string(f.Blame)
			if f.OffSale {
				text += "/off"
			}
			if f.Source == "" || f.What == "" {
				t.Errorf("%s: %+v", tt.name, f)
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
