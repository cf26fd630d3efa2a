package node_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestTelemetryOnTheBill runs a job, and holds the telemetry root of every receipt
// against the samples that either side exports.
func TestTelemetryOnTheBill(t *testing.T) {
	provider, client := twoNodes(t, serveChain(t))
	j := client.submit(t, testJob(t, client, "train"))
	live, kept := make(chan []string, 1), 0
	go func() { live <- j.metrics(t, &apiv1.MetricsRequest{Id: j.id}) }()
	s := j.finished(t)
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
		kept = samples
	}
	// Who followed the job was told what who comes later is told.
	first := <-live
	if got := j.metrics(t, &apiv1.MetricsRequest{Id: j.id, Once: true}); !slices.Equal(got, first) || len(got) != kept {
		t.Errorf("told later: %q; told while it ran: %q; kept: %d", got, first, kept)
	}
	if got := j.metrics(t, &apiv1.MetricsRequest{Id: j.id, SinceMs: time.Now().Add(time.Hour).UnixMilli()}); len(got) > 0 {
		t.Errorf("samples from the future: %q", got)
	}
}

// TestMetricsAreOpen reads a node's metrics as any program of its machine can, without
// the token.
func TestMetricsAreOpen(t *testing.T) {
	d := startDaemon(t, func(*node.Config) {})
	res, err := http.Get(d.status(t).Api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(text), "\nsouk_market_offers 0\n") || strings.Contains(string(text), d.id.String()) {
		t.Errorf("%s, %v:\n%s", res.Status, err, text)
	}
}

// metrics is what a stream of the job's samples tells until it ends.
func (j *job) metrics(t *testing.T, req *apiv1.MetricsRequest) (told []string) {
	news, err := j.by.Metrics(t.Context(), req)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer news.Close()
	for news.Receive() {
		for _, s := range news.Msg().Samples {
			told = append(told, fmt.Sprintf("%s %s %d %d", news.Msg().Lease, s.Device, s.AtMs, s.GetCpuMilli()))
		}
	}
	if err := news.Err(); err != nil {
		t.Error(err)
	}
	return told
}
