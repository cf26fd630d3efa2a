package gpu_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu"
)

func TestXidIncident(t *testing.T) {
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
		f := gpu.XidIncident(tt.xid)
		if f.Blame != tt.blame || f.OffSale != tt.offSale || f.What == "" || f.Kind != fmt.Sprintf("xid-%d", tt.xid) || !strings.HasSuffix(f.Source, tt.source) && tt.source != "not listed" {
			t.Errorf("Xid %d: %+v", tt.xid, f)
		}
	}
}

func TestIncidentsBetween(t *testing.T) {
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
		{"both, told once, the graver", of(50, 0, 0), of(90, 0, 0x20), "thermal/host/off"},
		{"it stays hot", of(90, 0, 0x20), of(91, 0, 0x20), ""},
		{"it slowed down, and gets hotter", of(80, 0, 0x20), of(90, 0, 0x20), "thermal/host/off"},
		{"it cools down", of(90, 0, 0x20), of(80, 0, 0x20), ""},
		{"the power supply still", of(50, 0, 0x80), of(50, 0, 0x80), ""},
		{"it is lost", of(50, 0, 0), gpu.Device{Failed: true, Health: "it fell off the bus"}, "lost/unknown/off"},
		{"it stays lost", gpu.Device{Failed: true}, gpu.Device{Failed: true, Health: "it fell off the bus"}, ""},
		{"lost with an Xid that says so", of(50, 0, 0), gpu.Device{Failed: true, Health: "lost", Now: gpu.Sample{Xids: []uint64{79}}}, "xid-79/unknown/off"},
		{"the power supply", of(50, 0, 0), of(50, 0, 0x80), "power-brake/host"},
		{"Xids in a row", of(50, 0, 0), of(50, 1, 0, 48, 45, 154, 45), "xid-48/device xid-45/unknown xid-154/unknown ecc/device/off"},
		{"a program's fault", of(50, 0, 0), of(50, 0, 0, 31), "xid-31/job"},
		{"a device that cannot tell", of(50, 0, 0), gpu.Device{}, ""},
	} {
		var got []string
		for _, f := range gpu.IncidentsBetween(tt.before, tt.after) {
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

// TestIncidentTable looks at every kind that is no Xid.
func TestIncidentTable(t *testing.T) {
	for _, kind := range []string{gpu.KindECC, gpu.KindThermal, gpu.KindPowerBrake, gpu.KindLost, gpu.KindRecovery, gpu.KindPower, gpu.KindDriver,
		gpu.KindROM, gpu.KindRepeated, gpu.KindEngine, gpu.KindRemoved, gpu.KindStuck, gpu.KindImageStore, gpu.KindAccess} {
		if n := gpu.IncidentOf(kind); n.Kind != kind || n.What == "" || n.Blame == "" || n.Blame == gpu.BlameJob || n.Source == "not listed by souk" {
			t.Errorf("%s: %+v", kind, n)
		}
	}
	if n := gpu.IncidentOf("xid-31"); n.Blame != gpu.BlameJob {
		t.Errorf("%+v", n)
	}
	if n := gpu.IncidentOf("later"); n.Blame != gpu.BlameUnknown {
		t.Errorf("%+v", n)
	}
}
