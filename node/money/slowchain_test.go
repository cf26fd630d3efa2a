package money

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/mem"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	storemem "github.com/souk-market/souk/storage/mem"
)

// slowChain has a block every 12 seconds, of which none is final before 64 more.
var slowChain = mem.Config{ChainID: 31337, BlockTime: 12 * time.Second, Finality: 64}

// bank is a keeper with its books, at a provider.
type bank struct {
	*Keeper
	t     *testing.T
	chain wallets
	key   *ecdsa.PrivateKey // of the provider's wallet and of its authorizer
	at    time.Time
	saw   map[string]time.Duration // when each call came back
	mu    sync.Mutex               // guards saw
}

// wallets makes clients of one chain, each for a wallet that authorizes by the same key.
type wallets func(*ecdsa.PrivateKey) chaintest.Client

// newTree is a log of receipts; it has files, so it is made outside of a bubble.
func newTree(t *testing.T) *log.Log {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := log.Open(log.Config{Dir: t.TempDir(), Origin: "souk/test", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// newBank is a bank on a chain in memory. It belongs into a bubble; tree is a log of
// receipts, made outside of it.
func newBank(t *testing.T, cfg mem.Config, tree *log.Log) *bank {
	t.Helper()
	c := mem.New(cfg)
	return newBankOn(t, func(key *ecdsa.PrivateKey) chaintest.Client {
		return c.Client(mem.ClientConfig{Wallet: key, Authorizer: key})
	}, tree)
}

func newBankOn(t *testing.T, chain wallets, tree *log.Log) *bank {
	t.Helper()
	b := &bank{t: t, chain: chain, key: chaintest.NewKey(t), saw: map[string]time.Duration{}}
	l, err := ledger.Open(ledger.Config{Store: storemem.New()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	channels, err := LoadChannels(l)
	if err != nil {
		t.Fatal(err)
	}
	client := chain(b.key)
	b.Keeper = NewKeeper(KeeperConfig{Domain: client.Domain(), Wallet: client.Address(), Chain: client, Deposits: client,
		Claims: client, Anchors: client, Ledger: l, Channels: channels, Tree: tree, VoucherKey: b.key, Log: slog.New(slog.DiscardHandler)})
	chaintest.Fund(t, client)
	return b
}

// customer is a client with tokens and a channel that pays the bank.
func (b *bank) customer() (chaintest.Client, *ecdsa.PrivateKey, payment.Channel, souk.ChannelID) {
	b.t.Helper()
	key := chaintest.NewKey(b.t)
	c := b.chain(key)
	chaintest.Fund(b.t, c)
	at := crypto.PubkeyToAddress(b.key.PublicKey)
	ch := payment.Channel{Payer: c.Address(), PayerAuthorizer: c.Address(), Receiver: at, ReceiverAuthorizer: at,
		Token: chain.DevnetContracts().Token, WithdrawDelay: 86400}
	return c, key, ch, b.cfg.Channels.Open(ch, c.Domain(), "a client", false)
}

// pay puts amount on a channel, ahead of any lease.
func (b *bank) pay(c chaintest.Client, ch payment.Channel, amount souk.Atoms) error {
	d, err := c.SignDeposit(ch, amount, time.Hour, time.Now(), [32]byte{1})
	if err != nil {
		return err
	}
	_, err = b.Deposit(b.t.Context(), ch, d, souk.LeaseID{}, "", func(string) error {
		return b.Mark(b.t.Context(), ch.ID(c.Domain()), func(*Channel) {})
	})
	return err
}

// owe makes due of what a channel holds, by a receipt of a lease that is over.
func (b *bank) owe(id souk.ChannelID, key *ecdsa.PrivateKey, due souk.Atoms) {
	b.t.Helper()
	lease := souk.LeaseID{Digest: souk.Digest{1}}
	v := payment.Voucher{Channel: id, MaxClaimable: due}
	if err := v.Sign(b.cfg.Domain, key); err != nil {
		b.t.Fatal(err)
	}
	err := b.cfg.Channels.Update(b.t.Context(), id, func(r *Channel) (batch ledger.Batch, err error) {
		if err = r.Open(lease, due, 0); err == nil {
			batch, err = r.Enter(payment.Receipt{Lease: lease, Channel: id, Seq: 1, Kind: payment.KindFinal, CumulativeDue: due}, due, v, time.Now())
		}
		r.Close(lease)
		return batch, err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// timed runs what is due on the chain and notes when it came back.
func (b *bank) timed(wg *sync.WaitGroup, name string, do func() error) {
	wg.Go(func() {
		err := do()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.saw[name] = time.Since(b.at)
		if err != nil {
			b.t.Errorf("%s: %v", name, err)
		}
	})
}

// TestWaitingHoldsNothing has a large deposit wait until it is final, which takes
// a quarter of an hour, and meanwhile a deposit on another channel, a claim, a
// refund and an anchor: each is back once its own transaction is as deep as it
// has to be.
func TestWaitingHoldsNothing(t *testing.T) {
	tree := newTree(t)
	if _, err := tree.Append(t.Context(), souk.Digest{1}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, slowChain, tree)
		large, _, largeChannel, _ := b.customer()
		small, _, smallChannel, _ := b.customer()
		owes, owesKey, owesChannel, owesID := b.customer()
		leaves, _, leavesChannel, leavesID := b.customer()
		for _, err := range []error{b.pay(owes, owesChannel, souk.AtomsPerToken/2), b.pay(leaves, leavesChannel, souk.AtomsPerToken/2)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		b.owe(owesID, owesKey, souk.AtomsPerToken/4)

		b.at = time.Now()
		var wg sync.WaitGroup
		b.timed(&wg, "large deposit", func() error { return b.pay(large, largeChannel, 5*souk.AtomsPerToken) })
		time.Sleep(time.Minute)
		b.timed(&wg, "small deposit", func() error { return b.pay(small, smallChannel, souk.AtomsPerToken/2) })
		b.timed(&wg, "claim", func() error { return b.claimDue(t.Context()) })
		b.timed(&wg, "refund", func() error { _, _, _, err := b.Refund(t.Context(), leavesID); return err })
		b.timed(&wg, "anchor", func() error { _, err := b.Anchor(t.Context()); return err })
		wg.Wait()
		for name, most := range map[string]time.Duration{"small deposit": 100 * time.Second, "claim": 75 * time.Second,
			"refund": 75 * time.Second, "anchor": 75 * time.Second, "large deposit": 15 * time.Minute} {
			t.Logf("%-14s back after %s", name, b.saw[name])
			if b.saw[name] > most || b.saw["large deposit"] < 12*time.Minute {
				t.Errorf("%s took %s, at most %s", name, b.saw[name], most)
			}
		}
	})
}

// TestUnconfirmedDepositBacksNoOther has a deposit wait until it is final while
// the chain is read for other reasons: the lease that it came with counts on it,
// and one that came without any waits.
func TestUnconfirmedDepositBacksNoOther(t *testing.T) {
	tree := newTree(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, slowChain, tree)
		c, _, ch, id := b.customer()
		with, without := souk.LeaseID{Digest: souk.Digest{1}}, souk.LeaseID{Digest: souk.Digest{2}}
		err := b.Mark(t.Context(), id, func(r *Channel) {
			if err := errors.Join(r.Open(with, souk.AtomsPerToken, 5*souk.AtomsPerToken), r.Open(without, souk.AtomsPerToken, 0)); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.SignDeposit(ch, 5*souk.AtomsPerToken, time.Hour, time.Now(), [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		b.at = time.Now()
		b.timed(&wg, "deposit", func() error {
			_, err := b.Deposit(t.Context(), ch, d, with, "", func(string) error { return nil })
			return err
		})
		for _, step := range []struct {
			after   time.Duration
			backing souk.Atoms
		}{{time.Minute, -souk.AtomsPerToken}, {11 * time.Minute, -souk.AtomsPerToken}, {2 * time.Minute, 3 * souk.AtomsPerToken}} {
			time.Sleep(step.after)
			if err := b.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			if rec, _ := b.cfg.Channels.Get(id); rec.Balance != 5*souk.AtomsPerToken || rec.Backing() != step.backing || rec.Free() != 3*souk.AtomsPerToken {
				t.Errorf("after %s: balance %s, backing %s, %s free", time.Since(b.at), rec.Balance, rec.Backing(), rec.Free())
			}
		}
		wg.Wait()
	})
}

// heldChain keeps the first reading of a channel back until it is released, and
// calls then, if it is set, before each later one comes back.
type heldChain struct {
	ReadingChain
	held atomic.Bool
	hold chan struct{}
	then func()
}

// Channel implements ReadingChain.
func (c *heldChain) Channel(ctx context.Context, id souk.ChannelID, atBlock uint64) (st chain.ChannelState, err error) {
	st, err = c.ReadingChain.Channel(ctx, id, atBlock)
	if c.held.CompareAndSwap(false, true) {
		<-c.hold
	} else if c.then != nil {
		c.then()
	}
	return st, err
}

// TestLateReading has a reading of the chain come back after a newer one: what the
// newer one posted stays, and where it could not post, the chain is read again.
func TestLateReading(t *testing.T) {
	tree := newTree(t)
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBank(t, mem.Config{}, tree)
			c, _, ch, id := b.customer()
			held := &heldChain{ReadingChain: b.cfg.Chain, hold: make(chan struct{})}
			b.cfg.Chain = held
			var wg sync.WaitGroup
			b.at = time.Now()
			b.timed(&wg, "late reading", func() error { return b.Reconcile(t.Context()) })
			synctest.Wait()
			want := souk.Atoms(0)
			if fails {
				ctx, cancel := context.WithCancel(t.Context())
				held.then = cancel // with all read, and nothing posted
				if err := b.Reconcile(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("the newer reading: %v", err)
				}
				held.then = nil
			} else if err := b.pay(c, ch, souk.AtomsPerToken); err != nil {
				t.Fatal(err)
			} else {
				want = souk.AtomsPerToken
			}
			close(held.hold)
			wg.Wait()
			if rec, _ := b.cfg.Channels.Get(id); rec.Balance != want || rec.Revision > 1 {
				t.Errorf("the channel holds %s of %s after %d changes", rec.Balance, want, rec.Revision)
			}
			if have := b.cfg.Ledger.Balance(ledger.Wallet); have != chain.FaucetTokens {
				t.Errorf("the wallet holds %s in the ledger", have)
			}
		})
	}
}
