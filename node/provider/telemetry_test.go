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
