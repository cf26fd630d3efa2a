package nvml

import (
	"encoding/json"
	"testing"
)

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"devices":[]}`,
		`{"devices":[{"id":"GPU-1","model":"NVIDIA L4","memory_bytes":24000000000,"compute_cap":89,"mig":"","health":"ok"}]}`,
		`{"devices":[{"id":"MIG-1","model":"NVIDIA A100 MIG 1g.5gb","memory_bytes":5000000000,"compute_cap":80,"mig":"1g.5gb","health":"ok"}]}`,
		`{"devices":[{"id":"a"},{"id":"a"}]}`,
		`{"devices":null}`,
		`[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > maxListing {
			t.Skip("cut before it is decoded")
		}
		devices, err := decode(text)
		if err != nil {
			return
		}
		var again listing
		for _, d := range devices {
			if d.Class == "" || d.ID == "" || d.CPU || d.Simulated {
				t.Errorf("%+v", d)
			}
			again.Devices = append(again.Devices, device{d.ID, d.Model, d.MemoryBytes, d.ComputeCap, d.MIG, d.Health})
		}
		encoded, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if once, err := decode(encoded); err != nil || len(once) != len(devices) {
			t.Errorf("decodes to %d devices, then %d, %v", len(devices), len(once), err)
		}
	})
}
