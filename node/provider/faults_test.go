package provider

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/inventory"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/node/money/moneytest"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// toldFaults is an inventory that says what it is told to.
type toldFaults struct {
	mu   sync.Mutex
	seen []inventory.Seen
	slow bool // its next reading is not there in time
}

func (f *toldFaults) Incidents(id string, after time.Time) (found []inventory.Seen) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if s.Device == id && s.At.After(after) {
			found = append(found, s)
		}
	}
	return found
}

func (f *toldFaults) Sampled(string, time.Time) bool { return !f.slow }

func (f *toldFaults) tell(id string, n gpu.Incident) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, inventory.Seen{Incident: n, Device: id, At: time.Now(), Well: time.Now().Add(-time.Second)})
}

// TestFaultsOnTheBill ends a job of three seconds by each kind of fault, and looks at
// how it ended, what is due, and whether the device is still for sale.
func TestFaultsOnTheBill(t *testing.T) {
	tree := moneytest.NewTree(t)
	for _, tt := range []struct {
		name    string
		kinds   []string
		exit    int
		reason  runv1.EndReason
		blame   string
		billed  time.Duration
		offSale bool
	}{
		{"no fault", nil, 1, runv1.EndReason_END_REASON_COMPLETED, "", 3 * time.Second, false},
		{"the job's own", []string{"xid-31"}, 1, runv1.EndReason_END_REASON_COMPLETED, "blamed on job, billed to its end", 3 * time.Second, false},
		{"the job's own, and what follows", []string{"xid-13", "xid-45", "xid-109"}, 1, runv1.EndReason_END_REASON_COMPLETED, "xid-13", 3 * time.Second, false},
		{"the device's", []string{"xid-94"}, 1, runv1.EndReason_END_REASON_DEVICE_FAILED, "blamed on device", 2 * time.Second, true},
		{"nobody knows whose", []string{"xid-8"}, 1, runv1.EndReason_END_REASON_DEVICE_FAILED, "blamed on unknown", 2 * time.Second, true},
		{"the host's", []string{"xid-119"}, 1, runv1.EndReason_END_REASON_PROVIDER_FAILED, "blamed on host", 2 * time.Second, true},
		{"one that follows another alone", []string{"xid-45"}, 1, runv1.EndReason_END_REASON_COMPLETED, "", 3 * time.Second, false},
		{"one that ends nothing", []string{"xid-63", "power-brake"}, 1, runv1.EndReason_END_REASON_COMPLETED, "", 3 * time.Second, false},
		{"a job that did its work all the same", []string{"xid-94"}, 0, runv1.EndReason_END_REASON_COMPLETED, "", 3 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				faults := &toldFaults{}
				var device string
				guests := map[string]fake.Guest{"works": func(p *fake.Process) int {
					p.Work(3 * time.Second)
					for _, kind := range tt.kinds {
						faults.tell(device, gpu.IncidentOf(kind))
					}
					return tt.exit
				}}
				b, p, h := newDriven(t, tree, guests, "works", func(*leasev1.Lease) {})
				device = b.Lease.Devices[0]
				p.cfg.Faults, p.cfg.Prices = faults, map[string]souk.Atoms{"H100": 1}
				p.devices = []gpu.Device{{ID: device, Class: "H100", Health: gpu.Healthy}}
				h.driveToEnd(t.Context())
				rec, owed, _ := h.watch()
				due := owed[len(owed)-1].CumulativeDueAtoms
				if rec.Reason != tt.reason || !strings.Contains(rec.Detail, tt.blame) {
					t.Errorf("ended as %s, %q", rec.Reason, rec.Detail)
				}
				if most := b.Cost(t, tt.billed); souk.Atoms(due) > most || souk.Atoms(due) < most-1 {
					t.Errorf("%d atoms are due, want those of %s: %d", due, tt.billed, most)
				}
				if off := p.OffSale(device); (off != "") != tt.offSale || tt.offSale && len(p.floorConfig().Devices) > 0 {
					t.Errorf("off sale: %q", off)
				}
			})
		})
	}
}

// TestJudgingIsNotBilled has a job fail just before a receipt is due, and a driver that
// is slow to say whether the device was to blame: what is waited for that is no work.
func TestJudgingIsNotBilled(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		const works = 4 * time.Second // and a receipt after five
		guests := map[string]fake.Guest{"works": func(p *fake.Process) int { p.Work(works); return 1 }}
		b, p, h := newDriven(t, tree, guests, "works", func(*leasev1.Lease) {})
		p.cfg.Faults = &toldFaults{slow: true}
		p.devices = []gpu.Device{{ID: b.Lease.Devices[0], Class: "H100", Health: gpu.Healthy}}
		h.driveToEnd(t.Context())
		_, owed, _ := h.watch()
		if due, most := souk.Atoms(owed[len(owed)-1].CumulativeDueAtoms), b.Cost(t, works); due > most {
			t.Errorf("%d atoms are due in %d receipts, want at most those of %s: %d", due, len(owed), works, most)
		}
	})
}

// TestHostileJob has a job crash CUDA (go-livepeer issue 2970): it is blamed for that,
// the device stays for sale, and three clients in a row are not all hostile.
func TestHostileJob(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		faults := &toldFaults{}
		b, p, h := newDriven(t, tree, map[string]fake.Guest{"none": func(*fake.Process) int { return 0 }}, "none", func(*leasev1.Lease) {})
		device := b.Lease.Devices[0]
		p.cfg.Faults, p.cfg.Prices = faults, map[string]souk.Atoms{"H100": 1}
		p.devices = []gpu.Device{{ID: device, Class: "H100", Health: gpu.Healthy}}
		crashes := func(client string, kind string) scheduler.RunOver {
			began := time.Now()
			time.Sleep(5 * time.Second)
			faults.tell(device, gpu.IncidentOf(kind))
			h.client = peer.ID(client)
			return p.ended(t.Context(), h, began, runner.Result{Reason: runv1.EndReason_END_REASON_COMPLETED, ExitCode: 1})
		}
		for _, client := range []string{"a", "a", "a", "a", "b"} {
			if over := crashes(client, "xid-13"); over.Reason != runv1.EndReason_END_REASON_COMPLETED || p.OffSale(device) != "" {
				t.Fatalf("client %s: %+v, off sale %q", client, over, p.OffSale(device))
			}
		}
		// A clean run between them begins the count anew, and so does another error.
		p.ended(t.Context(), h, time.Now(), runner.Result{Reason: runv1.EndReason_END_REASON_COMPLETED})
		for _, client := range []string{"a", "b"} {
			crashes(client, "xid-13")
		}
		crashes("c", "xid-31")
		if off := p.OffSale(device); off != "" {
			t.Fatalf("off sale: %s", off)
		}
		crashes("d", "xid-31")
		third := crashes("e", "xid-31")
		if third.Reason != runv1.EndReason_END_REASON_DEVICE_FAILED || third.Until.IsZero() || !strings.Contains(p.OffSale(device), "repeated") {
			t.Errorf("the third client: %+v, off sale %q", third, p.OffSale(device))
		}
	})
}

// TestOffSaleUntilChecked keeps a device off sale until it is well, quiet and checked,
// over a restart of the daemon.
func TestOffSaleUntilChecked(t *testing.T) {
	b := moneytest.NewBooks(t, moneytest.NewTree(t), false, nil)
	checked, refuses := 0, true
	well := gpu.Device{ID: "GPU-1", Class: "H100", Health: gpu.Healthy}
	start := func(boot string, d gpu.Device) *Provider {
		p := seller(b, func(c *Config) {
			c.Boot, c.Devices, c.Prices = boot, []gpu.Device{d}, map[string]souk.Atoms{"H100": 1}
			c.Check = func(context.Context, gpu.Device) error {
				checked++
				if refuses {
					return errFlipped
				}
				return nil
			}
		})
		return p
	}
	ctx := t.Context()
	sells := func(p *Provider) bool { return len(p.floorConfig().Devices) == 1 }
	p := start("boot-1", well)
	p.keepOff(ctx, "GPU-1", gpu.IncidentOf("xid-79"), "")
	later := time.Now().Add(quietFor)
	p.recheck(ctx, later)
	if sells(p) || checked != 0 || !strings.Contains(p.OffSale("GPU-1"), "reset the card or reboot") {
		t.Errorf("for sale %t, %d checks: %s", sells(p), checked, p.OffSale("GPU-1"))
	}
	p = start("boot-1", well) // the daemon is restarted, and nothing else
	p.recheck(ctx, later)
	if sells(p) || checked != 0 {
		t.Errorf("after a restart of the daemon it is for sale: %t, %d checks", sells(p), checked)
	}
	p = start("boot-2", well)
	p.recheck(ctx, later.Add(-time.Second))
	if sells(p) || checked != 0 {
		t.Errorf("before it was quiet it is for sale: %t, %d checks", sells(p), checked)
	}
	p.recheck(ctx, later)
	if sells(p) || checked != 1 || !strings.Contains(p.OffSale("GPU-1"), "wrong sum") {
		t.Errorf("for sale %t, %d checks: %s", sells(p), checked, p.OffSale("GPU-1"))
	}
	refuses = false
	p.recheck(ctx, later.Add(checkAgain))
	if !sells(p) || checked != 2 || p.OffSale("GPU-1") != "" {
		t.Errorf("for sale %t, %d checks: %s", sells(p), checked, p.OffSale("GPU-1"))
	}
	if p = start("boot-2", well); !sells(p) {
		t.Error("after another restart it is off sale again")
	}
	// The driver's own word is as good as a reboot.
	p.keepOff(ctx, "GPU-1", gpu.IncidentOf("xid-79"), "")
	p.devices[0].Recovery = gpu.Known(0)
	if p.recheck(ctx, time.Now().Add(quietFor)); !sells(p) {
		t.Errorf("the driver asks for nothing: %s", p.OffSale("GPU-1"))
	}
}

// TestCheckIsAlone has a device that is off sale be challenged, wiped and checked: never
// two of these at once. One that fails again while it is checked stays off sale.
func TestCheckIsAlone(t *testing.T) {
	b := moneytest.NewBooks(t, moneytest.NewTree(t), false, nil)
	d := gpu.Device{ID: "GPU-1", Class: "H100", Health: gpu.Healthy}
	checked, meanwhile := 0, func() {}
	p := seller(b, func(c *Config) {
		c.Devices, c.Prices = []gpu.Device{d}, map[string]souk.Atoms{"H100": 1}
		c.Check = func(context.Context, gpu.Device) error { checked++; meanwhile(); return nil }
	})
	p.unclean = map[string]string{}
	at := time.Now().Add(time.Second)
	recheck := func(want int, why string) {
		t.Helper()
		at = at.Add(quietFor)
		p.recheck(t.Context(), at)
		if off := p.OffSale("GPU-1"); checked != want || (off != "") != (why != "") || !strings.Contains(off, why) {
			t.Errorf("%d checks, want %d; off sale: %q, want %q", checked, want, off, why)
		}
	}
	p.keepOff(t.Context(), "GPU-1", gpu.IncidentOf("xid-94"), "")
	p.off.rows["GPU-1"].Reset = false
	p.floor.Keep(time.Now(), proving, []string{"GPU-1"}, time.Now().Add(time.Hour))
	recheck(0, "it is still in use")
	p.floor.Unkeep(proving)
	p.unclean["GPU-1"] = wiped
	p.keepDirty(time.Now())
	if len(p.dirtyDevices()) != 1 {
		t.Error("it is not wiped")
	}
	recheck(0, "its memory has yet to be wiped")
	delete(p.unclean, "GPU-1")
	p.floor.Unkeep("wipe GPU-1")
	meanwhile = func() {
		p.mu.Lock()
		p.unclean["GPU-1"] = wiped
		p.keepDirty(time.Now())
		p.mu.Unlock()
		if len(p.dirtyDevices()) != 0 {
			t.Error("it is wiped beside its check")
		}
		p.unclean = map[string]string{}
		p.keepOff(t.Context(), "GPU-1", gpu.IncidentOf("xid-94"), "")
	}
	recheck(1, "it failed again meanwhile")
	meanwhile = func() {}
	p.off.rows["GPU-1"].Reset = false
	recheck(2, "")
}

type flipped struct{}

func (flipped) Error() string { return "a wrong sum" }

var errFlipped = flipped{}

// leftRunner has a container that its engine does not end.
type leftRunner struct {
	runner.Runner
	left func() (bool, error)
}

func (r leftRunner) Left(context.Context, string) (bool, error) { return r.left() }

// TestStuckContainer has an engine that does not end a container (nvidia-docker issue
// 1553), and one that is away when the lease ends (akash node issue 1227): the bill
// ends, and nobody gets the device before the container is gone.
func TestStuckContainer(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		b, p, h := newDriven(t, tree, map[string]fake.Guest{"none": func(*fake.Process) int { return 0 }}, "none", func(*leasev1.Lease) {})
		device := b.Lease.Devices[0]
		p.devices, p.cfg.Prices = []gpu.Device{{ID: device, Class: "H100", Health: gpu.Healthy}}, map[string]souk.Atoms{"H100": 1}
		answers := []struct {
			left bool
			err  error
		}{{false, errFlipped}, {true, nil}, {false, nil}}
		p.cfg.Runners = []runner.Runner{leftRunner{Runner: p.cfg.Runners[0], left: func() (bool, error) {
			now := answers[0]
			if len(answers) > 1 {
				answers = answers[1:]
			}
			return now.left, now.err
		}}}
		asked := time.Now()
		time.Sleep(30 * time.Second)
		over := p.ended(t.Context(), h, asked.Add(-time.Minute), runner.Result{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, Fault: gpu.KindStuck, UsableUntil: asked, Detail: "the engine"})
		if !over.Until.Equal(asked) || !strings.Contains(over.Detail, "blamed on host") {
			t.Errorf("%+v", over)
		}
		p.free(h.id)
		for range 2 {
			time.Sleep(quietFor)
			p.recheck(t.Context(), time.Now())
			if off := p.OffSale(device); !strings.Contains(off, "container of lease") || len(p.floorConfig().Devices) != 0 {
				t.Fatalf("off sale: %q", off)
			}
		}
		for range 2 { // gone, and then checked
			time.Sleep(quietFor)
			p.recheck(t.Context(), time.Now())
		}
		if off := p.OffSale(device); off != "" || len(p.floorConfig().Devices) != 1 {
			t.Errorf("off sale: %q", off)
		}
	})
}

// TestRestartBesideAContainer starts a provider whose job still runs in a container:
// its device is nobody's until that is gone.
func TestRestartBesideAContainer(t *testing.T) {
	b := moneytest.NewBooks(t, moneytest.NewTree(t), false, nil)
	p := seller(b, func(c *Config) {
		c.Devices, c.Prices = []gpu.Device{{ID: b.Lease.Devices[0], Class: "H100", Health: gpu.Healthy}}, map[string]souk.Atoms{"H100": 1}
	})
	h := openTenancy(p.means, b.Lease, b.Terms, b.Channel, peer.ID("client"), leaseRecord{TenancyState: scheduler.TenancyState{Phase: runv1.Phase_PHASE_RUNNING}})
	p.mayLinger(time.Now(), h)
	if len(p.floorConfig().Devices) != 0 {
		t.Error("it is for sale")
	}
	if p.recheck(t.Context(), time.Now()); len(p.floorConfig().Devices) != 0 { // nothing is left, as no runner has any
		t.Error("it is for sale before it was checked")
	}
	if p.recheck(t.Context(), time.Now()); len(p.floorConfig().Devices) != 1 {
		t.Errorf("off sale: %s", p.OffSale(b.Lease.Devices[0]))
	}
}

// TestLostDeviceEndsItsLease takes a device out of the list, as a slice is that its
// owner destroys, and one that failed: the machine is told since when.
func TestLostDeviceEndsItsLease(t *testing.T) {
	faults := &toldFaults{}
	l := &leasev1.Lease{Devices: []string{"GPU-1"}}
	p := &Provider{cfg: Config{Faults: faults}}
	if e, _ := p.broken(l); e != nil { // a driver hides it since before
		t.Errorf("an unseen device: %+v", e)
	}
	faults.tell("GPU-1", gpu.IncidentOf(gpu.KindLost))
	if e, _ := p.broken(l); e == nil || e.Until.IsZero() || e.Reason != runv1.EndReason_END_REASON_DEVICE_FAILED {
		t.Errorf("a lost device: %+v", e)
	}
	p.devices = []gpu.Device{{ID: "GPU-1", Health: gpu.Healthy}}
	if e, _ := p.broken(l); e != nil {
		t.Errorf("it is back: %+v", e)
	}
	p.devices[0] = gpu.Device{ID: "GPU-1", Failed: true, Fault: gpu.KindPower, Health: "its cables"}
	p.cfg.Faults = &toldFaults{}
	if e, _ := p.broken(l); e == nil || e.Reason != runv1.EndReason_END_REASON_PROVIDER_FAILED || !strings.Contains(e.Detail, "power-cable on GPU-1, blamed on host") {
		t.Errorf("no power: %+v", e)
	}
}
