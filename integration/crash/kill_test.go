package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/integration/daemontest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sync/errgroup"
)

// momentWithin is how long a round's moment may take to come.
const momentWithin = 30 * time.Second

// daemon is the one that a plan means: of the providers the one that gets the job.
func (m *market) daemon(role string) *member {
	switch role {
	case "client":
		return m.client
	case "chain":
		return m.chain
	default:
		return m.providers[0]
	}
}

// crash arms the plan's moment, starts what leads to it, and brings the victim
// back. begin may be cut off by the crash; what it began must go on all the same.
// It tells whether the moment came.
func (m *market) crash(t *testing.T, p plan, begin func(context.Context) error) (came bool) {
	t.Helper()
	at, victim := m.daemon(p.moment.at), m.daemon(p.victim)
	if err := at.arm(p.moment, victim); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), momentWithin)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { return begin(ctx) })
	select {
	case <-victim.Done():
	case <-ctx.Done():
		cancel()
		t.Log("what led to it ended with: ", g.Wait())
		if err := at.disarm(); err != nil {
			t.Fatal(err)
		}
		return false
	}
	if _, err := os.Stat(at.trigger()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the %s died before its moment, %s", p.victim, p.moment)
	}
	pause(t, p.down)
	victim.up(t)
	victim.ready(t)
	cancel()
	t.Log("what led to the crash ended with: ", g.Wait())
	return true
}

// fund puts money into the channel with the provider ahead of the job, so that it
// holds devices for its bid.
func (m *market) fund(t *testing.T) {
	t.Helper()
	req := &apiv1.DepositRequest{Peer: m.providers[0].peer, AmountAtoms: 100_000}
	if _, err := m.client.Wallet.Deposit(t.Context(), req); err != nil {
		t.Fatalf("deposit: %v", err)
	}
}

// refund asks the provider for what is left, as soon as the lease is over there.
func (m *market) refund(ctx context.Context) error {
	var last error
	err := process.Until(ctx, func() (bool, error) {
		_, last = m.client.Wallet.Refund(ctx, &apiv1.RefundRequest{Peer: m.providers[0].peer})
		return last == nil, nil
	})
	return errors.Join(err, last)
}

// anchorer is who anchors in a round: each side of a lease has a log of its own.
func (m *market) anchorer(p plan) *member {
	if p.moment.at == "client" {
		return m.client
	}
	return m.providers[0]
}

// anchored checks that a log has one anchor for its present size, and that the
// chain has it too.
func (m *market) anchored(t *testing.T, p *member) {
	t.Helper()
	daemontest.Eventually(t, refundWithin, "an anchor of "+p.Name, func(ctx context.Context) error {
		made, err := p.Log.Anchor(ctx, &apiv1.AnchorRequest{})
		if err != nil {
			return err
		}
		root, count, block, err := m.onChain.AnchorAt(ctx, made.Anchor.Tx)
		if err == nil && (root.String() != made.Anchor.Root || count != made.Anchor.Count || block != made.Anchor.Block) {
			err = fmt.Errorf("the chain has %s over %d in block %d, the log says %s over %d in block %d",
				root, count, block, made.Anchor.Root, made.Anchor.Count, made.Anchor.Block)
		}
		if err != nil {
			return err
		}
		all, err := p.Log.Anchors(ctx, &apiv1.AnchorsRequest{})
		if err != nil {
			return err
		}
		for i, a := range all.Anchors {
			if i > 0 && a.Size <= all.Anchors[i-1].Size {
				return fmt.Errorf("two anchors of %d and then %d entries", all.Anchors[i-1].Size, a.Size)
			}
		}
		return nil
	})
}
