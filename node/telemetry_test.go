package node_test

import (
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestTelemetryOnTheBill runs a job, and holds the telemetry root of every receipt
// against the samples that either side exports.
func TestTelemetryOnTheBill(t *testing.T) {
	provider, client := twoNodes(t, serveChain(t))
	s := client.submit(t, testJob(t, client, "train")).finished(t)
	if s.State != "done" || s.PaidAtoms == 0 {
		t.Fatalf("job ended as %v", s)
	}
	for _, d := range []*daemon{provider, client} {
		got, err := d.Receipts(t.Context(), &apiv1.ReceiptsRequest{Proofs: true})
		if err != nil {
			t.Fatal(err)
		}
		samples := 0
		for _, r := range got.Receipts {
			var leaves []souk.Digest
			for _, b := range r.Samples {
				leaves = append(leaves, payment.SampleLeaf(b))
			}
			if root := payment.TelemetryRoot(leaves); string(root[:]) != string(r.Receipt.TelemetryRoot) {
				t.Errorf("receipt %d has the root %x over %d samples, want %s", r.Receipt.Seq, r.Receipt.TelemetryRoot, len(leaves), root)
			}
			samples += len(r.Samples)
		}
		if samples == 0 {
			t.Error("a run has no telemetry")
		}
	}
}
