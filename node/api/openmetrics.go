package api

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/client"
)

// openMetrics is the type of OpenMetrics text, which Prometheus and others read.
const openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"

// gauges answers GET /metrics: numbers of this machine's devices and of what the node
// does. Labels are closed sets: no peer, job or lease is in them, so it is open to all
// that reach the port, as the list of devices is to all users of the machine.
type gauges struct {
	devices deviceList
	seller  Seller                            // nil: this node does not sell
	jobs    interface{ List() []*client.Job } // nil: this node has no chain
	book    interface{ Len() int }
	peers   func() int
}

// newGauges is for what a config shows. Jobs are those of a node with a chain.
func newGauges(cfg Config) *gauges {
	g := &gauges{devices: cfg.Devices, seller: cfg.Seller, book: cfg.Book, peers: func() int { return len(cfg.Host.Network().Peers()) }}
	if cfg.Chain != nil { // a nil pointer in an interface would not be nil
		g.jobs = cfg.Client
	}
	return g
}

// ServeHTTP implements [http.Handler].
func (g *gauges) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	var e exposition
	g.ofDevices(&e)
	e.family("souk_market_offers", "gauge", "", "Offers that this node knows.")
	e.value(float64(g.book.Len()))
	e.family("souk_network_peers", "gauge", "", "Peers that it is connected to.")
	e.value(float64(g.peers()))
	if g.seller != nil {
		e.family("souk_leases_live", "gauge", "", "Leases that it sold and that have not ended.")
		e.value(float64(g.seller.Live()))
	}
	if g.jobs != nil {
		g.ofJobs(&e)
	}
	e.b.WriteString("# EOF\n")
	w.Header().Set("Content-Type", openMetrics)
	w.Write(e.b.Bytes())
}

// ofJobs counts this node's own jobs.
func (g *gauges) ofJobs(e *exposition) {
	live := 0
	ended := map[string]int{"done": 0, "failed": 0, "no-match": 0, "unpaid": 0, "stopped": 0}
	for _, j := range g.jobs.List() {
		if rec, _ := j.Watch(); rec.Ended.IsZero() {
			live++
		} else {
			ended[rec.State]++
		}
	}
	e.family("souk_jobs_live", "gauge", "", "Jobs of this node that have not ended.")
	e.value(float64(live))
	e.family("souk_jobs_ended", "counter", "", "Jobs of this node that have ended, by their state.")
	for _, state := range slices.Sorted(maps.Keys(ended)) {
		e.value(float64(ended[state]), "state", state)
	}
}

// ofDevices tells what GPUs measured when they were last read. What a device cannot
// tell is missing.
func (g *gauges) ofDevices(e *exposition) {
	var gpus []gpu.Device
	for _, d := range g.devices.List() {
		if !d.CPU {
			gpus = append(gpus, d)
		}
	}
	for _, f := range []struct {
		name, kind, unit, help string
		of                     func(gpu.Device) gpu.Reading
		scale                  float64 // from the reading's unit
	}{
		{"souk_gpu_utilisation_ratio", "gauge", "ratio", "Part of the last period in which a kernel ran (DCGM_FI_DEV_GPU_UTIL).", func(d gpu.Device) gpu.Reading { return d.Now.GPUUtilPercent }, 100},
		{"souk_gpu_memory_utilisation_ratio", "gauge", "ratio", "Part of it in which memory was read or written (DCGM_FI_DEV_MEM_COPY_UTIL).", func(d gpu.Device) gpu.Reading { return d.Now.MemCopyUtilPercent }, 100},
		{"souk_gpu_memory_used_bytes", "gauge", "bytes", "Memory in use (DCGM_FI_DEV_FB_USED).", func(d gpu.Device) gpu.Reading { return d.Now.MemoryUsedBytes }, 1},
		{"souk_gpu_memory_bytes", "gauge", "bytes", "Memory that it has.", func(d gpu.Device) gpu.Reading { return gpu.Known(d.MemoryBytes) }, 1},
		{"souk_gpu_power_watts", "gauge", "watts", "What it draws (DCGM_FI_DEV_POWER_USAGE).", func(d gpu.Device) gpu.Reading { return d.Now.PowerMilliwatts }, 1000},
		{"souk_gpu_energy_joules", "counter", "joules", "What it used since its driver was loaded (DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION).", func(d gpu.Device) gpu.Reading { return d.Now.EnergyMillijoules }, 1000},
		{"souk_gpu_temperature_celsius", "gauge", "celsius", "Its temperature (DCGM_FI_DEV_GPU_TEMP).", func(d gpu.Device) gpu.Reading { return d.Now.Celsius }, 1},
		{"souk_gpu_memory_temperature_celsius", "gauge", "celsius", "The temperature of its memory (DCGM_FI_DEV_MEMORY_TEMP).", func(d gpu.Device) gpu.Reading { return d.Now.MemoryCelsius }, 1},
		{"souk_gpu_sm_clock_hertz", "gauge", "hertz", "The clock of its processors (DCGM_FI_DEV_SM_CLOCK).", func(d gpu.Device) gpu.Reading { return d.Now.SMClockMHz }, 1e-6},
		{"souk_gpu_memory_clock_hertz", "gauge", "hertz", "The clock of its memory (DCGM_FI_DEV_MEM_CLOCK).", func(d gpu.Device) gpu.Reading { return d.Now.MemClockMHz }, 1e-6},
		{"souk_gpu_pcie_replays", "counter", "", "What was sent again on the PCI bus (DCGM_FI_DEV_PCIE_REPLAY_COUNTER).", func(d gpu.Device) gpu.Reading { return d.Errors.PCIeReplays }, 1},
		{"souk_gpu_xid", "gauge", "", "The number of an error of its driver since the daemon watches, the first that takes it off sale or else the last (DCGM_FI_DEV_XID_ERRORS).", func(d gpu.Device) gpu.Reading { return d.Errors.Xid }, 1},
		{"souk_gpu_healthy", "gauge", "", "1: nothing is wrong with it.", func(d gpu.Device) gpu.Reading { return truth(d.Health == gpu.Healthy) }, 1},
		{"souk_gpu_on_sale", "gauge", "", "1: it is offered, or leased.", func(d gpu.Device) gpu.Reading { return truth(g.onSale(d)) }, 1},
		{"souk_gpu_leased", "gauge", "", "1: a lease has it.", func(d gpu.Device) gpu.Reading { return truth(g.leased(d)) }, 1},
	} {
		e.family(f.name, f.kind, f.unit, f.help)
		for _, d := range gpus {
			if v, ok := f.of(d).Value(); ok {
				e.value(float64(v)/f.scale, "gpu", d.ID, "class", d.Class)
			}
		}
	}
}

func truth(is bool) gpu.Reading {
	if is {
		return gpu.Known(1)
	}
	return gpu.Known(0)
}

func (g *gauges) leased(d gpu.Device) bool {
	if g.seller == nil {
		return false
	}
	_, has := g.seller.Holder(d.ID)
	return has
}

func (g *gauges) onSale(d gpu.Device) bool {
	return g.seller != nil && g.seller.Price(d.Class) > 0 && d.Health == gpu.Healthy && g.seller.Withheld(d.ID) == "" &&
		g.seller.OffSale(d.ID) == "" && g.seller.Unclean(d.ID) == ""
}

// exposition is OpenMetrics text in the making.
type exposition struct {
	b    bytes.Buffer
	name string // of the sample lines of the family under way
}

// family begins the lines of one metric. A counter's lines have _total after its name.
func (e *exposition) family(name, kind, unit, help string) {
	if e.name = name; kind == "counter" {
		e.name += "_total"
	}
	fmt.Fprintf(&e.b, "# TYPE %s %s\n", name, kind)
	if unit != "" {
		fmt.Fprintf(&e.b, "# UNIT %s %s\n", name, unit)
	}
	fmt.Fprintf(&e.b, "# HELP %s %s\n", name, help)
}

// value adds a line, with a name and a value for each label.
func (e *exposition) value(v float64, labels ...string) {
	e.b.WriteString(e.name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := "{"
		if i > 0 {
			sep = ","
		}
		text := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(labels[i+1])
		fmt.Fprintf(&e.b, `%s%s="%s"`, sep, labels[i], text)
	}
	if len(labels) > 0 {
		e.b.WriteByte('}')
	}
	e.b.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}
