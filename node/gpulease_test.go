package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// idleCard is what the card of the stand-in draws, in milliwatts.
const idleCard = 21_730

// card is a machine with one RTX 4090, as the stand-in of its driver plays it.
type card struct {
	t    *testing.T
	path string
	text []byte
}

func newCard(t *testing.T) *card {
	t.Helper()
	library, err := standIn()
	if err != nil {
		t.Fatal(err)
	}
	text, err := nvmltest.Scenario("rtx4090")
	if err != nil {
		t.Fatal(err)
	}
	c := &card{t, filepath.Join(t.TempDir(), "scenario"), text}
	t.Setenv(nvml.LibraryVariable, library.Path)
	t.Setenv(nvmltest.ScenarioVariable, c.path)
	c.play("")
	return c
}

// play changes the machine: lines come at the end of what it is.
func (c *card) play(lines string) {
	c.t.Helper()
	next := c.path + ".next"
	err := os.WriteFile(next, append(append([]byte{}, c.text...), lines...), 0o600)
	if err == nil {
		err = os.Rename(next, c.path) // at once
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// sell is a provider of the card, over the stand-in: its jobs are goroutines.
func (c *card) sell(url string) *daemon {
	c.t.Helper()
	d := startDaemon(c.t, func(cfg *node.Config) {
		onChain(cfg, url)
		cfg.Probes = []gpu.Probe{cpu.Probe{}, nvml.Probe{Command: []string{os.Args[0], "probe-nvml"}}}
		cfg.Provide, cfg.Prices = true, map[string]souk.Atoms{"RTX_4090": 2 * souk.AtomsPerToken}
	})
	d.fill(c.t)
	return d
}

// runOn starts a job on one GPU that pays so often.
func (d *daemon) runOn(t *testing.T, guest string, every time.Duration) *job {
	t.Helper()
	msg := testJob(t, d, guest)
	msg.Resources.GpuCount, msg.Price.PayEveryMs = 1, uint64(every.Milliseconds())
	return d.submit(t, msg)
}

// measured is what the receipts of a daemon have of its card: its samples, whose
// roots are checked, and the energy, in millijoules.
func (d *daemon) measured(t *testing.T) (samples, energy uint64, last *apiv1.ProvedReceipt) {
	t.Helper()
	got, err := d.Receipts(t.Context(), &apiv1.ReceiptsRequest{Proofs: true})
	if err != nil || len(got.Receipts) == 0 {
		t.Fatalf("%d receipts, %v", len(got.GetReceipts()), err)
	}
	for _, r := range got.Receipts {
		var leaves []souk.Digest
		for _, b := range r.Samples {
			s, err := payment.OpenSample(b)
			if err != nil || !strings.HasPrefix(s.Device, "GPU-4090") || s.GetPowerMw() != idleCard || s.GetTotalEnergyMj() == 0 || s.GetGpuUtil() != 3 {
				t.Errorf("sample %v, %v", s, err)
			}
			leaves = append(leaves, payment.SampleLeaf(b))
		}
		if root := payment.TelemetryRoot(leaves); string(root[:]) != string(r.Receipt.TelemetryRoot) {
			t.Errorf("receipt %d has another root than that of its %d samples", r.Receipt.Seq, len(leaves))
		}
		samples, energy = samples+uint64(len(r.Samples)), energy+r.Receipt.EnergyMillijoules
	}
	return samples, energy, got.Receipts[len(got.Receipts)-1]
}

// TestGPUOnTheBill leases a GPU over the stand-in of its driver: the samples of its
// sensors are on the bill, and the energy is what its counter rose by.
func TestGPUOnTheBill(t *testing.T) {
	seller := newCard(t).sell(serveChain(t))
	client := buyer(t, seller)
	began := time.Now()
	s := client.runOn(t, "long", time.Second).finished(t)
	most := uint64(time.Since(began).Milliseconds()) * idleCard / 1000
	if s.State != "done" || s.PaidAtoms == 0 || len(s.Devices) != 1 || s.Devices[0].Class != "RTX_4090" {
		t.Fatalf("the job ended as %v", s)
	}
	for _, d := range []*daemon{seller, client} {
		samples, energy, _ := d.measured(t)
		if samples < 2 || energy < idleCard || energy > most {
			t.Errorf("%d samples, %d mJ of at most %d", samples, energy, most)
		}
	}
}

// TestGPUFallsOff has the card fall off the bus under a job: the job ends and says so,
// what came after the last good look is not billed, and the card is off sale.
func TestGPUFallsOff(t *testing.T) {
	c := newCard(t)
	seller := c.sell(serveChain(t))
	client := buyer(t, seller)
	j := client.runOn(t, "forever", 30*time.Second)
	j.running(t)
	networktest.Eventually(t, "samples", func() bool { return len(j.metrics(t, &apiv1.MetricsRequest{Id: j.id, Once: true})) >= 2 })
	c.play("fail * 15\n")
	fell := time.Now()
	s := j.finished(t)
	if s.Reason != "device-failed" || !strings.Contains(s.Detail, "not billed after") {
		t.Errorf("the job ended as %s: %s", s.Reason, s.Detail)
	}
	_, _, last := seller.measured(t)
	started := time.UnixMilli(last.Receipt.StartMs)
	if billed := time.Duration(last.Receipt.Usage[0].Quantity) * time.Millisecond; billed <= 0 || billed > fell.Sub(started) {
		t.Errorf("%s of the %s before it fell are billed", billed, fell.Sub(started))
	}
	got, err := seller.Devices(t.Context(), &apiv1.DevicesRequest{})
	if err != nil || len(got.Devices) != 2 || !strings.Contains(got.Devices[1].OffSale, "lost") {
		t.Errorf("the devices are %v, %v", got, err)
	}
}
