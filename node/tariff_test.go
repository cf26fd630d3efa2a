package node_test

import (
	"strings"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestTariff runs a job at a provider that prices reserved time beside device time:
// the plan shows both lines, the lease is priced by them, and each receipt says what
// was used of either.
func TestTariff(t *testing.T) {
	lines := payment.Tariff{{Unit: payment.UnitReservedMs, Price: uint64(souk.AtomsPerToken), Per: souk.MillisPerHour}}
	s := newStall(t, 1, func(c *node.Config) { c.Lines = map[string]payment.Tariff{testDevice: lines} })
	client := s.client(t, &networktest.Liar{})
	msg := stallJob(testJob(t, client, "brief"))
	plan, err := client.Plan(t.Context(), &apiv1.PlanRequest{Job: msg})
	if err != nil || len(plan.Candidates) != 1 {
		t.Fatalf("plan: %v, %v", plan, err)
	}
	c := plan.Candidates[0]
	if len(c.Lines) != 2 || c.Lines[1].Unit != payment.UnitReservedMs || c.EstimateAtoms != c.Lines[0].Atoms+c.Lines[1].Atoms ||
		c.Lines[0].Atoms/2 != c.Lines[1].Atoms || c.CapAtoms < c.EstimateAtoms {
		t.Errorf("candidate: %v", c)
	}
	j := client.submit(t, msg)
	if end := j.finished(t); end.State != "done" {
		t.Fatalf("the job ended as %v", end)
	}
	got := j.get(t)
	if len(got.Receipts) == 0 {
		t.Fatalf("receipts: %v", got)
	}
	last := got.Receipts[len(got.Receipts)-1]
	if len(last.Usage) != 2 || last.Usage[0].Unit != payment.UnitDeviceMs || last.Usage[1].Unit != payment.UnitReservedMs ||
		last.Usage[1].Quantity < last.Usage[0].Quantity || last.CumulativeDueAtoms != last.Usage[0].DueAtoms+last.Usage[1].DueAtoms {
		t.Errorf("the last receipt: %v", last)
	}
	for _, bad := range []payment.Tariff{{{Unit: payment.UnitTokenOut, Price: 1, Per: 1}}, {{Unit: "parsec", Price: 1, Per: 1}}, {{Unit: payment.UnitReservedMs, Price: 1}}} {
		next := s.config(t)
		next.Provide, next.Prices, next.Probes = true, s.provider.cfg.Prices, s.provider.cfg.Probes
		next.Lines = map[string]payment.Tariff{testDevice: bad}
		if _, err := node.New(next); err == nil || !strings.Contains(err.Error(), "tariff for "+testDevice) {
			t.Errorf("a node sells %v: %v", bad, err)
		}
	}
}
