package node_test

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
	"github.com/souk-market/souk/storage/files"
	storemem "github.com/souk-market/souk/storage/mem"
)

// hand is a client whose steps a test takes one by one, and that can send what no
// daemon sends: a host, keys, books and files of its own, and a [client.Dealer] over
// them. It does nothing by itself, and deals with one provider.
type hand struct {
	*client.Dealer

	cfg      node.Config // of a daemon that would go on as this client
	to       *daemon     // the provider
	host     host.Host
	chain    node.Chain
	ledger   *ledger.Ledger
	channels *money.Channels
	keeper   *money.Keeper
	files    *files.Files
	stop     func() // the test's end does it too
}

// newHand makes a client with tokens that knows a provider. Of its config it uses
// home, keys, store, waits, how it reaches the chain, and what wraps its host.
func newHand(t *testing.T, to *daemon, cfg node.Config) *hand {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = keptStore{storemem.New()}
	}
	if cfg.Waits == nil {
		cfg.Waits = network.DefaultWaits()
	}
	h := &hand{cfg: cfg, to: to, chain: chainOf(t, cfg), host: networktest.Loopback(t, cfg.Identity)}
	if cfg.WrapHost != nil {
		h.host = cfg.WrapHost(h.host)
	}
	h.openBooks(t)
	keys, err := money.NewKeyBinding(cfg.Identity, cfg.VoucherKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := log.Open(log.Config{Dir: filepath.Join(cfg.Home, "log"), Origin: "souk/" + h.host.ID().String(), Key: cfg.Identity})
	if err != nil {
		t.Fatal(err)
	}
	receipts := money.NewReceipts(h.ledger, h.channels, tree)
	receipts.SetDomain(h.chain.Domain())
	h.keeper = money.NewKeeper(money.KeeperConfig{Domain: h.chain.Domain(), Wallet: h.chain.Address(), Chain: h.chain, Deposits: h.chain,
		Claims: h.chain, Anchors: h.chain, Ledger: h.ledger, Channels: h.channels, Tree: tree, VoucherKey: cfg.VoucherKey, Log: cfg.Log})
	h.Dealer, err = client.NewDealer(client.DealerConfig{Key: cfg.Identity, VoucherKey: cfg.VoucherKey, Keys: keys, Host: h.host,
		Dial: h.connect, Book: nothingHeard{}, Ledger: h.ledger, Channels: h.channels, Receipts: receipts, Chain: h.chain,
		Contracts: chain.DevnetContracts(), Keeper: h.keeper, Waits: cfg.Waits, Log: cfg.Log})
	if err != nil {
		t.Fatal(err)
	}
	_, tx, err := h.chain.Faucet(t.Context())
	if err == nil {
		_, err = h.chain.Wait(t.Context(), tx, 1)
	}
	if err == nil {
		err = h.keeper.Reconcile(t.Context())
	}
	if err == nil {
		_, err = h.connect(t.Context(), to.id, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// openBooks opens ledger and files, and lets them run until the test ends.
func (h *hand) openBooks(t *testing.T) {
	t.Helper()
	var err error
	if h.ledger, err = ledger.Open(ledger.Config{Store: h.cfg.Store}); err != nil {
		t.Fatal(err)
	}
	if h.channels, err = money.LoadChannels(h.ledger); err != nil {
		t.Fatal(err)
	}
	if h.files, err = files.New(files.Config{Dir: filepath.Join(h.cfg.Home, "blocks"), Host: h.host, Log: h.cfg.Log}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ends := make(chan error, 2)
	for _, run := range []func(context.Context) error{h.ledger.Run, h.files.Run} {
		go func() { ends <- run(ctx) }()
	}
	h.stop = sync.OnceFunc(func() {
		cancel()
		for _, err := range []error{<-ends, <-ends, h.files.Close(), h.host.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(h.stop)
}

// nothingHeard is an empty book: the hand is told where its provider listens.
type nothingHeard struct{}

// Of implements [client.ProviderOffers].
func (nothingHeard) Of(souk.NodeKey) []*market.Offer { return nil }

// connect reaches the provider where it listens.
func (h *hand) connect(ctx context.Context, _ peer.ID, _ []string) (time.Duration, error) {
	info := peer.AddrInfo{ID: h.to.id}
	for _, a := range h.to.addrs {
		at, err := peer.AddrInfoFromString(a)
		if err != nil {
			return 0, err
		}
		info.Addrs = append(info.Addrs, at.Addrs...)
	}
	return 0, h.host.Connect(ctx, info)
}

// offers are what the provider offers now, by its own book.
func (h *hand) offers(t *testing.T) (offers []*market.Offer) {
	t.Helper()
	networktest.Eventually(t, "an offer", func() bool {
		for _, o := range h.to.market(t) {
			offers = append(offers, &market.Offer{Offer: o.Offer, Provider: h.to.key})
		}
		return len(offers) > 0
	})
	return offers
}

// job is a job whose program and inputs the client has.
func (h *hand) job(t *testing.T, guest string) *jobv1.Job {
	t.Helper()
	var cids []string
	for _, text := range []string{guest, "some data"} {
		dir := t.TempDir()
		name := filepath.Join(dir, "data.txt")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if text != guest {
			name = dir // inputs are a folder
		}
		cid, _, err := h.files.Add(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		cids = append(cids, cid)
	}
	return jobOf(guest, cids[0], cids[1])
}

// ask asks for a bid, as soon as the client may ask again.
func (h *hand) ask(t *testing.T, msg *jobv1.Job) (bid *market.Bid, why *market.Refusal, err error) {
	t.Helper()
	offers := h.offers(t)
	networktest.Eventually(t, "an answer", func() bool {
		bid, why, err = h.Ask(t.Context(), h.to.id, offers, msg, time.Now().Add(5*time.Second))
		return why == nil || why.Reason != marketv1.DeclineReason_DECLINE_REASON_RATE
	})
	return bid, why, err
}

// bid asks for a bid and gets one.
func (h *hand) bid(t *testing.T, msg *jobv1.Job) *market.Bid {
	t.Helper()
	bid, why, err := h.ask(t, msg)
	if err != nil || why != nil {
		t.Fatalf("ask: %v, %v", why, err)
	}
	return bid
}

// idOf is a job's id.
func idOf(msg *jobv1.Job) souk.JobID {
	return souk.JobID{Digest: sha256.Sum256(network.MustMarshal(msg))}
}

// draft is a lease on a bid for a job, with neither voucher nor deposit.
func (h *hand) draft(t *testing.T, msg *jobv1.Job) *client.Proposal {
	t.Helper()
	s, err := h.Draft(idOf(msg), msg, h.to.id, h.bid(t, msg), time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// propose is a lease for a job that the client signed and that is in its books.
func (h *hand) propose(t *testing.T, msg *jobv1.Job, id souk.JobID) *client.Proposal {
	t.Helper()
	s, err := h.Propose(t.Context(), id, msg, h.to.id, h.bid(t, msg), time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lease takes a lease for a job.
func (h *hand) lease(t *testing.T, msg *jobv1.Job) *client.Proposal {
	t.Helper()
	s := h.propose(t, msg, idOf(msg))
	h.countersigned(t, s)
	return s
}

// countersigned asks for the provider's signature and gets it.
func (h *hand) countersigned(t *testing.T, s *client.Proposal) {
	t.Helper()
	if why, err := h.Countersign(t.Context(), s); why != nil || err != nil {
		t.Fatalf("lease: %v, %v", why, err)
	}
}

// voucher is a signed voucher for a lease's channel that is not in the books.
func (h *hand) voucher(t *testing.T, s *client.Proposal, sum souk.Atoms) *leasev1.Voucher {
	t.Helper()
	v := payment.Voucher{Channel: s.Terms.Channel, MaxClaimable: sum}
	if err := v.Sign(s.Terms.Domain, h.cfg.VoucherKey); err != nil {
		t.Fatal(err)
	}
	return v.Proto()
}

// deposit is an authorization for a lease's channel.
func (h *hand) deposit(t *testing.T, s *client.Proposal, amount souk.Atoms) *leasev1.Deposit {
	t.Helper()
	d, err := h.Authorize(s.Channel, amount, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d.Proto()
}

// written is the channel that pays the provider.
func (h *hand) written(t *testing.T, with peer.ID, paying bool) *money.Channel {
	t.Helper()
	rec, ok := h.channels.With(with.String(), paying)
	if !ok {
		t.Fatalf("there is no channel with %s", with)
	}
	return rec
}

// checkBooks holds the hand's ledger against itself and against the chain.
func (h *hand) checkBooks(t *testing.T) {
	t.Helper()
	if err := h.keeper.Reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.ledger.Verify(); err != nil {
		t.Error(err)
	}
	have, err := h.chain.TokenBalance(t.Context(), h.chain.Address())
	if err != nil || have != h.ledger.Balance(ledger.Wallet) {
		t.Errorf("wallet holds %s on chain, %s in the ledger, %v", have, h.ledger.Balance(ledger.Wallet), err)
	}
}

// open opens a stream to the provider that ends with the test.
func (h *hand) open(t *testing.T, first *runv1.ToProvider) p2pnet.Stream {
	t.Helper()
	st, release, err := network.OpenStream(t.Context(), h.host, h.to.id, network.RunProtocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	if err := wire.Write(st, first); err != nil {
		t.Fatal(err)
	}
	return st
}
