package scheduler

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"pgregory.net/rapid"
)

// mixed lets an order have devices of several classes.
func mixed(o *marketv1.Order) {
	o.Version, o.Resources.Mixed, o.MustUnderstand = 2, true, []string{market.ExtensionMixed}
}

func TestFloorMixed(t *testing.T) {
	lease := func(devices ...string) func(*Floor) {
		return func(f *Floor) {
			f.Commit(start, Occupancy{ID: leaseID(9), Client: key(9), Devices: devices, Until: start.Add(time.Hour)})
		}
	}
	for _, tt := range []struct {
		name   string
		before func(*Floor)
		gpus   uint32
		change func(*marketv1.Order)
		want   string // class and devices of each group; or the refusal
	}{
		{"two classes", nil, 3, nil, "RTX_4090 [GPU-1 GPU-2], A100 [GPU-3]"},
		{"one class is enough", nil, 2, nil, "RTX_4090 [GPU-1 GPU-2]"},
		{"what is free", lease("GPU-1"), 2, nil, "RTX_4090 [GPU-2], A100 [GPU-3]"},
		{"a dear class alone is free", lease("GPU-1", "GPU-2"), 1, nil, "A100 [GPU-3]"},
		{"the order wants one class", nil, 3, func(o *marketv1.Order) { o.Resources.Mixed = false }, "device: 1 device of the kind missing"},
		{"the first version has one class", nil, 3, func(o *marketv1.Order) { o.Version = 1 }, "device: 1 device of the kind missing"},
		{"not that many", nil, 4, nil, "device: 1 device of the kind missing"},
		{"the processor is none of them", nil, 4, func(o *marketv1.Order) { o.Resources.Models = []string{"CPU", "RTX_4090", "A100"} }, "device: 1 device of the kind missing"},
		{"a class that is not accepted", nil, 3, func(o *marketv1.Order) { o.Resources.Models = []string{"RTX_4090", "H100"} }, "device: 1 device of the kind missing"},
		{"a class with too little memory", nil, 3, func(o *marketv1.Order) { o.Resources.VramMinBytes = 40e9 }, "device: 2 devices of the kind missing"},
		{"one is leased", lease("GPU-2"), 3, nil, "busy: 1 device short"},
		{"all are leased", lease("GPU-1", "GPU-2", "GPU-3"), 3, nil, "busy: 3 devices short"},
		{"a class above the cap", nil, 3, func(o *marketv1.Order) { o.MaxPriceAtomsPerHour = 900_000 }, "price: 0.1/h above your cap"},
		{"all above the cap", nil, 2, func(o *marketv1.Order) { o.MaxPriceAtomsPerHour = 100_000 }, "price: 0.3/h above your cap"},
		{"a class above the cap is not needed", nil, 2, func(o *marketv1.Order) { o.MaxPriceAtomsPerHour = 900_000 }, "RTX_4090 [GPU-1 GPU-2]"},
		{"the rest below the cap is leased", lease("GPU-2"), 2, func(o *marketv1.Order) { o.MaxPriceAtomsPerHour = 900_000 }, "busy: 1 device short"},
		{"not that many cores", nil, 3, func(o *marketv1.Order) { o.Resources.CpuMilli = 9000 }, "cpu: 1 cores short"},
	} {
		f := NewFloor(testFloor())
		if tt.before != nil {
			tt.before(f)
		}
		changes := []func(*marketv1.Order){mixed}
		if tt.change != nil {
			changes = append(changes, tt.change)
		}
		order := gpuOrder(tt.gpus, changes...)
		bid, refused := f.Bid(start, key(1), order, true)
		if got := groupsText(bid, refused); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
		if refused != nil {
			continue
		}
		if again, _ := f.Bid(start, key(1), order, false); groupsText(again, nil) != tt.want {
			t.Errorf("%s: asked again, %s", tt.name, groupsText(again, nil))
		}
		// The hold covers all of them, whatever their class.
		if r := f.Commit(start, Occupancy{ID: leaseID(1), Client: key(2), Devices: bid.Devices[len(bid.Devices)-1:], Until: start.Add(time.Hour)}); r == nil || r.Error() != "taken: 1 device went to another" {
			t.Errorf("%s: a held device goes to another: %v", tt.name, r)
		}
		if r := f.Commit(start, Occupancy{ID: leaseID(1), Client: key(1), Devices: bid.Devices, Until: start.Add(time.Hour)}); r != nil {
			t.Errorf("%s: the bid cannot be leased: %v", tt.name, r)
		}
	}
}

// groupsText is what a floor bids, class by class, or its refusal.
func groupsText(bid FloorBid, refused *market.Refusal) (text string) {
	if refused != nil {
		return refused.Error()
	}
	if len(bid.Groups) == 0 {
		return fmt.Sprint(bid.Class, " ", bid.Devices)
	}
	for i, g := range bid.Groups {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprint(g.Class, " ", g.Devices)
	}
	return text
}

// TestMixedBill leases what random floors bid for mixed orders and meters it at both
// sides: the groups are the devices, the price is that of the classes, and what is
// due is the sum of the lines, as both sides count them.
func TestMixedBill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg, prices := FloorConfig{Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, Evidence: marketv1.Evidence_EVIDENCE_NONE, CPUMilli: 1e6, RAMBytes: 1e15, DiskBytes: 1e15}, map[string]uint64{}
		for i := range rapid.IntRange(2, 9).Draw(t, "devices") {
			class := rapid.SampledFrom([]string{"A", "B", "C"}).Draw(t, "class")
			if prices[class] == 0 {
				prices[class] = rapid.Uint64Range(1, 2_000_000).Draw(t, "price")
			}
			d := FloorDevice{ID: fmt.Sprintf("GPU-%d", i), Class: class, PriceAtomsPerHour: prices[class]}
			if class == "C" {
				d.Lines = payment.Tariff{{Unit: payment.UnitReservedMs, Price: 70_001, Per: souk.MillisPerHour}}
			}
			cfg.Devices = append(cfg.Devices, d)
		}
		f := NewFloor(cfg)
		taken := rapid.SliceOfDistinct(rapid.SampledFrom(cfg.Devices), func(d FloorDevice) string { return d.ID }).Draw(t, "leased")
		for i, d := range taken {
			f.Commit(start, Occupancy{ID: leaseID(byte(i + 1)), Client: key(2), Devices: []string{d.ID}, Until: start.Add(time.Hour)})
		}
		order := gpuOrder(rapid.Uint32Range(1, 6).Draw(t, "need"), mixed)
		need := int(order.Resources.GpuCount)
		bid, refused := f.Bid(start, key(1), order, true)
		if enough := len(cfg.Devices)-len(taken) >= need; refused != nil || !enough {
			if enough || refused == nil {
				t.Fatalf("%d of %d devices are free, %d are wanted: %v", len(cfg.Devices)-len(taken), len(cfg.Devices), need, refused)
			}
			return
		}
		checkMixedBid(t, bid, cfg.Devices, need)
		meterMixed(t, bid)
	})
}

// checkMixedBid holds a bid to the devices of the floor.
func checkMixedBid(t *rapid.T, bid FloorBid, devices []FloorDevice, need int) {
	var grouped []string
	for _, g := range bid.Groups {
		grouped = append(grouped, g.Devices...)
		for _, id := range g.Devices {
			if i := slices.IndexFunc(devices, func(d FloorDevice) bool { return d.ID == id }); devices[i].Class != g.Class {
				t.Fatalf("device %s is bid as %s", id, g.Class)
			}
		}
	}
	if len(bid.Devices) != need || len(bid.Groups) == 1 || len(bid.Groups) > 1 && !slices.Equal(grouped, bid.Devices) || bid.Price != bid.Tariff.Hourly() {
		t.Fatalf("bids %+v for %d devices", bid, need)
	}
}

// meterMixed meters a lease on a bid at both sides, receipt by receipt.
func meterMixed(t *rapid.T, bid FloorBid) {
	provider := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	terms := payment.Terms{Lease: leaseID(77), ProviderKey: souk.NodeKey(provider.Public().(ed25519.PublicKey)), Version: 2, Tariff: bid.Tariff, Devices: bid.classes(),
		Interval: 10 * time.Second, Grace: 2 * time.Second, HoldPaused: time.Minute, MaxDuration: time.Hour, Reserve: 1 << 40}
	if err := terms.Validate(); err != nil {
		t.Fatalf("a lease on %+v: %v", bid, err)
	}
	meter, payer, now := payment.NewMeter(terms), payment.NewPayer(terms), start
	meter.Start(now)
	payer.Start(now)
	for range rapid.IntRange(1, 3).Draw(t, "receipts") {
		now = now.Add(terms.Interval)
		r, _ := meter.Tick(now, payment.Usage{})
		if r == nil {
			t.Fatalf("no receipt after %s", now.Sub(start))
		}
		checkMixedReceipt(t, *r, terms, uint64(now.Sub(start).Milliseconds()))
		r.SignProvider(terms.Domain, provider)
		paid, err := payer.Check(now, *r)
		if err != nil {
			t.Fatalf("the client refuses receipt %d: %v", r.Seq, err)
		}
		payer.Accept(*r)
		if _, err := meter.Countersigned(now, r.Seq, paid); err != nil || payer.Due() != meter.Due() || paid != max(terms.First(), r.CumulativeDue) {
			t.Fatalf("receipt %d: %v; %d due at the client, %d at the provider, %d paid", r.Seq, err, payer.Due(), meter.Due(), paid)
		}
	}
}

// checkMixedReceipt holds a receipt to the time that every device ran.
func checkMixedReceipt(t *rapid.T, r payment.Receipt, terms payment.Terms, ms uint64) {
	var sum souk.Atoms
	var ran uint64
	for i, l := range r.Usage {
		due, err := terms.Tariff[i].Due(l.Quantity)
		if err != nil || due != l.Due {
			t.Fatalf("receipt %d: %d due for %d of %s, %v", r.Seq, l.Due, l.Quantity, l.Unit, err)
		}
		if sum += due; l.Unit != payment.UnitReservedMs {
			ran += l.Quantity
		}
	}
	if sum != r.CumulativeDue || ran != uint64(terms.DeviceCount())*ms {
		t.Fatalf("receipt %d is over %d, its lines over %d; its devices ran %d ms", r.Seq, r.CumulativeDue, sum, ran)
	}
}

// classes counts the devices of a bid as the terms of a lease on it do.
func (b FloorBid) classes() (classes []payment.ClassCount) {
	for _, g := range b.Groups {
		classes = append(classes, payment.ClassCount{Class: g.Class, Count: len(g.Devices)})
	}
	if len(classes) == 0 {
		classes = []payment.ClassCount{{Count: len(b.Devices)}}
	}
	return classes
}
