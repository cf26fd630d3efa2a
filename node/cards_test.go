package node_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestMain makes the test binary the probe's child, as souk is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe-nvml" {
		os.Exit(nvml.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	dir, err := os.MkdirTemp("", "cards-*")
	if err != nil {
		panic(err)
	}
	standIn = sync.OnceValues(func() (*nvmltest.Library, error) { return nvmltest.Build(dir) })
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// standIn builds the stand-in for the driver's library, once for all tests.
var standIn func() (*nvmltest.Library, error)

// cards is a machine of the stand-in for NVIDIA's driver.
type cards struct {
	path string // of its scenario
	text []byte
}

// newCards makes the probes of this test's daemons see the machine of a scenario.
func newCards(t *testing.T, scenario string) *cards {
	t.Helper()
	library, err := standIn()
	if err != nil {
		t.Fatal(err)
	}
	text, err := nvmltest.Scenario(scenario)
	if err != nil {
		t.Fatal(err)
	}
	c := &cards{filepath.Join(t.TempDir(), "scenario"), text}
	t.Setenv(nvml.LibraryVariable, library.Path)
	t.Setenv(nvmltest.ScenarioVariable, c.path)
	c.set(t)
	return c
}

// set changes the machine at one moment: it is as it was, with lines put at its end.
func (c *cards) set(t *testing.T, lines ...string) {
	t.Helper()
	text := string(c.text)
	for _, l := range lines {
		text += l + "\n"
	}
	if err := os.WriteFile(c.path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		t.Fatal(err)
	}
}

// sellingCards makes a node sell some of the classes that its driver shows, at one
// token an hour.
func sellingCards(url string, classes ...string) func(*node.Config) {
	return func(c *node.Config) {
		onChain(c, url)
		c.Probes = []gpu.Probe{cpu.Probe{}, nvml.Probe{Command: []string{os.Args[0], "probe-nvml"}}}
		c.Provide, c.Prices = true, map[string]souk.Atoms{}
		for _, class := range classes {
			c.Prices[class] = souk.AtomsPerToken
		}
	}
}

// TestSlices sells the slices of a card that MIG has cut, by their profile: a job that
// wants one gets it, and a job for a whole card gets none of them.
func TestSlices(t *testing.T) {
	newCards(t, "mig")
	classes := []string{"A100_MIG_1G_5GB", "A100_MIG_2G_10GB", "A100_MIG_3G_20GB"}
	seller := startDaemon(t, sellingCards(serveChain(t), classes...))
	seller.fill(t)
	client := startDaemon(t, func(c *node.Config) { onChain(c, seller.cfg.ChainURLs[0]); c.Bootstrap = seller.addrs[:1] })
	client.fill(t)
	networktest.Eventually(t, "an offer of each profile", func() bool { return len(client.market(t)) == len(classes) })
	for query, want := range map[string]int{"slice=2g.10gb": 1, "slice=whole": 0, "slice=1g.5gb,3g.20gb": 2} {
		if got, err := client.Offers(t.Context(), &apiv1.OffersRequest{Query: query}); err != nil || len(got.Offers) != want {
			t.Errorf("%s: %v, %v", query, got, err)
		}
	}

	whole := testJob(t, client, "brief")
	whole.Resources.CpuMilli, whole.Resources.GpuCount = 0, 1
	plan, err := client.Plan(t.Context(), &apiv1.PlanRequest{Job: whole})
	if err != nil || len(plan.Candidates) != 0 {
		t.Errorf("a whole card: %v, %v", plan, err)
	}
	msg := testJob(t, client, "brief")
	msg.Resources.CpuMilli, msg.Resources.GpuCount, msg.Resources.Slice, msg.Resources.Models = 0, 1, "2g.10gb", []string{"A100"}
	end := client.submit(t, msg).finished(t)
	if end.State != "done" || classesText(end.Devices) != "1 A100_MIG_2G_10GB at 1" {
		t.Errorf("the job ended as %v", end)
	}
}

// offered is the devices free of a class, as a daemon knows its market; -1 without an offer.
func (d *daemon) offered(t *testing.T, class string) int {
	t.Helper()
	for _, row := range d.market(t) {
		if row.Offer.Class == class {
			return int(row.Offer.Free)
		}
	}
	return -1
}

// TestOfferFollowsDriver changes a card in its driver and measures until another node's
// book has it, over gossip between two hosts. The driver is read each second, and of
// two changes within two seconds the later one waits for them to be over.
func TestOfferFollowsDriver(t *testing.T) {
	t.Attr("show", "output")
	c := newCards(t, "confidential")
	seller := startDaemon(t, func(cfg *node.Config) { sellingCards(serveChain(t), "H100")(cfg); cfg.WhenIdle = true })
	other := startDaemon(t, watching(seller))
	networktest.Eventually(t, "the card on sale", func() bool { return other.offered(t, "H100") == 1 })
	for _, tt := range []struct {
		name string
		line string // empty: the machine as it was
		free int
	}{
		{"its owner computes on it", "compute_processes 2", 0},
		{"its owner is done", "", 1},
		{"its mode keeps jobs out", "compute_mode 2", 0},
	} {
		began := time.Now()
		c.set(t)
		if tt.line != "" {
			c.set(t, tt.line)
		}
		networktest.Eventually(t, tt.name, func() bool { return other.offered(t, "H100") == tt.free })
		t.Logf("%s: in the other node's book after %s", tt.name, time.Since(began).Round(time.Millisecond))
	}
}
