package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"pgregory.net/rapid"
)

// slowFloor is what Floor promises, as a table with a line for each device.
type slowFloor struct {
	order []string
	lease map[string]souk.LeaseID // of each device; zero when none has it
	hold  map[string]slowHold     // of each device
	until map[souk.LeaseID]time.Time
	named map[souk.LeaseID]bool
}

type slowHold struct {
	client souk.NodeKey
	until  time.Time
}

func (s *slowFloor) canHave(now time.Time, client souk.NodeKey, d string) bool {
	h := s.hold[d]
	return s.lease[d] == souk.LeaseID{} && (h.client == client || !now.Before(h.until))
}

// bid is the first free devices in order, or how many are missing.
func (s *slowFloor) bid(now time.Time, client souk.NodeKey, need int, funded bool) (devices []string, short int) {
	for _, d := range s.order {
		if len(devices) < need && s.canHave(now, client, d) {
			devices = append(devices, d)
		}
	}
	if short = need - len(devices); short > 0 {
		return nil, short
	}
	if funded {
		s.unhold(client)
		for _, d := range devices {
			s.hold[d] = slowHold{client, now.Add(3 * time.Second)}
		}
	}
	return devices, 0
}

func (s *slowFloor) unhold(client souk.NodeKey) {
	for d, h := range s.hold {
		if h.client == client {
			delete(s.hold, d)
		}
	}
}

func (s *slowFloor) commit(now time.Time, l Occupancy) bool {
	if _, known := s.until[l.ID]; known {
		return true
	}
	for _, d := range l.Devices {
		if !s.canHave(now, l.Client, d) {
			return false
		}
	}
	s.unhold(l.Client)
	for _, d := range l.Devices {
		delete(s.hold, d)
		s.lease[d] = l.ID
	}
	s.until[l.ID] = l.Until
	return true
}

func (s *slowFloor) release(id souk.LeaseID) {
	for d, l := range s.lease {
		if l == id {
			s.lease[d] = souk.LeaseID{}
		}
	}
	delete(s.until, id)
	delete(s.named, id)
}

func TestFloorAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := FloorConfig{Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, Evidence: marketv1.Evidence_EVIDENCE_NONE,
			CPUMilli: 1e6, RAMBytes: 1e15, DiskBytes: 1e15, OrderBurst: 1e6}
		s := &slowFloor{lease: map[string]souk.LeaseID{}, hold: map[string]slowHold{}, until: map[souk.LeaseID]time.Time{}, named: map[souk.LeaseID]bool{}}
		for i := range rapid.IntRange(1, 4).Draw(t, "devices") {
			id := fmt.Sprintf("GPU-%d", i)
			s.order = append(s.order, id)
			cfg.Devices = append(cfg.Devices, FloorDevice{ID: id, Class: "A", PriceAtomsPerHour: 1})
		}
		f, now := NewFloor(cfg), start
		client := rapid.Custom(func(t *rapid.T) souk.NodeKey { return key(byte(rapid.IntRange(1, 3).Draw(t, "client"))) })
		id := rapid.Custom(func(t *rapid.T) souk.LeaseID { return leaseID(byte(rapid.IntRange(1, 5).Draw(t, "lease"))) })
		t.Repeat(map[string]func(*rapid.T){
			"bid": func(t *rapid.T) {
				need, c, funded := rapid.IntRange(1, len(s.order)).Draw(t, "need"), client.Draw(t, "by"), rapid.Bool().Draw(t, "funded")
				got, refusal := f.Bid(now, c, gpuOrder(uint32(need), func(o *marketv1.Order) { o.DeadlineMs = now.UnixMilli() }), funded)
				want, short := s.bid(now, c, need, funded)
				if short > 0 {
					if refusal == nil || refusal.Reason != marketv1.DeclineReason_DECLINE_REASON_BUSY || refusal.Shortfall != uint64(short) {
						t.Fatalf("bids %+v, %+v; the model is %d short", got, refusal, short)
					}
				} else if refusal != nil || !slices.Equal(got.Devices, want) || got.Held != funded {
					t.Fatalf("bids %+v, %+v; the model bids %v", got, refusal, want)
				}
			},
			"commit": func(t *rapid.T) {
				l := Occupancy{ID: id.Draw(t, "id"), Client: client.Draw(t, "by"), Until: now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second),
					Devices: rapid.SliceOfNDistinct(rapid.SampledFrom(s.order), 1, -1, rapid.ID[string]).Draw(t, "devices")}
				if got, want := f.Commit(now, l), s.commit(now, l); (got == nil) != want {
					t.Fatalf("commit: %+v; the model says %t", got, want)
				}
			},
			"release": func(t *rapid.T) { l := id.Draw(t, "id"); f.Release(now, l); s.release(l) },
			"expire": func(t *rapid.T) {
				for _, l := range f.Expire(now) {
					if until, ok := s.until[l]; !ok || now.Before(until) || s.named[l] {
						t.Fatalf("lease %s is named too early or twice", l)
					}
					s.named[l] = true
				}
				for l, until := range s.until {
					if !now.Before(until) && !s.named[l] {
						t.Fatalf("lease %s is over and not named", l)
					}
				}
			},
			"pass": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "seconds")) * time.Second) },
			"": func(t *rapid.T) {
				checkFloor(t, f, s, now)
			},
		})
	})
}

// checkFloor compares what is free, and looks for a device in two leases.
func checkFloor(t *rapid.T, f *Floor, s *slowFloor, now time.Time) {
	free := 0
	for _, d := range s.order {
		if s.canHave(now, souk.NodeKey{}, d) {
			free++
		}
		id, ok := f.Holder(d)
		if want := s.lease[d]; id != want || ok != (want != souk.LeaseID{}) {
			t.Fatalf("%s is in lease %s; the model has %s", d, id, want)
		}
	}
	if got := f.Free(now)["A"]; got != free {
		t.Fatalf("%d free; the model has %d", got, free)
	}
	leased := map[string]souk.LeaseID{}
	for id, l := range f.leases {
		for _, d := range l.devices {
			if other, twice := leased[d]; twice {
				t.Fatalf("%s is in leases %s and %s", d, id, other)
			}
			leased[d] = id
		}
	}
	if at, ok := f.Next(); ok && len(f.Expire(at.Add(-time.Nanosecond))) > 0 {
		t.Fatalf("a lease was over before %s", at)
	}
}
