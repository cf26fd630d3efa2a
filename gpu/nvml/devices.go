package nvml

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Readings above these are no readings: drivers answer with all bits set where a
// sensor is broken.
const (
	maxPercent = 100
	maxPower   = 100_000_000 // mW
	maxCelsius = 250
	maxClock   = 100_000 // MHz
	maxCount   = 1 << 40
)

// devices is what a listing has for sale, and what it has that is not well. A card
// that is cut into slices is not among it, since it cannot be used beside them.
func (l listing) devices(at time.Time) []gpu.Device {
	found := []gpu.Device{}
	seen := map[string]int{}
	for _, c := range l.Cards {
		for _, d := range l.expand(c, at) {
			if i, twice := seen[d.ID]; twice {
				found[i].Health = "two devices say that they are this one: none of them can be trusted; reload the driver"
				continue
			}
			seen[d.ID] = len(found)
			found = append(found, d)
		}
	}
	return found
}

// expand is the card itself or, where it is cut into slices, these.
func (l listing) expand(c card, at time.Time) []gpu.Device {
	whole := l.device(c, at)
	if !c.sliced() || c.Return != 0 || len(c.Slices) == 0 {
		return []gpu.Device{whole}
	}
	var found []gpu.Device
	for _, s := range c.Slices {
		d := whole // a slice shares the silicon: its heat, its clocks, its faults
		d.Whole, d.Links = whole.ID, nil
		d.ID, d.Model = clean(s.UUID, plainID), clean(s.Name, plain)
		_, d.MIG, _ = strings.Cut(d.Model, "MIG ")
		d.Class = gpu.Class(d.Model)
		d.Limits.PowerMilliwatts = gpu.Reading{}
		d.Now = gpu.Sample{At: at, Celsius: d.Now.Celsius, MemoryCelsius: d.Now.MemoryCelsius, MarginCelsius: d.Now.MarginCelsius, SMClockMHz: d.Now.SMClockMHz,
			MemClockMHz: d.Now.MemClockMHz, ClockReasons: d.Now.ClockReasons}
		d.MemoryBytes = s.total()
		d.Now.MemoryUsedBytes, d.Now.MemoryFreeBytes = s.MemoryUsed.AtMost(d.MemoryBytes), s.MemoryFree.AtMost(d.MemoryBytes)
		if d.ID == "" || d.Model == "" || d.MemoryBytes == 0 {
			continue // it was taken away while it was read, or its name is not one
		}
		found = append(found, d)
	}
	if len(found) == 0 {
		return []gpu.Device{whole}
	}
	return found
}

// device is the whole card. One that cannot say who it is gets a name by its place.
func (l listing) device(c card, at time.Time) gpu.Device {
	d := gpu.Device{
		ID: clean(c.UUID, plainID), Model: clean(c.Name, plain), MemoryBytes: c.total(),
		ComputeCap: c.capability(), Evidence: marketv1.Evidence_EVIDENCE_NONE, // the driver's word only
		PCI: clean(c.BusID, plainAt), Driver: clean(l.Driver, plain), CUDA: l.cuda(), Confidential: l.confidential(), Links: l.linked(c),
		Limits: gpu.Limits{
			PowerMilliwatts: c.PowerLimit.AtMost(maxPower),
			SlowdownCelsius: c.Slowdown.AtMost(maxCelsius), ShutdownCelsius: c.Shutdown.AtMost(maxCelsius),
			SMClockMHz: c.MaxSMClock.AtMost(maxClock), MemClockMHz: c.MaxMemClock.AtMost(maxClock),
		},
		Errors: gpu.Errors{CorrectedECC: c.Corrected.AtMost(maxCount), UncorrectedECC: c.Uncorrected.AtMost(maxCount),
			RetiredPages: c.RetiredPages.AtMost(maxCount), RemappedRows: c.Remapped.AtMost(maxCount),
			PCIeReplays: c.Replays.AtMost(maxCount), Xid: c.xid()},
		Now: c.sample(at),
	}
	d.Class, d.Vendor, d.Scrub = gpu.Class(d.Model), Vendor, scrub()
	d.Health, d.Fault = l.health(c, d)
	d.Failed, d.Recovery = d.Fault != "", c.Recovery
	if d.ID == "" {
		d.ID = fmt.Sprintf("GPU-at-index-%d", c.Index)
	}
	if d.Model == "" {
		d.Model = "GPU without a name"
	}
	return d
}

// sample is what the card measured.
func (c card) sample(at time.Time) gpu.Sample {
	return gpu.Sample{At: at,
		GPUUtilPercent: c.GPUUtil.AtMost(maxPercent), MemCopyUtilPercent: c.MemUtil.AtMost(maxPercent),
		MemoryUsedBytes: c.MemoryUsed.AtMost(c.total()), MemoryFreeBytes: c.MemoryFree.AtMost(c.total()),
		PowerMilliwatts: c.Power.AtMost(maxPower), EnergyMillijoules: c.Energy.AtMost(1 << 62),
		Celsius: c.Celsius.AtMost(maxCelsius), MemoryCelsius: c.MemCelsius.AtMost(maxCelsius), MarginCelsius: c.Margin.AtMost(maxCelsius),
		SMClockMHz: c.SMClock.AtMost(maxClock), MemClockMHz: c.MemClock.AtMost(maxClock), ClockReasons: c.ClockReasons,
		ComputeProcesses: c.Compute.AtMost(maxCount), GraphicsProcesses: c.Graphics.AtMost(maxCount),
		ProcessBytes: c.ProcessBytes.AtMost(maxMemory), Xids: c.Xids}
}

// xid is the one of those seen that counts most.
func (c card) xid() (last gpu.Reading) {
	for _, xid := range c.Seen {
		if last = gpu.Known(xid); gpu.XidIncident(xid).OffSale {
			return last
		}
	}
	return last
}

// total is in bytes; 0 where what the driver says of it cannot be.
func (m memory) total() uint64 { return m.MemoryTotal.AtMost(maxMemory).Or(0) }

// sliced tells whether MIG is on: then only slices can be used.
func (c card) sliced() bool { return c.MIGMode.Or(0) == 1 }

// capability is times ten; 0 where it cannot be told.
func (c card) capability() uint32 {
	major, ok := c.Major.AtMost(99).Value()
	minor, ok2 := c.Minor.AtMost(9).Value()
	if !ok || !ok2 {
		return 0
	}
	return uint32(major*10 + minor)
}

// cuda is times ten.
func (l listing) cuda() uint32 {
	v := l.CUDA.AtMost(1_000_000).Or(0)
	return uint32(v/1000*10 + v%1000/10)
}

// confidential is the state of confidential computing, for people.
func (l listing) confidential() string {
	feature, ok := l.CCFeature.Value()
	switch {
	case !ok:
		return ""
	case feature == 0:
		return "off"
	case l.CCTools.Or(0) != 0:
		return "on, open to developer tools"
	case l.CCEnv.Or(0) == 1:
		return "on, simulated"
	}
	return "on"
}

// linked lists the cards that NVLink joins to c: those at the other ends of its
// links, and those with a link to a switch that c has one to.
func (l listing) linked(c card) []string {
	var ids []string
	for _, other := range l.Cards {
		id := clean(other.UUID, plainID)
		if other.Index == c.Index || id == "" {
			continue
		}
		if slices.Contains(c.LinkedTo, other.BusID) || slices.ContainsFunc(other.LinkedTo, func(at string) bool { return slices.Contains(c.LinkedTo, at) }) {
			ids = append(ids, id)
		}
	}
	return ids
}
