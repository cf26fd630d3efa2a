package nvml

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
)

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct{ name, line string }{
		{"nothing", ``},
		{"a list", `[]`},
		{"an unknown name", `{"gpus":[{"uuid":"GPU-1","horsepower":3}]}`},
		{"two values", `{"gpus":[]} {}`},
		{"a fraction", `{"gpus":[{"power_usage":1.5}]}`},
		{"a negative number", `{"gpus":[{"temperature_gpu":-3}]}`},
		{"a text for a number", `{"gpus":[{"power_usage":"12"}]}`},
		{"too many cards", `{"gpus":[` + strings.Repeat(`{"index":1},`, maxCards) + `{"index":1}]}`},
		{"too many slices", `{"gpus":[{"mig_devices":[` + strings.Repeat(`{},`, maxSlices) + `{}]}]}`},
		{"too many links", `{"gpus":[{"nvlink_remote_pci_bus_id":[` + strings.Repeat(`"",`, maxLinks) + `""]}]}`},
		{"too many Xids", `{"gpus":[{"xids":[` + strings.Repeat(`1,`, maxXids) + `1]}]}`},
		{"too long a line", `{"driver_version":"` + strings.Repeat("5", maxListing) + `"}`},
	} {
		if l, err := decode([]byte(tt.line)); err == nil {
			t.Errorf("%s: read as %+v", tt.name, l)
		}
	}
}

// FuzzDecode holds any line of the child to the bounds of a device.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"gpus":[]}`,
		`{"absent":true,"gpus":[]}`,
		`{"driver_version":"550.54.15","cuda_driver_version":12040,"gpus":[{"index":0,"uuid":"GPU-1","name":"NVIDIA L4","pci_bus_id":"00000000:01:00.0","memory_total":24000000000,"memory_used":1}]}`,
		`{"gpus":[{"index":0,"uuid":"GPU-1","name":"A100","memory_total":5,"mig_mode_current":1,"mig_devices":[{"uuid":"MIG-1","name":"NVIDIA A100 MIG 1g.5gb","memory_total":5}]}]}`,
		`{"gpus":[{"uuid":"a","name":"b","memory_total":1},{"uuid":"a","name":"b","memory_total":1}]}`,
		`{"gpus":[{"index":1,"nvml_return":15},{"index":1,"nvml_return":15}]}`,
		`{"gpus":[{"uuid":"\u001b[2J","name":"\n","memory_total":18446744073709551615,"power_usage":18446744073709551615}]}`,
		`{"gpus":[{"uuid":"MIG-1","name":"x","memory_total":1,"mig_mode_current":1,"mig_devices":[{"uuid":"MIG-1","name":"y MIG 1g","memory_total":1}]}]}`,
		`{"gpus":null,"cc_feature":1,"cc_gpus_ready_state":0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		l, err := decode(line)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		devices := l.devices(time.Unix(1, 0))
		for _, d := range devices {
			if d.ID == "" || seen[d.ID] || d.Class == "" || d.Model == "" || d.Health == "" || d.CPU || d.Simulated {
				t.Errorf("%+v", d)
			}
			seen[d.ID] = true
			if d.Health == gpu.Healthy && d.MemoryBytes == 0 || d.MemoryBytes > maxMemory || d.ComputeCap > 999 || d.CUDA > 10_000 {
				t.Errorf("for sale: %+v", d)
			}
			for _, text := range []string{d.ID, d.Class, d.Model, d.MIG, d.Health, d.PCI, d.Driver, d.Confidential, d.Whole} {
				if len(text) > 400 || text != "" && !plain.MatchString(strings.ReplaceAll(text, "°", "")) {
					t.Errorf("text %q", text)
				}
			}
		}
		encoded, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(encoded)
		if err != nil || len(again.devices(time.Unix(1, 0))) != len(devices) {
			t.Errorf("%d devices, then %+v, %v", len(devices), again, err)
		}
	})
}
