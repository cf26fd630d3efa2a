package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// TestFloorBidsByCost has a class that is cheap by the hour and dear to reserve: the
// other one costs the job less.
func TestFloorBidsByCost(t *testing.T) {
	cfg := testFloor()
	cfg.Devices = []FloorDevice{
		{ID: "GPU-1", Class: "A", MemoryBytes: 24e9, PriceAtomsPerHour: 100, Lines: payment.Tariff{{Unit: "reserved-ms", Price: 900, Per: souk.MillisPerHour}}},
		{ID: "GPU-2", Class: "B", MemoryBytes: 24e9, PriceAtomsPerHour: 500},
		{ID: "GPU-3", Class: "C", MemoryBytes: 24e9, PriceAtomsPerHour: 50, Lines: payment.Tariff{{Unit: "token-out", Price: 1, Per: 1}}},
	}
	f := NewFloor(cfg)
	for _, want := range []string{"C", "B", "A"} { // tokens are not expected
		bid, refused := f.Bid(start, key(1), gpuOrder(1, func(o *marketv1.Order) { o.Version = 2 }), false)
		if refused != nil || bid.Class != want || bid.Tariff.Hourly() != bid.Price {
			t.Fatalf("bids %+v, %v; want class %s", bid, refused, want)
		}
		if r := f.Commit(start, Occupancy{ID: leaseID(want[0]), Client: key(2), Devices: bid.Devices, Until: start.Add(time.Hour)}); r != nil {
			t.Fatal(r)
		}
	}
	if bid, refused := NewFloor(cfg).Bid(start, key(1), gpuOrder(1), false); refused != nil || bid.Class != "B" {
		t.Errorf("to the first version it bids %+v, %v", bid, refused)
	}
	// A lease may hold devices of several classes.
	f = NewFloor(cfg)
	if r := f.Commit(start, Occupancy{ID: leaseID(1), Client: key(2), Devices: []string{"GPU-1", "GPU-3"}, Until: start.Add(time.Hour)}); r != nil {
		t.Fatal(r)
	}
	if free := f.Free(start); free["A"] != 0 || free["B"] != 1 || free["C"] != 0 {
		t.Errorf("free: %v", free)
	}
}

// TestFloorNeedsToUnderstand declines what it does not know before anything else, by name.
func TestFloorNeedsToUnderstand(t *testing.T) {
	c := testFloor()
	c.Unwanted = []string{market.ExtensionNetwork}
	f := NewFloor(c)
	f.Drain()
	for _, name := range append(market.ComingExtensions(), "teleport", market.ExtensionNetwork) {
		_, r := f.Bid(start, key(1), gpuOrder(1, func(o *marketv1.Order) { o.MustUnderstand = []string{name} }), true)
		if r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_UNSUPPORTED || !slices.Equal(r.Unsupported, []string{name}) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if _, r := f.Bid(start, key(1), gpuOrder(1, func(o *marketv1.Order) { o.Gang = &marketv1.Gang{} }), true); r == nil || r.Error() != "unsupported: gang" {
		t.Errorf("a gang that was not announced: %v", r)
	}
}

// TestJobTakesWhatCostsLeast prefers the bid by which the job costs less, though
// its devices cost more by the hour.
func TestJobTakesWhatCostsLeast(t *testing.T) {
	w := newWalk(t, testConfig()).do(toAsking...)
	w.do(BidArrived{Peer: key(2), Bid: 8, Price: 400, Cost: 100}, BidArrived{Peer: key(1), Bid: 7, Price: 300, Cost: 200}).wants(SignLease{key(2), 8})
}
