package node

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
// pending the provider claims what it is due and leases nothing more.
func TestDepositAndWithdraw(t *testing.T) {
	ctx := t.Context()
	d, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	provider, client := twoNodes(t, d.URL())
	peer := provider.host.ID().String()

	dep, err := calls(client).wallet.Deposit(ctx, &apiv1.DepositRequest{Peer: peer[:12], AmountAtoms: uint64(souk.AtomsPerToken)})
	if err != nil || dep.Channel.BalanceAtoms != uint64(souk.AtomsPerToken) {
		t.Fatalf("deposit: %v, %v", dep, err)
	}
	j := submit(t, client, testJob(t, client, "train"))
	s := finished(t, j)
	rec, _ := j.Watch()
	if s.State != "done" || rec.Attempts[0].DepositTx != "" {
		t.Fatalf("on a funded channel the job ended as %v, deposit %q", s, rec.Attempts[0].DepositTx)
	}

	out, err := calls(client).wallet.Withdraw(ctx, &apiv1.WithdrawRequest{Peer: peer})
	if err != nil || out.Tx == "" || out.Ready == "" {
		t.Fatalf("start of the withdrawal: %v, %v", out, err)
	}
	provider.keeper.Wake()
	networktest.Eventually(t, "the provider's claim", func() bool {
		c, ok := provider.channels.With(client.host.ID().String(), false)
		return ok && c.Withdrawing > 0 && c.Claimed == souk.Atoms(s.PaidAtoms)
	})
	if s := finished(t, submit(t, client, testJob(t, client, "train"))); s.State != "unpaid" {
		t.Errorf("with a withdrawal pending the job ended as %v", s)
	}
	if again, err := calls(client).wallet.Withdraw(ctx, &apiv1.WithdrawRequest{Peer: peer}); err != nil || again.Tx != "" {
		t.Errorf("a withdrawal before its time: %v, %v", again, err)
	}
	if err := d.Advance(ctx, 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	if done, err := calls(client).wallet.Withdraw(ctx, &apiv1.WithdrawRequest{Peer: peer}); err != nil || done.Tx == "" || done.Ready != "" {
		t.Errorf("end of the withdrawal: %v, %v", done, err)
	}
	c, _ := client.channels.With(peer, true)
	if c.Balance != c.Claimed || c.Claimed != souk.Atoms(s.PaidAtoms) {
		t.Errorf("balance %s and claimed %s in the end, paid %d", c.Balance, c.Claimed, s.PaidAtoms)
	}
	checkBooks(t, provider)
	checkBooks(t, client)
}
