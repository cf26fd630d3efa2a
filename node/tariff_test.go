package node

import (
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestTariff runs a job at a provider that prices reserved time beside device time:
// the plan shows both lines, the lease is priced by them, and each receipt says what
// was used of either.
func TestTariff(t *testing.T) {
	lines := payment.Tariff{{Unit: payment.UnitReservedMs, Price: uint64(souk.AtomsPerToken), Per: souk.MillisPerHour}}
	s := newStall(t, 1, func(c *Config) { c.Lines = map[string]payment.Tariff{testDevice: lines} })
	client := s.client(t, &networktest.Liar{})
	msg := stallJob(t, client, "brief")
	plan, err := calls(client).jobs.Plan(t.Context(), &apiv1.PlanRequest{Job: msg})
	if err != nil || len(plan.Candidates) != 1 {
		t.Fatalf("plan: %v, %v", plan, err)
	}
	c := plan.Candidates[0]
	if len(c.Lines) != 2 || c.Lines[1].Unit != payment.UnitReservedMs || c.EstimateAtoms != c.Lines[0].Atoms+c.Lines[1].Atoms ||
		c.Lines[0].Atoms/2 != c.Lines[1].Atoms || c.CapAtoms < c.EstimateAtoms {
		t.Errorf("candidate: %v", c)
	}
	j := submit(t, client, msg)
	if end := finished(t, j); end.State != "done" {
		t.Fatalf("the job ended as %v", end)
	}
	got, err := calls(client).jobs.Get(t.Context(), &apiv1.GetRequest{Id: j.ID().String()})
	if err != nil || len(got.Receipts) == 0 {
		t.Fatalf("receipts: %v, %v", got, err)
	}
	last := got.Receipts[len(got.Receipts)-1]
	if len(last.Usage) != 2 || last.Usage[0].Unit != payment.UnitDeviceMs || last.Usage[1].Unit != payment.UnitReservedMs ||
		last.Usage[1].Quantity < last.Usage[0].Quantity || last.CumulativeDueAtoms != last.Usage[0].DueAtoms+last.Usage[1].DueAtoms {
		t.Errorf("the last receipt: %v", last)
	}
	for _, bad := range []payment.Tariff{{{Unit: payment.UnitTokenOut, Price: 1, Per: 1}}, {{Unit: "parsec", Price: 1, Per: 1}}, {{Unit: payment.UnitReservedMs, Price: 1}}} {
		if err := checkLines(bad); err == nil {
			t.Errorf("%v can be metered", bad)
		}
	}
}
