package node

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
)

// claimAll has a provider claim what one client owes it, however little, and
// returns what the chain says it has claimed in all.
func claimAll(t *testing.T, provider, client *Node) souk.Atoms {
	t.Helper()
	id := eventuallySettled(t, provider, client)
	if rec, _ := provider.channels.Get(id); rec.Due() > rec.Claimed {
		claim := chain.Claim{Channel: rec.Config, Voucher: rec.Voucher, Total: rec.Claimable()}
		tx, err := provider.chain.ClaimAndSettle(t.Context(), []chain.Claim{claim})
		if err == nil {
			_, err = provider.chain.Wait(t.Context(), tx, 1)
		}
		if err == nil {
			err = provider.keeper.Reconcile(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	state, err := provider.chain.Channel(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	return state.Claimed
}

// runs has a client run a short job to its end.
func (p *duo) runs(t *testing.T) {
	t.Helper()
	if s := finished(t, submit(t, p.client, testJob(t, p.client, "short"))); s.State != "done" {
		t.Fatalf("job ended as %v", s)
	}
}

// TestOldBackup brings a provider's home back from before a job that it was paid
// for, and claimed. Its ledger learns from the chain what it has forgotten; of the
// next job it claims all that is due, and not more than the client vouched.
func TestOldBackup(t *testing.T) {
	p := newDuo(t, serveChain(t))
	p.runs(t)
	first := p.agree(t)
	next := again(p.provider)
	p.stopProvider()
	backup := filepath.Join(t.TempDir(), "home")
	if err := os.CopyFS(backup, os.DirFS(p.provider.cfg.Home)); err != nil {
		t.Fatal(err)
	}
	p.provider, p.stopProvider = startDaemon(t, next)
	networktest.Eventually(t, "the offer", func() bool { return p.offered() })
	p.runs(t)
	second := p.agree(t)
	if claimed := claimAll(t, p.provider, p.client); claimed != second || second <= first {
		t.Fatalf("claimed %s of %s due, %s before", claimed, second, first)
	}
	next = again(p.provider)
	p.stopProvider()
	p.provider, p.stopProvider = startDaemon(t, func(c *Config) { next(c); c.Home = backup })
	checkBooks(t, p.provider)
	if earned := p.provider.ledger.Balance(ledger.Earned); earned != second {
		t.Errorf("the restored ledger has earned %s, the chain paid %s", earned, second)
	}
	networktest.Eventually(t, "the offer", func() bool { return p.offered() })
	p.runs(t)
	due := p.agree(t)
	ours, _ := p.client.channels.With(p.provider.host.ID().String(), true)
	if claimed := claimAll(t, p.provider, p.client); claimed != due || claimed > ours.Voucher.MaxClaimable || due <= second {
		t.Errorf("claimed %s of %s due, by a voucher of %s; %s before", claimed, due, ours.Voucher.MaxClaimable, second)
	}
	p.agree(t)
	if owed := p.client.ledger.Balance(ledger.Owed(ours.ID())); owed != 0 {
		t.Errorf("after all was claimed the client owes %s", owed)
	}
}

// offered tells whether the client knows the offer of the provider's present life.
func (p *duo) offered() bool {
	offers := p.client.book.Offers()
	return len(offers) == 1 && offers[0].Epoch == p.provider.provider.Epoch() && offers[0].Free == 1
}

// TestPayoutElsewhere has earnings go to an address of another wallet: they are
// earned, are there, and are not missed here.
func TestPayoutElsewhere(t *testing.T) {
	elsewhere := payment.Address{0xe1, 19: 0x5e}
	s := newStall(t, 1, func(c *Config) { c.Payout = fmt.Sprintf("0x%x", elsewhere[:]) })
	c := s.client(t, &networktest.Liar{})
	before := s.provider.ledger.Balance(ledger.Wallet)
	if end := c.finishes(t, "brief"); end != "done completed" {
		t.Fatalf("job ended as %s", end)
	}
	claimedOnChain := claimAll(t, s.provider, c)
	for range 2 { // the second look at the chain has nothing new
		checkBooks(t, s.provider)
		checkBooks(t, c)
		rec, _ := s.provider.channels.With(c.host.ID().String(), false)
		there, err := s.provider.chain.TokenBalance(t.Context(), elsewhere)
		if err != nil || there != claimedOnChain || there == 0 || there != rec.Due() {
			t.Errorf("%s is there, %s claimed, %s due, %v", there, claimedOnChain, rec.Due(), err)
		}
		l := s.provider.ledger
		if l.Balance(ledger.Earned) != there || l.Balance(money.Claimed) != 0 || l.Balance(ledger.Receivable(rec.ID())) != 0 || l.Balance(ledger.Wallet) != before {
			t.Errorf("earned %s, %s on its way here, %s to claim; the wallet %s after %s", l.Balance(ledger.Earned),
				l.Balance(money.Claimed), l.Balance(ledger.Receivable(rec.ID())), l.Balance(ledger.Wallet), before)
		}
	}
}
