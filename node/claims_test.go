package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// claimAll has a client take back what is left on its channel, before which the
// provider claims what it is owed, however little. It returns what the chain says is
// claimed in all.
func claimAll(t *testing.T, provider, client *daemon) souk.Atoms {
	t.Helper()
	var rec *money.Channel
	networktest.Eventually(t, "the end of the lease", func() bool {
		rec = provider.written(t, client.id, false)
		return !rec.Live() && rec.Balance > 0
	})
	if _, err := client.Refund(t.Context(), &apiv1.RefundRequest{Peer: provider.id.String()}); err != nil {
		t.Fatal(err)
	}
	state, err := provider.chain(t).Channel(t.Context(), rec.ID(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return state.Claimed
}

// runs has the client run a short job to its end.
func (p *duo) runs(t *testing.T) {
	t.Helper()
	if s := p.client.submit(t, testJob(t, p.client, "short")).finished(t); s.State != "done" {
		t.Fatalf("job ended as %v", s)
	}
}

// offeredSince waits until the client knows an offer of the provider since a start
// after a time.
func (p *duo) offeredSince(t *testing.T, begun time.Time) {
	t.Helper()
	networktest.Eventually(t, "the offer", func() bool {
		o := p.client.market(t)
		return len(o) == 1 && o[0].Offer.Epoch >= uint64(begun.UnixMilli()) && o[0].Offer.Free == 1
	})
}

// TestOldBackup brings a provider's home back from before a job that it was paid
// for, and claimed. Its ledger learns from the chain what it has forgotten; of the
// next job it claims all that is due, and not more than the client vouched.
func TestOldBackup(t *testing.T) {
	p := newDuo(t, serveChain(t))
	p.runs(t)
	first := p.agree(t)
	next := again(p.provider)
	p.provider.stop()
	backup := filepath.Join(t.TempDir(), "home")
	if err := os.CopyFS(backup, os.DirFS(next.Home)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	kept(t, &next)
	p.provider = start(t, next)
	p.offeredSince(t, begun)
	p.runs(t)
	second := p.agree(t)
	if claimed := claimAll(t, p.provider, p.client); claimed != second || second <= first {
		t.Fatalf("claimed %s of %s due, %s before", claimed, second, first)
	}
	p.provider.stop()
	begun, next.Home = time.Now(), backup
	kept(t, &next)
	p.provider = start(t, next)
	p.provider.checkBooks(t)
	if earned := p.provider.account(t, ledger.Earned); earned != second {
		t.Errorf("the restored ledger has earned %s, the chain paid %s", earned, second)
	}
	p.offeredSince(t, begun)
	p.runs(t)
	due := p.agree(t)
	vouched := souk.Atoms(p.client.channel(t, p.provider.id, true).VouchedAtoms)
	if claimed := claimAll(t, p.provider, p.client); claimed != due || claimed > vouched || due <= second {
		t.Errorf("claimed %s of %s due, by a voucher of %s; %s before", claimed, due, vouched, second)
	}
	p.agree(t)
	if owed := p.client.account(t, ledger.Owed(p.client.written(t, p.provider.id, true).ID())); owed != 0 {
		t.Errorf("after all was claimed the client owes %s", owed)
	}
}

// TestPayoutElsewhere has earnings go to an address of another wallet: they are
// earned, are there, and are not missed here.
func TestPayoutElsewhere(t *testing.T) {
	elsewhere := payment.Address{0xe1, 19: 0x5e}
	s := newStall(t, 1, func(c *node.Config) { c.Payout = fmt.Sprintf("0x%x", elsewhere[:]) })
	c := s.client(t, &networktest.Liar{})
	before := s.provider.account(t, ledger.Wallet)
	if end := c.finishes(t, "brief"); end != "done completed" {
		t.Fatalf("job ended as %s", end)
	}
	claimedOnChain := claimAll(t, s.provider, c)
	for range 2 { // the second look at the chain has nothing new
		s.provider.checkBooks(t)
		c.checkBooks(t)
		rec := s.provider.written(t, c.id, false)
		there, err := s.provider.chain(t).TokenBalance(t.Context(), elsewhere)
		if err != nil || there != claimedOnChain || there == 0 || there != rec.Due() {
			t.Errorf("%s is there, %s claimed, %s due, %v", there, claimedOnChain, rec.Due(), err)
		}
		earned, onTheWay := s.provider.account(t, ledger.Earned), s.provider.account(t, money.Claimed)
		toClaim, wallet := s.provider.account(t, ledger.Receivable(rec.ID())), s.provider.account(t, ledger.Wallet)
		if earned != there || onTheWay != 0 || toClaim != 0 || wallet != before {
			t.Errorf("earned %s, %s on its way here, %s to claim; the wallet %s after %s", earned, onTheWay, toClaim, wallet, before)
		}
	}
}
