package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// draftLong is a lease whose reserve is most of the least deposit, on which nothing is
// promised yet.
func (h *hand) draftLong(t *testing.T) *client.Proposal {
	t.Helper()
	msg := stallJob(h.job(t, "forever"))
	msg.Limits.MaxDurationMs = 72_000
	return h.draft(t, msg)
}

// TestDepositCountsOnce spends one deposit on two leases: with an authorization
// that was used, the second has nothing behind it, and runs nothing.
func TestDepositCountsOnce(t *testing.T) {
	s := newStall(t, 3, nil)
	c := s.hand(t)
	first := c.draftLong(t)
	const least = souk.AtomsPerToken / 20 // that a provider takes
	first.Request.Voucher, first.Request.Deposit = c.voucher(t, first, 1000), c.deposit(t, first, least)
	c.countersigned(t, first)
	networktest.Eventually(t, "the deposit", func() bool { return s.provider.channel(t, c.host.ID(), false).DepositTx != "" })
	for range 3 { // the reserve of one is covered, of two not
		g := c.draftLong(t)
		g.Request.Voucher, g.Request.Deposit = c.voucher(t, g, 100_000), first.Request.Deposit
		decline, err := c.Countersign(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		if decline != nil {
			continue
		}
		if why := s.ends(t, g.ID); why != runv1.EndReason_END_REASON_CLIENT_UNFUNDED {
			t.Errorf("a lease on a deposit that was spent ended as %s", why)
		}
	}
	if rec := s.provider.written(t, c.host.ID(), false); rec.Backing() < 0 || rec.Balance != least {
		t.Errorf("the channel is %s over what it holds of %s", -rec.Backing(), rec.Balance)
	}
}

// slowDeposits is a chain that takes no deposit before it is let.
type slowDeposits struct {
	node.Chain
	let chan struct{}
}

// Deposit implements [node.Chain].
func (c *slowDeposits) Deposit(ctx context.Context, ch payment.Channel, d chain.Deposit) (string, error) {
	select {
	case <-c.let:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return c.Chain.Deposit(ctx, ch, d)
}

// TestDepositOfAnother takes a lease with a deposit that the wallet does not
// hold, and one without any that would live off it.
func TestDepositOfAnother(t *testing.T) {
	slow := &slowDeposits{let: make(chan struct{})}
	s := newStall(t, 3, func(c *node.Config) { slow.Chain, c.Chain = c.Chain, slow })
	c := s.hand(t)
	first := c.draftLong(t)
	huge, err := c.chain.SignDeposit(first.Channel, 1_000_000*souk.AtomsPerToken, time.Minute, time.Now(), [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	first.Request.Voucher, first.Request.Deposit = c.voucher(t, first, 1000), huge.Proto()
	c.countersigned(t, first)
	second := c.draftLong(t)
	second.Request.Voucher = c.voucher(t, second, 10_000)
	c.countersigned(t, second)
	close(slow.let)
	for _, g := range []*client.Proposal{first, second} {
		if why := s.ends(t, g.ID); why != runv1.EndReason_END_REASON_CLIENT_UNFUNDED {
			t.Errorf("a lease on a deposit that never came ended as %s: %s", why, s.lease(t, g.ID.String()).Detail)
		}
	}
	networktest.Eventually(t, "the devices", func() bool { return s.idle(t) })
}
