package scheduler

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// start is when every test begins.
var start = time.UnixMilli(1_800_000_000_000).UTC()

func key(n byte) souk.NodeKey { return souk.NodeKey{n} }

func leaseID(n byte) souk.LeaseID { return souk.LeaseID{Digest: souk.Digest{n}} }

func testFloor() FloorConfig {
	return FloorConfig{
		Devices: []FloorDevice{
			{ID: "cpu-1", Class: "CPU", CPU: true, MemoryBytes: 8e9, PriceAtomsPerHour: 50_000},
			{ID: "GPU-1", Class: "RTX_4090", MemoryBytes: 24e9, ComputeCap: 89, PriceAtomsPerHour: 400_000},
			{ID: "GPU-2", Class: "RTX_4090", MemoryBytes: 24e9, ComputeCap: 89, PriceAtomsPerHour: 400_000},
			{ID: "GPU-3", Class: "A100", MemoryBytes: 80e9, ComputeCap: 80, PriceAtomsPerHour: 1_000_000},
			{ID: "MIG-1", Class: "A100_MIG_1G_10GB", MemoryBytes: 10e9, ComputeCap: 80, PriceAtomsPerHour: 100_000},
		},
		Runners: []marketv1.Runner{marketv1.Runner_RUNNER_OCI, marketv1.Runner_RUNNER_WASM},
		Region:  "EU", Evidence: marketv1.Evidence_EVIDENCE_NONE,
		CPUMilli: 8000, RAMBytes: 32e9, DiskBytes: 100e9, MaxDuration: 6 * time.Hour,
	}
}

func gpuOrder(gpus uint32, changes ...func(*marketv1.Order)) *marketv1.Order {
	o := &marketv1.Order{
		Resources: &marketv1.Resources{GpuCount: gpus, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM},
			MinEvidence: marketv1.Evidence_EVIDENCE_NONE, CpuMilli: 1000, MemoryBytes: 4e9, DiskBytes: 10e9},
		MaxDurationMs: 3_600_000, MaxPriceAtomsPerHour: 2_000_000, DeadlineMs: start.Add(time.Second).UnixMilli(),
	}
	for _, c := range changes {
		c(o)
	}
	return o
}

func TestFloorDeclines(t *testing.T) {
	busy := func(f *Floor) {
		f.Commit(start, Occupancy{ID: leaseID(9), Client: key(9), Devices: []string{"GPU-1"}, Until: start.Add(time.Hour),
			Use: &marketv1.Resources{CpuMilli: 7500, MemoryBytes: 30e9, DiskBytes: 95e9}})
	}
	for _, tt := range []struct {
		name      string
		before    func(*Floor)
		change    func(*marketv1.Order)
		after     time.Duration
		reason    marketv1.DeclineReason
		shortfall uint64
	}{
		{"one device short", busy, func(o *marketv1.Order) { o.Resources.Models = []string{"RTX_4090"}; o.Resources.GpuCount = 2 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_BUSY, 1},
		{"cap below the price", nil, func(o *marketv1.Order) { o.MaxPriceAtomsPerHour = 350_000 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_PRICE, 50_000},
		{"a busy class is nearer than a dear one", busy, func(o *marketv1.Order) { o.Resources.GpuCount = 2 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_BUSY, 1},
		{"no such model", nil, func(o *marketv1.Order) { o.Resources.Models = []string{"H100"} }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"no whole card for a slice", nil, func(o *marketv1.Order) { o.Resources.Slice, o.MustUnderstand = "2g.20gb", []string{"slice"} }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"no slice for a whole card", nil, func(o *marketv1.Order) { o.Resources.VramMaxBytes = 10e9 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"not that many", nil, func(o *marketv1.Order) { o.Resources.GpuCount = 5 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DEVICE, 3},
		{"not that much device memory", nil, func(o *marketv1.Order) { o.Resources.VramMinBytes = 100e9 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"too much device memory", nil, func(o *marketv1.Order) { o.Resources.VramMaxBytes = 1e9 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"compute capability", nil, func(o *marketv1.Order) { o.Resources.ComputeCapMin = 90 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"not that much memory", nil, func(o *marketv1.Order) { o.Resources.MemoryBytes = 33e9 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_MEMORY, 1e9},
		{"cores are leased", busy, func(*marketv1.Order) {}, 0, marketv1.DeclineReason_DECLINE_REASON_CPU, 500},
		{"memory is leased", busy, func(o *marketv1.Order) { o.Resources.CpuMilli = 0 }, 0, marketv1.DeclineReason_DECLINE_REASON_MEMORY, 2e9},
		{"disk is leased", busy, func(o *marketv1.Order) { o.Resources.CpuMilli, o.Resources.MemoryBytes = 0, 0 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DISK, 5e9},
		{"not that many cores", nil, func(o *marketv1.Order) { o.Resources.CpuMilli = 9000 }, 0, marketv1.DeclineReason_DECLINE_REASON_CPU, 1000},
		{"not that much disk", nil, func(o *marketv1.Order) { o.Resources.DiskBytes = 101e9 }, 0, marketv1.DeclineReason_DECLINE_REASON_DISK, 1e9},
		{"longer than leases here", nil, func(o *marketv1.Order) { o.MaxDurationMs = 7 * 3_600_000 }, 0,
			marketv1.DeclineReason_DECLINE_REASON_DURATION, 3_600_000},
		{"no runner", nil, func(o *marketv1.Order) { o.Resources.Runners = []marketv1.Runner{marketv1.Runner_RUNNER_GVISOR} }, 0,
			marketv1.DeclineReason_DECLINE_REASON_RUNNER, 0},
		{"another region", nil, func(o *marketv1.Order) { o.Resources.Regions = []string{"US"} }, 0, marketv1.DeclineReason_DECLINE_REASON_REGION, 0},
		{"not proved", nil, func(o *marketv1.Order) { o.Resources.MinEvidence = marketv1.Evidence_EVIDENCE_CHALLENGED }, 0,
			marketv1.DeclineReason_DECLINE_REASON_EVIDENCE, 0},
		{"later than clocks differ", nil, func(*marketv1.Order) {}, time.Second + market.Skew + 1500*time.Millisecond,
			marketv1.DeclineReason_DECLINE_REASON_EXPIRED, 31_500},
		{"draining", (*Floor).Drain, func(*marketv1.Order) {}, 0, marketv1.DeclineReason_DECLINE_REASON_DRAINING, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := NewFloor(testFloor())
			if tt.before != nil {
				tt.before(f)
			}
			bid, refusal := f.Bid(start.Add(tt.after), key(1), gpuOrder(1, tt.change), true)
			if refusal == nil {
				t.Fatalf("bids %+v", bid)
			}
			if refusal.Reason != tt.reason || refusal.Shortfall != tt.shortfall {
				t.Errorf("declines: %s short by %d; want %s, %d", refusal.Reason, refusal.Shortfall, tt.reason, tt.shortfall)
			}
			if len(f.holds) != 0 {
				t.Error("a declined order holds devices")
			}
		})
	}
}

func TestFloorRate(t *testing.T) {
	f := NewFloor(testFloor())
	for range 20 {
		if _, r := f.Bid(start, key(1), gpuOrder(1), false); r != nil {
			t.Fatalf("within the burst: %v", r)
		}
	}
	_, r := f.Bid(start, key(1), gpuOrder(1), false)
	if r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_RATE || r.Shortfall != 100 {
		t.Fatalf("past the burst: %+v; want rate, 100 ms", r)
	}
	if _, r := f.Bid(start, key(2), gpuOrder(1), false); r != nil {
		t.Errorf("another client: %v", r)
	}
	if _, r := f.Bid(start.Add(100*time.Millisecond), key(1), gpuOrder(1), false); r != nil {
		t.Errorf("after the pause: %v", r)
	}
}

func TestFloorBids(t *testing.T) {
	f := NewFloor(testFloor())
	for _, tt := range []struct {
		name    string
		order   *marketv1.Order
		class   string
		devices []string
		price   uint64
	}{
		{"the cheapest class", gpuOrder(1), "RTX_4090", []string{"GPU-1"}, 400_000},
		{"two of a class", gpuOrder(2), "RTX_4090", []string{"GPU-1", "GPU-2"}, 400_000},
		{"a class by name", gpuOrder(1, func(o *marketv1.Order) { o.Resources.Models = []string{"A100"} }), "A100", []string{"GPU-3"}, 1_000_000},
		{"a class by memory", gpuOrder(1, func(o *marketv1.Order) { o.Resources.VramMinBytes = 40e9 }), "A100", []string{"GPU-3"}, 1_000_000},
		{"the processor", gpuOrder(0), "CPU", []string{"cpu-1"}, 50_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, r := f.Bid(start, key(1), tt.order, false)
			if r != nil || b.Class != tt.class || !slices.Equal(b.Devices, tt.devices) || b.Price != tt.price {
				t.Fatalf("bids %+v, %+v", b, r)
			}
			if b.Runner != marketv1.Runner_RUNNER_WASM || b.Held || !b.ValidUntil.Equal(start.Add(3*time.Second)) {
				t.Errorf("bids %+v", b)
			}
		})
	}
}

func TestFloorHolds(t *testing.T) {
	f := NewFloor(testFloor())
	bid := func(now time.Time, client byte, funded bool) []string {
		t.Helper()
		b, r := f.Bid(now, key(client), gpuOrder(1, func(o *marketv1.Order) { o.Resources.Models = []string{"RTX_4090"} }), funded)
		if r != nil {
			t.Fatalf("client %d: %+v", client, r)
		}
		return b.Devices
	}
	if got := bid(start, 1, true); !slices.Equal(got, []string{"GPU-1"}) {
		t.Errorf("holds %v", got)
	}
	if got := bid(start.Add(time.Second), 1, true); !slices.Equal(got, []string{"GPU-1"}) {
		t.Errorf("a second order of the client holds %v beside the first", got)
	}
	if got := bid(start.Add(time.Second), 2, false); !slices.Equal(got, []string{"GPU-2"}) {
		t.Errorf("a stranger is offered %v", got)
	}
	if want := map[string]int{"CPU": 1, "RTX_4090": 1, "A100": 1, "A100_MIG_1G_10GB": 1}; !maps.Equal(f.Free(start.Add(time.Second)), want) {
		t.Errorf("free: %v; want %v: nothing is held for the stranger", f.Free(start), want)
	}
	taken := f.Commit(start.Add(2*time.Second), Occupancy{ID: leaseID(1), Client: key(2), Devices: []string{"GPU-1"}, Until: start.Add(time.Hour)})
	if taken == nil || taken.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN || taken.Shortfall != 1 {
		t.Errorf("a stranger takes what is held: %+v", taken)
	}
	if at, ok := f.Next(); !ok || !at.Equal(start.Add(4*time.Second)) {
		t.Errorf("next at %s, %t; want the end of the hold", at, ok)
	}
	if got := f.Free(start.Add(4 * time.Second))["RTX_4090"]; got != 2 {
		t.Errorf("%d free after the hold; want 2", got)
	}
	f.Expire(start.Add(4 * time.Second))
	if _, ok := f.Next(); ok || len(f.holds) != 0 {
		t.Error("the hold was not swept")
	}
}

func TestFloorLeases(t *testing.T) {
	f := NewFloor(testFloor())
	lease := Occupancy{ID: leaseID(1), Client: key(1), Devices: []string{"GPU-1", "GPU-2"}, Until: start.Add(time.Hour)}
	for range 2 { // the same lease twice is one lease
		if r := f.Commit(start, lease); r != nil {
			t.Fatalf("commit: %+v", r)
		}
	}
	if id, ok := f.Holder("GPU-2"); !ok || id != leaseID(1) || f.Free(start)["RTX_4090"] != 0 {
		t.Errorf("holder %s, %t", id, ok)
	}
	for _, tt := range []struct {
		name      string
		lease     Occupancy
		reason    marketv1.DeclineReason
		shortfall uint64
	}{
		{"taken", Occupancy{Devices: []string{"GPU-2", "GPU-3"}, Until: start.Add(time.Hour)}, marketv1.DeclineReason_DECLINE_REASON_TAKEN, 1},
		{"unknown", Occupancy{Devices: []string{"GPU-9"}, Until: start.Add(time.Hour)}, marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"twice", Occupancy{Devices: []string{"GPU-3", "GPU-3"}, Until: start.Add(time.Hour)}, marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"none", Occupancy{Until: start.Add(time.Hour)}, marketv1.DeclineReason_DECLINE_REASON_DEVICE, 1},
		{"over", Occupancy{Devices: []string{"GPU-3"}, Until: start}, marketv1.DeclineReason_DECLINE_REASON_EXPIRED, 0},
		{"memory", Occupancy{Devices: []string{"GPU-3"}, Until: start.Add(time.Hour), Use: &marketv1.Resources{MemoryBytes: 40e9}},
			marketv1.DeclineReason_DECLINE_REASON_MEMORY, 8e9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.lease.ID, tt.lease.Client = leaseID(2), key(2)
			if r := f.Commit(start, tt.lease); r == nil || r.Reason != tt.reason || r.Shortfall != tt.shortfall {
				t.Errorf("commit: %+v; want %s, %d", r, tt.reason, tt.shortfall)
			}
		})
	}
	if !f.Extend(leaseID(1), start.Add(2*time.Hour)) || f.Extend(leaseID(9), start) {
		t.Error("extend")
	}
	if over := f.Expire(start.Add(time.Hour)); len(over) != 0 {
		t.Errorf("an extended lease is over: %v", over)
	}
	late := start.Add(2 * time.Hour)
	if over := f.Expire(late); !slices.Equal(over, []souk.LeaseID{leaseID(1)}) {
		t.Errorf("over: %v", over)
	}
	if over := f.Expire(late); len(over) != 0 || f.Free(late)["RTX_4090"] != 0 {
		t.Errorf("named twice: %v; and its devices are free before it is released", over)
	}
	if _, ok := f.Next(); ok {
		t.Error("a lease that was named is waited for")
	}
	if !f.Release(late, leaseID(1)) || f.Release(late, leaseID(1)) || f.Free(late)["RTX_4090"] != 2 {
		t.Error("release")
	}
	f.Drain()
	if r := f.Commit(late, Occupancy{ID: leaseID(3), Devices: []string{"GPU-3"}, Until: late.Add(time.Hour)}); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_DRAINING {
		t.Errorf("a draining floor takes a lease: %+v", r)
	}
}

// TestFloorRestock takes devices away from under holds and leases.
// TestFloorRegain brings a lease of an earlier life back while its device does not
// show: nobody else gets the device when it does.
func TestFloorRegain(t *testing.T) {
	f := NewFloor(FloorConfig{})
	lease := Occupancy{ID: souk.LeaseID{Digest: souk.Digest{1}}, Devices: []string{"GPU-1"}, Until: start.Add(time.Hour)}
	other := Occupancy{ID: souk.LeaseID{Digest: souk.Digest{2}}, Devices: []string{"GPU-1"}, Until: start.Add(time.Hour)}
	if r := f.Commit(start, lease); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_DEVICE {
		t.Fatalf("a new lease of a device that does not show: %v", r)
	}
	if r := f.Regain(start, lease); r != nil {
		t.Fatal(r)
	}
	if r := f.Regain(start, other); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN {
		t.Errorf("two leases regain one device: %v", r)
	}
	f.Restock([]FloorDevice{{ID: "GPU-1", Class: "H100"}})
	if id, ok := f.Holder("GPU-1"); !ok || id != lease.ID || f.Free(start)["H100"] != 0 {
		t.Errorf("the device that came back is held by %s, %t", id, ok)
	}
	if r := f.Commit(start, other); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN {
		t.Errorf("another lease gets it: %v", r)
	}
	if r := f.Regain(start.Add(time.Hour), Occupancy{ID: other.ID, Devices: []string{"GPU-2"}, Until: start}); r == nil {
		t.Error("a lease that is over comes back")
	}
}

func TestFloorRestock(t *testing.T) {
	cfg := testFloor()
	f := NewFloor(cfg)
	lease := Occupancy{ID: leaseID(1), Client: key(1), Devices: []string{"GPU-1"}, Until: start.Add(time.Hour)}
	if r := f.Commit(start, lease); r != nil {
		t.Fatalf("commit: %+v", r)
	}
	gone := slices.DeleteFunc(slices.Clone(cfg.Devices), func(d FloorDevice) bool { return d.ID == "GPU-1" || d.ID == "GPU-2" })
	f.Restock(gone)
	other := Occupancy{ID: leaseID(2), Client: key(2), Devices: []string{"GPU-2"}, Until: start.Add(time.Hour)}
	if r := f.Commit(start, other); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_DEVICE {
		t.Errorf("a device that is gone was leased: %+v", r)
	}
	if id, ok := f.Holder("GPU-1"); !ok || id != leaseID(1) {
		t.Error("the lease lost its device")
	}
	f.Restock(cfg.Devices)
	other.Devices = []string{"GPU-1"}
	if r := f.Commit(start, other); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN {
		t.Errorf("a device that came back was leased twice: %+v", r)
	}
}
