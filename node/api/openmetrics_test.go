package api

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/client"
)

type listed []gpu.Device

func (l listed) List() []gpu.Device { return l }
func (listed) Unknown() error       { return nil }

// oneLeased sells everything; one device is leased, one is off sale after a fault.
type oneLeased struct{ Seller }

func (oneLeased) Live() uint32                  { return 1 }
func (oneLeased) Price(class string) souk.Atoms { return 1 }
func (oneLeased) Withheld(string) string        { return "" }
func (oneLeased) Unclean(string) string         { return "" }
func (oneLeased) Holder(device string) (souk.LeaseID, bool) {
	return souk.LeaseID{}, device == "GPU-1"
}
func (oneLeased) OffSale(device string) string {
	if device == "GPU-2" {
		return "xid-79"
	}
	return ""
}

type noJobs struct{}

func (noJobs) List() []*client.Job { return nil }

type five struct{}

func (five) Len() int { return 5 }

func TestOpenMetrics(t *testing.T) {
	g := &gauges{seller: oneLeased{}, jobs: noJobs{}, book: five{}, peers: func() int { return 3 }, devices: listed{
		{ID: "cpu-1", Class: "CPU", CPU: true, Health: gpu.Healthy},
		{ID: "GPU-1", Class: "H100", MemoryBytes: 80 << 30, Health: gpu.Healthy, Now: gpu.Sample{At: time.Unix(1, 0), GPUUtilPercent: gpu.Known(97), MemoryUsedBytes: gpu.Known(1 << 30),
			PowerMilliwatts: gpu.Known(351_600), EnergyMillijoules: gpu.Known(12_345_678), Celsius: gpu.Known(61), SMClockMHz: gpu.Known(1980)}},
		{ID: "GPU-2", Class: "H100", MemoryBytes: 80 << 30, Health: gpu.Healthy, Errors: gpu.Errors{Xid: gpu.Known(79)}},
		{ID: `GPU-"3\`, Class: "L4", Health: "its fan stands still"},
	}}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Header().Get("Content-Type") != openMetrics {
		t.Errorf("Content-Type %q", w.Header().Get("Content-Type"))
	}
	lines := strings.Split(w.Body.String(), "\n")
	for _, want := range []string{
		`# TYPE souk_gpu_utilisation_ratio gauge`, `# UNIT souk_gpu_utilisation_ratio ratio`,
		`souk_gpu_utilisation_ratio{gpu="GPU-1",class="H100"} 0.97`,
		`souk_gpu_memory_used_bytes{gpu="GPU-1",class="H100"} 1.073741824e+09`,
		`souk_gpu_power_watts{gpu="GPU-1",class="H100"} 351.6`,
		`# TYPE souk_gpu_energy_joules counter`,
		`souk_gpu_energy_joules_total{gpu="GPU-1",class="H100"} 12345.678`,
		`souk_gpu_temperature_celsius{gpu="GPU-1",class="H100"} 61`,
		`souk_gpu_sm_clock_hertz{gpu="GPU-1",class="H100"} 1.98e+09`,
		`souk_gpu_on_sale{gpu="GPU-1",class="H100"} 1`, `souk_gpu_leased{gpu="GPU-1",class="H100"} 1`,
		`souk_gpu_on_sale{gpu="GPU-2",class="H100"} 0`, `souk_gpu_leased{gpu="GPU-2",class="H100"} 0`,
		`souk_gpu_xid{gpu="GPU-2",class="H100"} 79`,
		`souk_gpu_healthy{gpu="GPU-\"3\\",class="L4"} 0`, `souk_gpu_on_sale{gpu="GPU-\"3\\",class="L4"} 0`,
		`souk_market_offers 5`, `souk_network_peers 3`, `souk_leases_live 1`, `souk_jobs_live 0`, `souk_jobs_ended_total{state="done"} 0`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("there is no line %s", want)
		}
	}
	for _, l := range lines {
		if strings.Contains(l, "cpu-1") || strings.Contains(l, "power_watts{gpu=\"GPU-2") {
			t.Errorf("there is a line %s", l)
		}
	}
	if !strings.HasSuffix(w.Body.String(), "\n# EOF\n") {
		t.Error("it has no end")
	}
}
