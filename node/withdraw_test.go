package node_test

import (
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/devnet"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// TestDepositAndWithdraw funds a channel ahead of a job, runs the job on it
// without another deposit, and takes the rest out by the timed way: while that is
// pending the provider, whom another's job makes look at the chain, claims what it
// is due, and leases nothing more.
func TestDepositAndWithdraw(t *testing.T) {
	ctx := t.Context()
	d, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	provider, client := twoNodes(t, d.URL())
	other := buyer(t, provider)
	peer := provider.id.String()

	dep, err := client.Deposit(ctx, &apiv1.DepositRequest{Peer: peer[:12], AmountAtoms: uint64(souk.AtomsPerToken)})
	if err != nil || dep.Channel.BalanceAtoms != uint64(souk.AtomsPerToken) {
		t.Fatalf("deposit: %v, %v", dep, err)
	}
	j := client.submit(t, testJob(t, client, "train"))
	s := j.finished(t)
	if tx := j.get(t).Attempts[0].DepositTx; s.State != "done" || tx != "" {
		t.Fatalf("on a funded channel the job ended as %v, deposit %q", s, tx)
	}

	out, err := client.Withdraw(ctx, &apiv1.WithdrawRequest{Peer: peer})
	if err != nil || out.Tx == "" || out.Ready == "" {
		t.Fatalf("start of the withdrawal: %v, %v", out, err)
	}
	if s := other.submit(t, testJob(t, other, "short")).finished(t); s.State != "done" {
		t.Fatalf("another's job ended as %v", s)
	}
	networktest.Eventually(t, "the provider's claim", func() bool {
		c := provider.channel(t, client.id, false)
		return c.WithdrawReady != "" && c.ClaimedAtoms == s.PaidAtoms
	})
	if s := client.submit(t, testJob(t, client, "train")).finished(t); s.State != "unpaid" {
		t.Errorf("with a withdrawal pending the job ended as %v", s)
	}
	if again, err := client.Withdraw(ctx, &apiv1.WithdrawRequest{Peer: peer}); err != nil || again.Tx != "" {
		t.Errorf("a withdrawal before its time: %v, %v", again, err)
	}
	if err := d.Advance(ctx, 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	if done, err := client.Withdraw(ctx, &apiv1.WithdrawRequest{Peer: peer}); err != nil || done.Tx == "" || done.Ready != "" {
		t.Errorf("end of the withdrawal: %v, %v", done, err)
	}
	if c := client.channel(t, provider.id, true); c.BalanceAtoms != c.ClaimedAtoms || c.ClaimedAtoms != s.PaidAtoms {
		t.Errorf("balance %d and claimed %d in the end, paid %d", c.BalanceAtoms, c.ClaimedAtoms, s.PaidAtoms)
	}
	for _, d := range []*daemon{provider, client, other} {
		d.checkBooks(t)
	}
}
