package money

import (
	"crypto/ecdsa"
	"testing"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/devnet"
	"github.com/souk-market/souk/payment/ledger"
)

// devnetAt are the wallets of the devnet whose RPC node is at url.
func devnetAt(t *testing.T, url string) wallets {
	return func(key *ecdsa.PrivateKey) chaintest.Client {
		return chaintest.NewClient(t, chain.Config{URLs: []string{url}, Wallet: key, Authorizer: key})
	}
}

// countsOnce checks that a deposit counts once, on chain and here.
func (b *bank) countsOnce(ch payment.Channel, d chain.Deposit) {
	b.t.Helper()
	id := ch.ID(b.cfg.Domain)
	state, err := b.cfg.Chain.Channel(b.t.Context(), id, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	if rec, ok := b.cfg.Channels.Get(id); !ok || state.Balance != d.Amount || rec.Balance != d.Amount {
		b.t.Errorf("of a deposit of %s the chain has %s, the provider %+v", d.Amount, state.Balance, rec)
	}
}

// TestDepositTwice submits a deposit that the provider submitted before a restart
// too and did not write down, on a chain that has it already and on one where
// both wait for the same block.
func TestDepositTwice(t *testing.T) {
	for _, tt := range []struct {
		name  string
		eager bool
	}{{"in a block", true}, {"both in the pool", false}} {
		t.Run(tt.name, func(t *testing.T) {
			served, _ := chaintest.RunDevnet(t, devnet.Config{Eager: tt.eager})
			b := newBankOn(t, devnetAt(t, served.URL()), newTree(t))
			client, _, ch, _ := b.customer()
			d := chaintest.NewDeposit(t, client, ch, souk.AtomsPerToken)
			tx, err := b.cfg.Deposits.Deposit(t.Context(), ch, d)
			if err != nil {
				t.Fatal(err)
			}
			if tt.eager {
				if _, err := b.cfg.Deposits.Wait(t.Context(), tx, 1); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := b.Deposit(t.Context(), ch, d, souk.LeaseID{}, "", func(string) error { return nil }); err != nil {
				t.Errorf("the second time: %v", err)
			}
			b.countsOnce(ch, d)
		})
	}
}

// TestDepositThroughAnOutage submits a deposit while the provider's chain does not
// answer: it waits, and the deposit counts once the chain is back.
func TestDepositThroughAnOutage(t *testing.T) {
	served, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	p := chaintest.NewProxy(t, served.URL())
	b := newBankOn(t, devnetAt(t, p.URL), newTree(t))
	client, _, ch, _ := b.customer()
	d := chaintest.NewDeposit(t, client, ch, souk.AtomsPerToken)
	p.Down(true)
	before := p.Calls()
	done := make(chan error, 1)
	go func() {
		_, err := b.Deposit(t.Context(), ch, d, souk.LeaseID{}, "", func(string) error { return nil })
		done <- err
	}()
	networktest.Eventually(t, "a second call", func() bool { return p.Calls() > before+1 })
	p.Down(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.countsOnce(ch, d)
}

// TestWalletFilledAndDrained refunds a channel into a wallet and empties that
// wallet, both unseen: the ledger never takes it below zero.
func TestWalletFilledAndDrained(t *testing.T) {
	served, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	provider, payer := newBankOn(t, devnetAt(t, served.URL()), newTree(t)), newBankOn(t, devnetAt(t, served.URL()), newTree(t))
	client := payer.chain(payer.key)
	ch := chaintest.NewChannel(client, provider.chain(provider.key), payer.key, 0)
	provider.cfg.Channels.Open(ch, client.Domain(), "the payer", false)
	id := payer.cfg.Channels.Open(ch, client.Domain(), "the provider", true)
	if err := payer.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := payer.cfg.Ledger.Balance(ledger.Wallet)
	err := provider.pay(client, ch, all)
	if err == nil {
		err = payer.Reconcile(t.Context())
	}
	if rec, _ := payer.cfg.Channels.Get(id); err != nil || rec.Balance != all || all == 0 || payer.cfg.Ledger.Balance(ledger.Wallet) != 0 {
		t.Fatalf("a deposit of %s: %+v, %v", all, rec, err)
	}
	if _, _, amount, err := provider.Refund(t.Context(), id); err != nil || amount != all {
		t.Fatalf("refund of %s: %v", amount, err)
	}
	elsewhere := ch
	elsewhere.Salt[0] = 1
	tx, err := provider.cfg.Deposits.Deposit(t.Context(), elsewhere, chaintest.NewDeposit(t, client, elsewhere, all))
	if err == nil {
		_, err = provider.cfg.Deposits.Wait(t.Context(), tx, 1)
	}
	if err == nil {
		err = payer.Reconcile(t.Context())
	}
	if err == nil {
		err = payer.cfg.Ledger.Verify()
	}
	if err != nil {
		t.Fatal(err)
	}
	have, err := client.TokenBalance(t.Context(), client.Address())
	if booked := payer.cfg.Ledger.Balance(ledger.Wallet); err != nil || have != 0 || booked != have {
		t.Errorf("wallet at %s, %s on chain, %v", booked, have, err)
	}
}
