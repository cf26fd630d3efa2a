package main

import (
	"bytes"
	"strings"
	"testing"

	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

func gpuSample(device string, at int64, util uint32, energy uint64, xids ...uint64) *runv1.Sample {
	return &runv1.Sample{Device: device, AtMs: at, GpuUtil: &util, MemoryUsedBytes: proto.Uint64(24e9), PowerMw: proto.Uint64(351_600),
		GpuTempC: proto.Uint32(61), SmClockMhz: proto.Uint32(1980), TotalEnergyMj: &energy, Xids: xids}
}

func TestMetrics(t *testing.T) {
	measured := []*apiv1.MetricsResponse{
		{Lease: "aa", Samples: []*runv1.Sample{gpuSample("GPU-9", 500, 3, 7)}}, // an attempt that is over
		{Lease: "bb", Samples: []*runv1.Sample{gpuSample("GPU-2", 1000, 10, 5_000_000), gpuSample("GPU-1", 1000, 0, 9_000_000)}},
		{Lease: "bb", Samples: []*runv1.Sample{gpuSample("GPU-2", 3_723_000, 97, 5_352_440, 13), gpuSample("GPU-1", 3_723_000, 4, 8), {Device: "cpu-1", AtMs: 3_723_000, CpuMilli: proto.Uint32(1500)}}},
	}
	const last = `DEVICE  USE         MEMORY  POWER  TEMP  CLOCK    MEM-CLOCK  ENERGY  XIDS  AT
GPU-1   4%          24GB    352W   61°C  1980MHz  -          -       -     01:02:03
GPU-2   97%         24GB    352W   61°C  1980MHz  -          352.4J  13    01:02:03
cpu-1   1.50 cores  -       -      -     -        -          -       -     01:02:03
`
	for _, tt := range []struct {
		name           string
		measured       []*apiv1.MetricsResponse
		args           []string
		stdout, stderr string
	}{
		{"people", measured, nil, last, ""},
		{"JSON", measured[1:2], []string{"--json"}, `{"lease":"bb","sample":{"device":"GPU-2","at_ms":1000,"gpu_util":10,"memory_used_bytes":24000000000,"power_mw":351600,"total_energy_mj":5000000,"gpu_temp_c":61,"sm_clock_mhz":1980,"xids":[]}}
{"lease":"bb","sample":{"device":"GPU-1","at_ms":1000,"gpu_util":0,"memory_used_bytes":24000000000,"power_mw":351600,"total_energy_mj":9000000,"gpu_temp_c":61,"sm_clock_mhz":1980,"xids":[]}}
`, ""},
		{"nothing measured", nil, nil, "", "nothing was measured"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := fakeDaemon{measured: tt.measured}
			var out, err bytes.Buffer
			code := run(t.Context(), append([]string{"--home", f.serve(t), "job", "7f3a", "--metrics"}, tt.args...), strings.NewReader(""), &out, &err)
			if code != exitDone || out.String() != tt.stdout || !strings.Contains(err.String(), tt.stderr) {
				t.Errorf("exit %d, stderr %q, stdout\n%s\nwant\n%s", code, &err, &out, tt.stdout)
			}
		})
	}
}
