package node_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/souk-market/souk/node/network/networktest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestPath runs a job from its offer to its anchor, and holds both sides' books
// against the chain and against each other.
func TestPath(t *testing.T) {
	ctx := t.Context()
	provider, client := twoNodes(t, serveChain(t))
	s := client.submit(t, testJob(t, client, "train")).finished(t)
	if s.State != "done" || s.ExitCode != 0 || s.Receipts < 4 || s.PaidAtoms == 0 || s.Outputs["out"] == "" {
		t.Fatalf("job ended as %v", s)
	}
	networktest.Eventually(t, "the provider's last voucher", func() bool {
		c := provider.channel(t, client.id, false)
		return c != nil && c.ReservedAtoms == 0 && c.DueAtoms == s.PaidAtoms && provider.status(t).Leases == 0
	})
	if _, err := client.Refund(ctx, &apiv1.RefundRequest{Peer: provider.id.String()}); err != nil {
		t.Fatal(err)
	}
	if c := client.channel(t, provider.id, true); c.ClaimedAtoms != s.PaidAtoms || c.BalanceAtoms != c.ClaimedAtoms {
		t.Errorf("claimed %d and balance %d after a refund, paid %d", c.ClaimedAtoms, c.BalanceAtoms, s.PaidAtoms)
	}
	for _, d := range []*daemon{provider, client} {
		d.checkBooks(t)
		got, err := d.Receipts(ctx, &apiv1.ReceiptsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got.Receipts {
			if !r.Logged {
				t.Errorf("receipt %d is not in the log", r.Receipt.Seq)
			}
		}
		log, err := d.Anchors(ctx, &apiv1.AnchorsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if size := strings.Split(log.Checkpoint, "\n")[1]; size != strconv.Itoa(int(s.Receipts)) || len(got.Receipts) != int(s.Receipts) {
			t.Errorf("log holds %s of %d receipts, the ledger %d", size, s.Receipts, len(got.Receipts))
		}
	}
	if got, err := client.Anchor(ctx, &apiv1.AnchorRequest{}); err != nil || got.Anchor.Size != uint64(s.Receipts) {
		t.Errorf("anchored %v, %v", got, err)
	}
}
