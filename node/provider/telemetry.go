package provider

import (
	"io"
	"slices"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
)

const (
	sampleEvery  = time.Second
	sampleFrames = 32 << 10 // bytes of samples in one frame
	energyBefore = 5 * time.Second
	maxXids      = 16 // of one sample
)

// telemetry gathers what the devices of one lease measure while it runs. The
// goroutine that is in the tenancy's run owns it.
type telemetry struct {
	devices []string // that measure themselves
	cpu     string   // the processor, if it is leased: what the run uses of it; else empty
	began   time.Time
	next    time.Time            // when to look again; zero: nothing runs
	seen    map[string]time.Time // of each device, its last sample
	energy  *gpu.Energy
	used    runner.Usage // of the run, by its last sample
	usedAt  time.Time
}

// newTelemetry is for a lease of such devices.
func newTelemetry(devices []runner.Device) *telemetry {
	m := &telemetry{seen: map[string]time.Time{}}
	for _, d := range devices {
		if d.Class == gpu.ClassCPU {
			m.cpu = d.ID
		} else {
			m.devices = append(m.devices, d.ID)
		}
	}
	m.energy = gpu.NewEnergy(m.devices)
	return m
}

// timed is one sample that was not hashed yet.
type timed struct {
	at     time.Time
	sample *runv1.Sample
}

// begin starts to gather, when the run has started. What a device read last before
// that is where its use of energy is counted from.
func (m *telemetry) begin(now time.Time, samples func(id string, after time.Time) []gpu.Sample) {
	m.began, m.next, m.usedAt = now, now.Add(sampleEvery), now
	for _, id := range m.devices {
		m.seen[id] = now
		for _, s := range slices.Backward(samples(id, now.Add(-energyBefore))) {
			if !s.At.After(now) {
				m.energy.Add(id, s)
				break
			}
		}
	}
}

// gather is what was measured since the last time, in the order of time. With over,
// the run has ended.
func (m *telemetry) gather(now time.Time, used runner.Usage, over bool, samples func(id string, after time.Time) []gpu.Sample) []timed {
	var found []timed
	for _, id := range m.devices {
		for _, s := range samples(id, m.seen[id]) {
			m.energy.Add(id, s)
			m.seen[id] = s.At
			found = append(found, timed{s.At, m.sampleOf(id, s)})
		}
	}
	// The end of a run may come within the millisecond of the sample before it, which a
	// client takes for a second one of the same moment.
	if m.cpu != "" && (over || now.Sub(m.usedAt) >= sampleEvery) && m.stamp(now) > m.stamp(m.usedAt) {
		found = append(found, timed{now, m.processor(now, used)})
	}
	slices.SortStableFunc(found, func(a, b timed) int { return a.at.Compare(b.at) })
	m.next = now.Add(sampleEvery)
	return found
}

// stamp is a time by the clock of the run: it does not step.
func (m *telemetry) stamp(at time.Time) int64 {
	return m.began.UnixMilli() + at.Sub(m.began).Milliseconds()
}

// processor is what the run used of the processor since its last sample.
func (m *telemetry) processor(now time.Time, used runner.Usage) *runv1.Sample {
	s := &runv1.Sample{Device: m.cpu, AtMs: m.stamp(now)}
	if cpu := used.CPU - m.used.CPU; used.CPU > 0 && cpu >= 0 {
		milli := uint32(min(1000*float64(cpu)/float64(now.Sub(m.usedAt)), 1<<24))
		s.CpuMilli = &milli
	}
	if used.Memory > 0 {
		s.MemoryUsedBytes = &used.Memory
	}
	m.used, m.usedAt = used, now
	return s
}

// sampleOf is what a GPU measured.
func (m *telemetry) sampleOf(id string, s gpu.Sample) *runv1.Sample {
	return &runv1.Sample{Device: id, AtMs: m.stamp(s.At), GpuUtil: known32(s.GPUUtilPercent), MemCopyUtil: known32(s.MemCopyUtilPercent),
		MemoryUsedBytes: known(s.MemoryUsedBytes), PowerMw: known(s.PowerMilliwatts), TotalEnergyMj: known(s.EnergyMillijoules),
		GpuTempC: known32(s.Celsius), MemoryTempC: known32(s.MemoryCelsius), SmClockMhz: known32(s.SMClockMHz),
		MemClockMhz: known32(s.MemClockMHz), ClockReasons: known(s.ClockReasons), Xids: s.Xids[:min(len(s.Xids), maxXids)]}
}

// energyUsed is what the devices used since the run began, in millijoules; 0 where a
// device has no counter, or began it anew.
func (m *telemetry) energyUsed() uint64 {
	used, _ := m.energy.Used()
	return used
}

func known(r gpu.Reading) *uint64 {
	v, ok := r.Value()
	if !ok {
		return nil
	}
	return &v
}

func known32(r gpu.Reading) *uint32 {
	v, ok := r.AtMost(1<<32 - 1).Value()
	if !ok {
		return nil
	}
	n := uint32(v)
	return &n
}

// sample puts what was measured since the last time where the client and the next
// receipt find it. What cannot be kept is in neither.
func (t *tenancy) sample(now time.Time, used runner.Usage, over bool) {
	kept := false
	for _, s := range t.telemetry.gather(now, used, over, t.with.Samples) {
		if !t.machine.TakesSample(s.sample.AtMs) {
			continue
		}
		b := network.MustMarshal(s.sample)
		_, err := payment.OpenSample(b) // what a client would refuse is not sent
		ok := false
		if err == nil {
			ok, err = t.samples.Append(b)
		}
		if err != nil {
			t.with.Log.Warn("keep telemetry", "lease", t.id.Short(), "err", err)
		}
		if ok {
			t.machine.Sample(s.sample.AtMs, payment.SampleLeaf(b))
			kept = true
		}
	}
	if kept {
		t.changes.Announce()
	}
}

// speakSamples sends what the client lacks of the lease's telemetry.
func (t *tenancy) speakSamples(w io.Writer, first *uint64) error {
	for {
		list, err := t.samples.Read(*first, sampleFrames)
		if err != nil || len(list) == 0 {
			return err
		}
		piece := &runv1.Telemetry{First: *first, Samples: list}
		if err := wire.Write(w, &runv1.ToClient{Message: &runv1.ToClient_Telemetry{Telemetry: piece}}); err != nil {
			return err
		}
		*first += uint64(len(list))
	}
}
