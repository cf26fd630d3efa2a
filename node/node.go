// Package node builds one daemon: the libp2p host, the stores, the chain client,
// the roles and the API. It hands each only what it uses, and runs them.
//
// [New] builds, [Node.Run] runs. Run owns every goroutine, ends within three
// seconds of its context, and leaves nothing behind. What a role promised is in
// the ledger before a peer hears of it, so a node that is killed goes on from
// there.
//
// The parts are packages below this one, and import each other one way: network;
// offers and disk; money; provider and client, which do not know of each other;
// api. docs/architecture.md says what each is, and README.md lists the files of one
// order as a reader opens them.
package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/inventory"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/vendors"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/api"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/offers"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/node/provider"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/devnet"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	"github.com/souk-market/souk/storage/badger"
	"github.com/souk-market/souk/storage/files"
	"github.com/souk-market/souk/storage/mark"
	"golang.org/x/sync/errgroup"
)

// Config holds what a node needs. A field without a default is required.
type Config struct {
	Home       string             // the node's folder; made if it is missing
	Identity   ed25519.PrivateKey // the node key
	Wallet     *ecdsa.PrivateKey  // owns the tokens; pays gas
	VoucherKey *ecdsa.PrivateKey  // signs vouchers and refunds; another than Wallet

	Listen    []string // multiaddresses; default: any port, QUIC and TCP
	Bootstrap []string // multiaddresses with /p2p/ of peers to begin with
	MDNS      bool     // look for peers on the local network
	API       string   // address of the HTTP API; default 127.0.0.1:7071

	ChainURLs     []string        // JSON-RPC endpoints; none, no Devnet and no Chain: watch only
	ChainID       uint64          // default: what the first endpoint says
	Contracts     chain.Contracts // default: those of a devnet
	Confirmations uint64          // blocks a deposit waits for; default 3, 1 on a devnet
	FinalAbove    souk.Atoms      // a larger deposit must be final, but on a devnet; default 1 token
	Devnet        bool            // serve a chain of our own
	DevnetListen  string          // default 127.0.0.1:8545
	Chain         Chain           // with Wallet's money, in place of the endpoints; default: none

	Provide  bool                      // sell the devices that have a price
	Prices   map[string]souk.Atoms     // per device class, for one hour
	Lines    map[string]payment.Tariff // per device class, what is priced beside device time: reserved-ms; default: nothing
	Egress   bool                      // jobs that are images may reach the hosts that they declare
	WhenIdle bool                      // sell a GPU only while nobody beside souk uses it
	Payout   string                    // address that earnings go to; default: the wallet's
	Region   string                    // default: not said

	Self    []string         // argv of this program, whose commands probe-nvml, edits-nvml, wasm-exec and challenge-exec are run as children
	Probes  []gpu.Probe      // where devices are found; default: the processor, and NVIDIA's driver by Self
	Runners []runner.Runner  // how jobs are run; default: WebAssembly by Self, and images where there is an engine
	Provers provider.Provers // what computes challenges; default: processes by Self
	Wiper   provider.Wiper   // what cleans devices between leases; default: processes by Self
	Engines []string         // where a container engine may be, the first that can be used is; none: no images are run

	ByEngine bool // the container engine gives containers their GPUs itself, with NVIDIA's hooks, and not souk

	// A simulation brings its own; what is left out is the real thing. Run closes
	// Store and Listener.
	Store     Store                     // keeps the ledger; default: Badger in Home
	Transport libp2p.Option             // how to dial and listen; default: QUIC v1 and TCP
	WrapHost  func(host.Host) host.Host // what all that talks to peers uses in place of the host; default: the host
	Listener  net.Listener              // serves the API with full rights, in place of API and the socket in Home

	Version string
	Now     func() time.Time // the clock by which offers are signed and judged; default [time.Now]
	Waits   *network.Waits   // how long peers are waited for; default [network.DefaultWaits], tests and simulations shorten them
	Log     *slog.Logger
}

// Store is a transactional store of keys and values that can be closed.
type Store interface {
	payment.Store
	Close() error
}

// Chain is what a node asks of the chain that holds the money, for one wallet.
// [chain.Client] asks a real one; payment/chain/mem stands in for it. Both pass
// payment/chain/chaintest.
type Chain interface {
	money.ReadingChain
	money.DepositChain
	money.ClaimChain
	money.AnchorChain
	client.DepositSigner
	api.Chain
}

// Node is a daemon. Its parts are built by New and belong to Run.
type Node struct {
	cfg     Config
	started time.Time
	devices *inventory.Inventory
	images  *images // nil: none are run

	store  Store
	mark   *mark.Mark // nil: the store was brought
	host   host.Host
	api    *api.Server
	devnet *devnet.Devnet // nil: none served

	space    *disk.Space
	ledger   *ledger.Ledger
	channels *money.Channels
	tree     *log.Log // digests of finished receipts
	receipts *money.Receipts
	files    *files.Files
	book     *offers.Book
	streams  *network.Streams
	peers    *network.Peers
	gossip   *offers.Gossip
	syncer   *offers.Syncer
	clocks   *offers.Clocks
	rpc      *chain.Client // nil: the chain is not ours to close
	chain    Chain         // nil: watch only, and so are the next four
	keeper   *money.Keeper
	dealer   *client.Dealer
	proofs   *proof.Challenger
	client   *client.Client
	provider *provider.Provider // nil: this node does not sell
}

// New checks the config and builds every part. Ports are taken, nothing runs.
func New(cfg Config) (*Node, error) {
	if cfg.Home == "" || cfg.Identity == nil || cfg.Wallet == nil || cfg.VoucherKey == nil {
		return nil, errors.New("node: a home, an identity, a wallet and a voucher key are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Waits == nil {
		cfg.Waits = network.DefaultWaits()
	}
	if err := os.MkdirAll(cfg.Home, 0o700); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	n := &Node{cfg: cfg, started: cfg.Now(), space: disk.NewSpace(cfg.Home, cfg.Log)}
	for _, build := range []func() error{n.buildStores, n.buildNetwork, n.buildChain, n.buildDevices, n.buildProofs, n.buildRoles, n.buildAPI} {
		if err := build(); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	return n, nil
}

func (n *Node) peerID() (peer.ID, error) {
	return network.PeerID(souk.NodeKey(n.cfg.Identity.Public().(ed25519.PublicKey)))
}

// buildNetwork opens the host, and makes what talks through it.
func (n *Node) buildNetwork() (err error) {
	bootstrap, err := network.ParseBootstrap(n.cfg.Bootstrap)
	if err != nil {
		return err
	}
	if n.host, err = network.NewHost(network.HostConfig{Key: n.cfg.Identity, Listen: n.cfg.Listen, Transport: n.cfg.Transport}); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	n.host = crashHost(n.host)
	if n.cfg.WrapHost != nil {
		n.host = n.cfg.WrapHost(n.host)
	}
	if n.files, err = files.New(files.Config{Dir: filepath.Join(n.cfg.Home, "blocks"), Host: n.host,
		FreeFloor: disk.BlocksFloor, Log: n.cfg.Log}); err != nil {
		if errors.Is(err, badger.ErrDamaged) {
			err = fmt.Errorf("%w: remove %s: what was in it is added or fetched again", err, filepath.Join(n.cfg.Home, "blocks"))
		}
		return fmt.Errorf("files: %w", err)
	}
	n.book = offers.NewBook(market.Config{Score: n.receipts.Score, Evidence: n.evidence}, n.cfg.Now)
	n.streams = network.NewStreams(n.host, n.cfg.Log)
	n.gossip = offers.NewGossip(offers.GossipConfig{Host: n.host, Book: n.book, Log: n.cfg.Log})
	n.clocks = offers.NewClocks(n.cfg.Log)
	n.syncer = offers.NewSyncer(offers.SyncConfig{Host: n.host, Streams: n.streams, Book: n.book, Gossip: n.gossip, Clocks: n.clocks, Rand: newRand(), Within: n.cfg.Waits.Sync, Log: n.cfg.Log})
	n.peers = network.NewPeers(network.PeersConfig{Host: n.host, Bootstrap: bootstrap, Load: n.loadPeers, Save: n.savePeers,
		MDNS: n.cfg.MDNS, OnConnect: n.syncer.Want, Rand: newRand(), Log: n.cfg.Log})
	return nil
}

// newRand spreads timers; nothing secret hangs on it.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// buildChain makes what talks to the chain, and the keeper.
func (n *Node) buildChain() (err error) {
	if n.cfg.Contracts == (chain.Contracts{}) {
		n.cfg.Contracts = chain.DevnetContracts()
	}
	if n.chain = n.cfg.Chain; n.chain == nil {
		if err := n.dialChain(); err != nil || n.rpc == nil {
			return err
		}
		n.chain = n.rpc
	}
	n.receipts.SetDomain(n.chain.Domain())
	n.keeper = money.NewKeeper(money.KeeperConfig{Domain: n.chain.Domain(), Wallet: n.chain.Address(),
		Chain: n.chain, Deposits: n.chain, Claims: n.chain, Anchors: n.chain, Ledger: n.ledger, Channels: n.channels, Tree: n.tree,
		VoucherKey: n.cfg.VoucherKey, Confirmations: n.cfg.Confirmations, FinalAbove: n.cfg.FinalAbove, Log: n.cfg.Log})
	return nil
}

// dialChain makes the chain's server, if we serve it, and its client, if there is
// an endpoint.
func (n *Node) dialChain() (err error) {
	urls, id := n.cfg.ChainURLs, n.cfg.ChainID
	if n.cfg.Devnet {
		if n.devnet, err = devnet.New(devnet.Config{Dir: filepath.Join(n.cfg.Home, "devnet"), Listen: n.cfg.DevnetListen,
			Room: n.space.LedgerRoom, Seal: crashSeal(), Log: n.cfg.Log}); err != nil {
			return err
		}
		urls, id = []string{n.devnet.URL()}, chain.DevnetChainID
	}
	if len(urls) == 0 {
		return nil
	}
	n.rpc, err = chain.New(chain.Config{URLs: urls, ChainID: id, Contracts: n.cfg.Contracts, Wallet: n.cfg.Wallet,
		Authorizer: n.cfg.VoucherKey, Confirmations: n.cfg.Confirmations, Log: n.cfg.Log})
	if err != nil {
		return fmt.Errorf("%w: is the address right (--chain, or chain in config.yaml), and does that node run?", err)
	}
	if n.rpc.ChainID != chain.DevnetChainID && n.cfg.Contracts == chain.DevnetContracts() {
		return fmt.Errorf("chain %d is not a devnet: say in config.yaml where its contracts stand", n.rpc.ChainID)
	}
	return nil
}

// buildDevices asks every probe for the first time.
func (n *Node) buildDevices() error {
	if n.cfg.Probes == nil {
		n.cfg.Probes = []gpu.Probe{cpu.Probe{}}
		for _, v := range vendors.All(n.cfg.Self) {
			n.cfg.Probes = append(n.cfg.Probes, v)
		}
	}
	if n.cfg.Runners == nil && n.cfg.Provide {
		if err := n.buildRunners(); err != nil {
			return err
		}
	}
	n.devices = inventory.New(n.cfg.Probes, n.cfg.WhenIdle, n.cfg.Log)
	n.devices.Read(context.Background())
	return nil
}

// child is the argv of one of this program's hidden commands.
func (n *Node) child(command string) []string { return append(slices.Clone(n.cfg.Self), command) }

// Close closes what New opened.
func (n *Node) close() error {
	var errs []error
	if n.api != nil {
		errs = append(errs, n.api.Close())
	}
	if n.files != nil {
		errs = append(errs, n.files.Close())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	if n.rpc != nil {
		n.rpc.Close()
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.mark != nil {
		errs = append(errs, n.mark.Close())
	}
	return errors.Join(errs...)
}

// Run runs the node until ctx ends or a part of it fails. It can be called once.
//
// The ledger outlives the roles and the chain outlives the ledger's writers: a
// role that is told to stop can still write down how far it came.
func (n *Node) Run(ctx context.Context) error {
	late, stopLate := context.WithCancel(context.WithoutCancel(ctx))
	base, lateCtx := errgroup.WithContext(late)
	g, ctx := errgroup.WithContext(ctx)
	base.Go(func() error { return n.ledger.Run(lateCtx) })
	g.Go(func() error { // a store that fails ends the node
		select {
		case <-lateCtx.Done():
			return errors.New("the ledger stopped")
		case <-ctx.Done():
			return nil
		}
	})
	if err := n.receipts.CatchUp(ctx); err != nil {
		stopLate()
		return errors.Join(err, base.Wait(), n.close())
	}
	n.runParts(ctx, g)
	n.cfg.Log.Info("souk is up", "peer", n.host.ID(), "api", n.api.URL())
	err := g.Wait()
	stopLate()
	return errors.Join(err, base.Wait(), n.close())
}

// runParts starts every part on g.
func (n *Node) runParts(ctx context.Context, g *errgroup.Group) {
	parts := []func(context.Context) error{n.watchSpace, n.files.Run, n.book.Run, n.gossip.Run, n.syncer.Run, n.peers.Run, n.api.Run}
	if n.devnet != nil {
		parts = append(parts, n.devnet.Run)
	}
	if n.chain != nil {
		parts = append(parts, n.keeper.Run, n.client.Run)
	}
	watch := func([]gpu.Device) {} // a node that sells nothing only shows them
	if n.provider != nil {
		parts, watch = append(parts, n.provider.Run, n.watchGas), n.provider.Restock
	}
	if n.provider != nil && n.images != nil {
		parts = append(parts, func(ctx context.Context) error { return n.images.watch(ctx, n.provider.Equip) })
	}
	parts = append(parts, func(ctx context.Context) error { return n.devices.Watch(ctx, watch) })
	for _, run := range parts {
		g.Go(func() error { return run(ctx) })
	}
	if n.provider != nil {
		g.Go(func() error { return n.serveStreams(ctx) })
	}
}

// serveStreams answers the protocols of a provider until ctx ends.
func (n *Node) serveStreams(ctx context.Context) error {
	w, run := n.cfg.Waits, network.RunLimits
	run.Known = n.provider.Leased // who has no lease has nothing to attach to
	for _, stop := range []func(){
		n.streams.Handle(ctx, network.OrderProtocol, network.OrderLimits.In(w.Order), n.provider.ServeOrder),
		n.streams.Handle(ctx, network.LeaseProtocol, network.LeaseLimits.In(w.Lease), n.provider.ServeLease),
		n.streams.Handle(ctx, network.RunProtocol, run, n.provider.ServeRun),
		n.streams.Handle(ctx, network.ChannelProtocol, network.ChannelLimits.In(w.Channel), n.provider.ServeChannel),
		n.streams.Handle(ctx, proof.Protocol, proof.Limits, n.provider.ServeChallenge),
	} {
		defer stop()
	}
	<-ctx.Done()
	return nil
}

// watchSpace lets the parts know when the disk is full, and when it is not.
func (n *Node) watchSpace(ctx context.Context) error {
	return n.space.Run(ctx, func(low bool) {
		if n.provider != nil {
			n.provider.Changed()
		}
		if low {
			return
		}
		if err := n.receipts.Relog(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Log.Error("receipts log", "err", err)
		}
		if n.keeper != nil {
			n.keeper.Wake()
		}
	})
}
