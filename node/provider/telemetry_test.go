package provider

import (
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
)

// TestOneSampleAMoment ends a run at each tenth of a millisecond after a sample: a
// client takes every list.
func TestOneSampleAMoment(t *testing.T) {
	none := func(string, time.Time) []gpu.Sample { return nil }
	began := time.Unix(1_700_000_000, 123_456_789)
	for tenths := range 30 {
		m := newTelemetry([]runner.Device{{ID: "cpu-1", Class: gpu.ClassCPU}})
		m.begin(began, none)
		at := began.Add(sampleEvery)
		list := m.gather(at, runner.Usage{}, false, none)
		at = at.Add(time.Duration(tenths) * 100 * time.Microsecond)
		list = append(list, m.gather(at, runner.Usage{}, true, none)...)
		check := payment.NewSampleCheck([]string{"cpu-1"})
		for _, s := range list {
			if _, err := check.Open(at, network.MustMarshal(s.sample)); err != nil {
				t.Errorf("the run ended %d tenths of a millisecond after a sample: %v", tenths, err)
			}
		}
	}
}

// TestEnergyBeginsWithTheRun has a card that drew power before the run: what it used
// till its last reading before that is not the run's.
func TestEnergyBeginsWithTheRun(t *testing.T) {
	began := time.Unix(1_700_000_000, 500_000_000)
	samples := func(_ string, after time.Time) (found []gpu.Sample) {
		for s := int64(-10); s <= 3; s++ {
			if at := time.Unix(1_700_000_000+s, 0); at.After(after) {
				found = append(found, gpu.Sample{At: at, EnergyMillijoules: gpu.Known(uint64(100_000 + 1000*s))})
			}
		}
		return found
	}
	m := newTelemetry([]runner.Device{{ID: "GPU-1", Class: "H100"}})
	m.begin(began, samples)
	m.gather(began.Add(3*time.Second), runner.Usage{}, true, samples)
	if got := m.energyUsed(); got != 3000 {
		t.Errorf("%d mJ are the run's, want 3000", got)
	}
}
