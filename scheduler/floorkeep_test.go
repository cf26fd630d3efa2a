package scheduler_test

import (
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/scheduler"
)

// TestKeep looks after devices between leases: it disturbs none, and ends by itself.
func TestKeep(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	device := func(id, class string) scheduler.FloorDevice {
		return scheduler.FloorDevice{ID: id, Class: class, Model: class, PriceAtomsPerHour: 1}
	}
	f := scheduler.NewFloor(scheduler.FloorConfig{Devices: []scheduler.FloorDevice{device("a", "L4"), device("b", "L4"), device("c", "A10")}})
	lease := scheduler.Occupancy{ID: souk.LeaseID{Digest: souk.Digest{1}}, Client: souk.NodeKey{2}, Devices: []string{"a"}, Until: now.Add(time.Hour)}
	if r := f.Commit(now, lease); r != nil {
		t.Fatal(r)
	}
	if got := f.Idle(now, "L4"); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("idle: %v", got)
	}
	if r := f.Keep(now, "challenge", []string{"a", "b"}, now.Add(time.Minute)); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_BUSY || r.Shortfall != 1 {
		t.Fatalf("a leased device is kept: %v", r)
	}
	if got := f.Free(now)["L4"]; got != 1 {
		t.Errorf("a refused keeping takes devices: %d are free", got)
	}
	if r := f.Keep(now, "challenge", []string{"b"}, now.Add(time.Minute)); r != nil {
		t.Fatal(r)
	}
	if r := f.Keep(now, "challenge", []string{"b", "c"}, now.Add(time.Minute)); r != nil {
		t.Errorf("what is kept for the same is in its own way: %v", r)
	}
	if r := f.Keep(now, "wipe", []string{"c"}, now.Add(time.Minute)); r == nil || r.Shortfall != 1 {
		t.Errorf("a device is kept twice: %v", r)
	}
	other := lease
	other.ID, other.Devices = souk.LeaseID{Digest: souk.Digest{3}}, []string{"b"}
	if r := f.Commit(now, other); r == nil || r.Reason != marketv1.DeclineReason_DECLINE_REASON_TAKEN {
		t.Errorf("a kept device is leased: %v", r)
	}
	if got := f.Free(now); got["L4"] != 0 || got["A10"] != 0 {
		t.Errorf("free: %v", got)
	}
	if got := f.Free(now.Add(time.Minute)); got["L4"] != 1 || got["A10"] != 1 {
		t.Errorf("a keeping has no end: %v", got)
	}
	if !f.Unkeep("challenge") || f.Unkeep("challenge") || f.Free(now)["L4"] != 1 {
		t.Errorf("free after its end: %v", f.Free(now))
	}
}
