package crash

import (
	"context"
	"fmt"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/integration/daemontest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"golang.org/x/sync/errgroup"
)

// aheadAtoms is the most that vouchers may be for beyond what is due: the first
// interval of one lease that nothing came of, here half a second at 3.7 an hour.
const aheadAtoms = 514

// settle has every provider claim and give back the rest, and holds what is on
// chain against the receipts.
func (m *market) settle(t *testing.T, ours books) {
	t.Helper()
	due := map[string]souk.Atoms{} // by channel
	for lease, id := range ours.channel {
		due[id.String()] += ours.due[lease]
	}
	channels, err := m.client.Wallet.Channels(t.Context(), &apiv1.ChannelsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for _, c := range channels.Channels {
		p, due := m.provider(c.Peer), due[c.Id]
		g.Go(func() error {
			err := daemontest.Until(t.Context(), refundWithin, func(ctx context.Context) error {
				if m.settled(ctx, c.Id, p, due) == nil {
					return nil // by an earlier round, or the provider never heard of it
				}
				if _, err := m.client.Wallet.Refund(ctx, &apiv1.RefundRequest{Peer: c.Peer}); err != nil {
					return err
				}
				return m.settled(ctx, c.Id, p, due)
			})
			if err != nil {
				return fmt.Errorf("claim and refund by %s in %s: %w", p.Name, refundWithin, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, c := range channels.Channels {
		delete(due, c.Id)
	}
	for id, atoms := range due {
		if atoms > 0 {
			t.Errorf("%s is due on channel %.8s, which the client does not know", atoms, id)
		}
	}
}

// settled checks that a channel's claims on chain are what its receipts say, that
// it is empty, and that both sides say the same.
func (m *market) settled(ctx context.Context, id string, p *member, due souk.Atoms) error {
	digest, err := souk.ParseDigest(id)
	if err != nil {
		return err
	}
	state, err := m.onChain.Channel(ctx, souk.ChannelID{Digest: digest}, 0)
	if err != nil {
		return err
	}
	if state.Claimed != due || state.Balance != due {
		return fmt.Errorf("channel %.8s has %s deposited and not refunded, and %s claimed; receipts say %s", id, state.Balance, state.Claimed, due)
	}
	vouched := uint64(due) // what the provider may hold beyond it, it holds of the client
	for _, side := range []*member{p, m.client} {
		channels, err := side.Wallet.Channels(ctx, &apiv1.ChannelsRequest{})
		if err != nil {
			return err
		}
		for _, c := range channels.Channels {
			if c.Id != id {
				continue
			}
			if c.DueAtoms != uint64(due) || c.ClaimedAtoms != uint64(due) || c.ReservedAtoms != 0 {
				return fmt.Errorf("channel %.8s: %s says due %d, claimed %d, reserved %d; receipts say %d",
					id, side.Name, c.DueAtoms, c.ClaimedAtoms, c.ReservedAtoms, due)
			}
			if c.VouchedAtoms < vouched || c.VouchedAtoms > uint64(due)+aheadAtoms {
				return fmt.Errorf("channel %.8s: the vouchers of %s are for %d, with %d due and the provider's for %d",
					id, side.Name, c.VouchedAtoms, due, vouched)
			}
			vouched = c.VouchedAtoms
		}
	}
	return nil
}

// balanced checks every ledger: it balances in itself, and its wallet is what
// the chain says.
func (m *market) balanced(t *testing.T) {
	t.Helper()
	for _, p := range m.all() {
		daemontest.Eventually(t, agreeWithin, "the ledger of "+p.Name, func(ctx context.Context) error {
			b, err := p.Wallet.Balance(ctx, &apiv1.BalanceRequest{})
			if err != nil {
				return err
			}
			if !b.Balanced {
				t.Fatalf("the ledger of %s does not balance: %v", p.Name, b.Accounts)
			}
			held, err := m.onChain.TokenBalance(ctx, common.HexToAddress(b.Address))
			if err == nil && uint64(held) != b.WalletAtoms {
				err = fmt.Errorf("its wallet is %d, on chain %d", b.WalletAtoms, held)
			}
			return err
		})
	}
}

// booked checks the journals of client and providers entry by entry: each lease's
// usage is what its receipts say, and each channel's deposits, claims and refunds
// are what the chain says. One lost or doubled would show.
func (m *market) booked(t *testing.T, ours books) {
	t.Helper()
	for _, p := range append(m.providers, m.client) {
		sums, err := p.journal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := p.receipts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for lease, due := range theirs.due {
			if got := sums[entry{"usage", lease.String()}]; got != due {
				t.Errorf("%s booked %s for lease %s, its receipts say %s", p.Name, got, lease.Short(), due)
			}
			delete(sums, entry{"usage", lease.String()})
		}
		channels, err := p.Wallet.Channels(t.Context(), &apiv1.ChannelsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range channels.Channels {
			if got := sums[entry{"claim", c.Id}]; got != souk.Atoms(c.ClaimedAtoms) {
				t.Errorf("%s booked claims of %s on channel %.8s, the chain says %d", p.Name, got, c.Id, c.ClaimedAtoms)
			}
			got := sums[entry{"deposit", c.Id}] - sums[entry{"refund", c.Id}]
			if c.Paying && got != souk.Atoms(c.BalanceAtoms) {
				t.Errorf("%s booked %s deposited and not refunded on channel %.8s, the chain says %d", p.Name, got, c.Id, c.BalanceAtoms)
			}
		}
		for e, sum := range sums {
			if e.kind == "usage" || e.kind == "overclaim" || e.kind == "unbooked" {
				t.Errorf("%s booked %s of kind %s for %.8s, of which no receipt tells", p.Name, sum, e.kind, e.ref)
			}
		}
	}
}

// entry is what entries of a journal are added up by.
type entry struct{ kind, ref string }

// journal adds up the whole history of a ledger.
func (p *member) journal(ctx context.Context) (map[entry]souk.Atoms, error) {
	sums := map[entry]souk.Atoms{}
	for last := uint64(0); ; {
		page, err := p.Wallet.History(ctx, &apiv1.HistoryRequest{After: last})
		if err != nil {
			return nil, err
		}
		if len(page.Entries) == 0 {
			return sums, nil
		}
		for _, e := range page.Entries {
			if e.Seq != last+1 {
				return nil, fmt.Errorf("the journal of %s goes from entry %d to %d", p.Name, last, e.Seq)
			}
			last = e.Seq
			sums[entry{e.Kind, e.Ref}] += souk.Atoms(e.AmountAtoms)
		}
	}
}
