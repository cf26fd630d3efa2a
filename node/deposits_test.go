package node

import (
	"context"
	"testing"
	"time"

	"github.com/souk-market/souk"
	role "github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// ends waits for the end of a lease at the provider, and returns why.
func (s *stall) ends(t *testing.T, id souk.LeaseID) runv1.EndReason {
	t.Helper()
	var last scheduler.TenancyState
	networktest.Eventually(t, "the end of the lease", func() bool {
		var ok bool
		if last, ok = s.provider.provider.Lease(id); !ok {
			t.Fatalf("no lease %s", id.Short())
		}
		return last.Phase == runv1.Phase_PHASE_ENDED
	})
	return last.Reason
}

// leaseFor asks for a lease by hand, with the deposit given.
func leaseFor(t *testing.T, s *stall, c *Node, vouchers souk.Atoms, deposit *leasev1.Deposit) *role.Proposal {
	t.Helper()
	msg := stallJob(t, c, "forever")
	msg.Limits.MaxDurationMs = 72_000 // the reserve is most of the least deposit
	bid, decline, err := c.dealer.Ask(t.Context(), s.provider.host.ID(), c.book.Offers(), msg, time.Now().Add(5*time.Second))
	if err != nil || decline != nil {
		t.Fatalf("ask: %v, %v", decline, err)
	}
	g, err := c.dealer.Draft(souk.JobID{Digest: souk.Digest{1}}, msg, s.provider.host.ID(), bid, time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	v := payment.Voucher{Channel: g.Terms.Channel, MaxClaimable: vouchers}
	if err := v.Sign(g.Terms.Domain, c.cfg.VoucherKey); err != nil {
		t.Fatal(err)
	}
	g.Request.Voucher, g.Request.Deposit = v.Proto(), deposit
	return g
}

// TestDepositCountsOnce spends one deposit on two leases: with an authorization
// that was used, the second has nothing behind it, and runs nothing.
func TestDepositCountsOnce(t *testing.T) {
	s := newStall(t, 3, nil)
	c := s.client(t, &networktest.Liar{})
	first := leaseFor(t, s, c, 1000, nil)
	d, err := c.dealer.Authorize(first.Channel, minDeposit, 0)
	if err != nil {
		t.Fatal(err)
	}
	first.Request.Deposit = d.Proto()
	if decline, err := c.dealer.Countersign(t.Context(), first); err != nil || decline != nil {
		t.Fatalf("first lease: %v, %v", decline, err)
	}
	networktest.Eventually(t, "the deposit", func() bool {
		state, _ := s.provider.provider.Lease(first.ID)
		return state.Phase == runv1.Phase_PHASE_STAGING
	})
	for range 3 { // the reserve of one is covered, of two not
		g := leaseFor(t, s, c, 100_000, d.Proto())
		decline, err := c.dealer.Countersign(t.Context(), g)
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
	rec, _ := s.provider.channels.Get(first.Terms.Channel)
	if rec.Backing() < 0 || rec.Balance != d.Amount {
		t.Errorf("the channel is %s over what it holds of %s", -rec.Backing(), rec.Balance)
	}
}

// slowDeposits is a chain that takes no deposit before it is let.
type slowDeposits struct {
	Chain
	let chan struct{}
}

// Deposit implements [Chain].
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
	s := newStall(t, 3, func(c *Config) { slow.Chain, c.Chain = c.Chain, slow })
	c := s.client(t, &networktest.Liar{})
	first := leaseFor(t, s, c, 1000, nil)
	huge, err := c.chain.SignDeposit(first.Channel, 1_000_000*souk.AtomsPerToken, time.Minute, time.Now(), [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	first.Request.Deposit = huge.Proto()
	if decline, err := c.dealer.Countersign(t.Context(), first); err != nil || decline != nil {
		t.Fatalf("lease: %v, %v", decline, err)
	}
	second := leaseFor(t, s, c, 10_000, nil)
	if decline, err := c.dealer.Countersign(t.Context(), second); err != nil || decline != nil {
		t.Fatalf("lease: %v, %v", decline, err)
	}
	close(slow.let)
	for _, g := range []*role.Proposal{first, second} {
		if why := s.ends(t, g.ID); why != runv1.EndReason_END_REASON_CLIENT_UNFUNDED {
			t.Errorf("a lease on a deposit that never came ended as %s: %s", why, s.ended(t, g.ID.String()).Detail)
		}
	}
	networktest.Eventually(t, "the devices", s.idle)
}
