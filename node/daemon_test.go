package node_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/souk-market/souk/storage/badger"
	storemem "github.com/souk-market/souk/storage/mem"
)

// testConfig is a node with keys and a home of its own, on loopback.
func testConfig(t *testing.T) node.Config {
	t.Helper()
	_, id, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := fake.New(fake.Config{Guests: guests, Kind: marketv1.Runner_RUNNER_WASM})
	if err != nil {
		t.Fatal(err)
	}
	return node.Config{Home: t.TempDir(), Identity: id, Wallet: chaintest.NewKey(t), VoucherKey: chaintest.NewKey(t), API: "127.0.0.1:0",
		Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}, Probes: []gpu.Probe{cpu.Probe{}}, Runners: []runner.Runner{r},
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))}
}

// onChain makes a node use the chain at url.
func onChain(c *node.Config, url string) {
	c.ChainURLs, c.ChainID = []string{url}, chain.DevnetChainID
}

// sellingCPU makes a node sell its processor on the chain at url.
func sellingCPU(url string) func(*node.Config) {
	return func(c *node.Config) {
		onChain(c, url)
		c.Provide, c.Prices = true, map[string]souk.Atoms{gpu.ClassCPU: 2 * souk.AtomsPerToken}
	}
}

// daemon is a node that runs, as its owner uses it: its config, and its API over the
// socket in its home.
type daemon struct {
	apiv1connect.NodeClient
	apiv1connect.MarketClient
	apiv1connect.JobsClient
	apiv1connect.WalletClient
	apiv1connect.FilesClient
	apiv1connect.LogClient

	cfg   node.Config
	id    peer.ID
	key   souk.NodeKey
	addrs []string // multiaddresses that end with its id
	stop  func()   // the test's end does it too

	read   sync.Once
	ledger *ledger.Ledger // see books
}

// startDaemon runs a node of its own until the test ends.
func startDaemon(t *testing.T, change func(*node.Config)) *daemon {
	t.Helper()
	cfg := testConfig(t)
	change(&cfg)
	return start(t, cfg)
}

// start runs a node until the test ends, or until stop is called.
func start(t *testing.T, cfg node.Config) *daemon {
	t.Helper()
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { err = n.Run(ctx); close(ended) }()
	d := dial(filepath.Join(cfg.Home, "souk.sock"))
	d.cfg = cfg
	d.stop = sync.OnceFunc(func() {
		cancel()
		if <-ended; err != nil {
			t.Errorf("node ended with %v", err)
		}
	})
	t.Cleanup(d.stop)
	networktest.Eventually(t, "the API", func() bool {
		select {
		case <-ended:
			t.Fatalf("node ended with %v", err)
		default:
		}
		st, err := d.Status(t.Context(), &apiv1.StatusRequest{})
		if err == nil {
			d.addrs = st.Addresses
			if d.id, err = peer.Decode(st.Peer); err == nil {
				d.key, err = network.PeerKey(d.id)
			}
		}
		return err == nil
	})
	return d
}

// dial is the API of a daemon over its socket, with full rights. Each call is a
// connection of its own, so that none outlives it.
func dial(socket string) *daemon {
	const url = "http://souk" // the host is not looked up: the socket is the address
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	return &daemon{NodeClient: apiv1connect.NewNodeClient(c, url), MarketClient: apiv1connect.NewMarketClient(c, url),
		JobsClient: apiv1connect.NewJobsClient(c, url), WalletClient: apiv1connect.NewWalletClient(c, url),
		FilesClient: apiv1connect.NewFilesClient(c, url), LogClient: apiv1connect.NewLogClient(c, url)}
}

// fill takes tokens from the faucet.
func (d *daemon) fill(t *testing.T) {
	t.Helper()
	if _, err := d.Faucet(t.Context(), &apiv1.FaucetRequest{}); err != nil {
		t.Fatal(err)
	}
}

// market is every offer that the daemon knows.
func (d *daemon) market(t *testing.T) []*apiv1.OfferRow {
	t.Helper()
	got, err := d.Offers(t.Context(), &apiv1.OffersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Offers
}

// hears waits until the daemon knows the one offer that there is.
func (d *daemon) hears(t *testing.T) {
	t.Helper()
	networktest.Eventually(t, "the offer", func() bool { return len(d.market(t)) == 1 })
}

// status is what the daemon says of itself.
func (d *daemon) status(t *testing.T) *apiv1.StatusResponse {
	t.Helper()
	got, err := d.Status(t.Context(), &apiv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// holder is the lease that has one of the daemon's devices; empty: none.
func (d *daemon) holder(t *testing.T, device string) string {
	t.Helper()
	got, err := d.Devices(t.Context(), &apiv1.DevicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range got.Devices {
		if dev.Id == device {
			return dev.Lease
		}
	}
	t.Fatalf("there is no device %s", device)
	return ""
}

// unused tells whether no device of the daemon is in a lease.
func (d *daemon) unused(t *testing.T) bool {
	t.Helper()
	got, err := d.Devices(t.Context(), &apiv1.DevicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range got.Devices {
		if dev.Lease != "" {
			return false
		}
	}
	return true
}

// balance is the daemon's wallet, after a look at the chain.
func (d *daemon) balance(t *testing.T) *apiv1.BalanceResponse {
	t.Helper()
	got, err := d.Balance(t.Context(), &apiv1.BalanceRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// account is what one account of the daemon's ledger holds, after a look at the chain.
func (d *daemon) account(t *testing.T, a ledger.Account) souk.Atoms {
	t.Helper()
	return souk.Atoms(d.balance(t).Accounts[string(a)])
}

// channel is the daemon's channel with a peer; nil: there is none.
func (d *daemon) channel(t *testing.T, with peer.ID, paying bool) *apiv1.Channel {
	t.Helper()
	got, err := d.Channels(t.Context(), &apiv1.ChannelsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Channels {
		if c.Peer == with.String() && c.Paying == paying {
			return c
		}
	}
	return nil
}

// chain is the chain as the daemon's wallet sees it.
func (d *daemon) chain(t *testing.T) node.Chain {
	t.Helper()
	return chainOf(t, d.cfg)
}

func chainOf(t *testing.T, cfg node.Config) node.Chain {
	t.Helper()
	if cfg.Chain != nil {
		return cfg.Chain
	}
	return chaintest.NewClient(t, chain.Config{URLs: cfg.ChainURLs, Wallet: cfg.Wallet, Authorizer: cfg.VoucherKey})
}

// books reads the ledger of a daemon whose store was brought: what its next start
// would find.
func (d *daemon) books(t *testing.T) *ledger.Ledger {
	t.Helper()
	d.read.Do(func() {
		var err error
		if d.ledger, err = ledger.Open(ledger.Config{Store: d.cfg.Store}); err != nil {
			t.Fatal(err)
		}
	})
	return d.ledger
}

// written is the daemon's channel with a peer as its store has it.
func (d *daemon) written(t *testing.T, with peer.ID, paying bool) *money.Channel {
	t.Helper()
	all, err := money.LoadChannels(d.books(t))
	if err != nil {
		t.Fatal(err)
	}
	rec, ok := all.With(with.String(), paying)
	if !ok {
		t.Fatalf("no channel with %s is written down", with)
	}
	return rec
}

// checkBooks holds a node's ledger against itself and against the chain.
func (d *daemon) checkBooks(t *testing.T) {
	t.Helper()
	got := d.balance(t)
	c := d.chain(t)
	have, err := c.TokenBalance(t.Context(), c.Address())
	if err != nil || !got.Balanced || have != souk.Atoms(got.WalletAtoms) {
		t.Errorf("wallet holds %s on chain, %s in the ledger, which balances: %t; %v", have, souk.Atoms(got.WalletAtoms), got.Balanced, err)
	}
}

// openStore is the store that a node in this home would open by itself, for a test
// to read beside it.
func openStore(t *testing.T, home string) node.Store {
	t.Helper()
	s, err := badger.Open(badger.Config{Dir: filepath.Join(home, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keptStore is a store that outlives the nodes that it is brought to.
type keptStore struct{ *storemem.Store }

// Close implements [node.Store].
func (keptStore) Close() error { return nil }
