package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	p2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/ledger"
)

// DealerConfig holds what a [Dealer] needs.
type DealerConfig struct {
	Key        ed25519.PrivateKey // the node key: signs orders, leases and receipts
	VoucherKey *ecdsa.PrivateKey
	Keys       *money.KeyBinding
	Host       host.Host
	Dial       func(ctx context.Context, p peer.ID, addrs []string) (rtt time.Duration, err error)

	Book      ProviderOffers
	Ledger    Promises
	Channels  *money.Channels
	Receipts  *money.Receipts
	Chain     DepositSigner
	Contracts chain.Contracts
	Keeper    ChannelKeeper
	Waits     *network.Waits
	Log       *slog.Logger
}

// ProviderOffers are the live offers of each provider.
type ProviderOffers interface {
	Of(provider souk.NodeKey) []*market.Offer
}

// Promises is the ledger as a dealer reads it.
type Promises interface {
	Balance(ledger.Account) souk.Atoms
	Get(key string) ([]byte, error)
}

// DepositSigner signs for the wallet. None of it waits for a chain.
type DepositSigner interface {
	Domain() payment.EIP712Domain
	Address() payment.Address
	SignDeposit(ch payment.Channel, amount souk.Atoms, validFor time.Duration, now time.Time, salt [32]byte) (chain.Deposit, error)
}

// ChannelKeeper holds channels against the chain.
type ChannelKeeper interface {
	Mark(ctx context.Context, id souk.ChannelID, change func(*money.Channel)) error
	Reconcile(ctx context.Context) error
}

// Dealer is this node towards providers: it asks them for bids, signs leases with
// them, pays under those, and asks about the channels that pay them. What it
// promises is in the ledger before a provider hears of it. Its methods may be
// called at once.
type Dealer struct {
	cfg        DealerConfig
	key        souk.NodeKey
	authorizer payment.Address

	proposing sync.Mutex // one lease is proposed at a time: each sees what the last one promised
}

// NewDealer starts nothing.
func NewDealer(cfg DealerConfig) (*Dealer, error) {
	keys, err := payment.OpenKeys(cfg.Keys.At(time.Now()), time.Now())
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Dealer{cfg: cfg, key: keys.Node, authorizer: keys.Authorizer}, nil
}

// isSelf tells whether a provider is this node.
func (d *Dealer) isSelf(provider souk.NodeKey) bool { return provider == d.key }

// dial connects to a provider at the addresses of its offers; without any, at those
// known already.
func (d *Dealer) dial(ctx context.Context, key souk.NodeKey, offers []*market.Offer) (rtt time.Duration, err error) {
	p, err := network.PeerID(key)
	if err != nil {
		return 0, err
	}
	var addrs []string
	if len(offers) > 0 {
		addrs = offers[0].Addresses
	}
	return d.cfg.Dial(ctx, p, addrs)
}

// reach connects to a provider, at the addresses of its offer if it has one now:
// after a restart they may be others than before.
func (d *Dealer) reach(ctx context.Context, p peer.ID) (time.Duration, error) {
	key, err := network.PeerKey(p)
	if err != nil {
		return 0, err
	}
	var addrs []string
	if offers := d.cfg.Book.Of(key); len(offers) > 0 {
		addrs = offers[0].Addresses
	}
	return d.cfg.Dial(ctx, p, addrs)
}

// openRun connects to a provider and opens a run stream; see [network.OpenStream].
func (d *Dealer) openRun(ctx context.Context, p peer.ID) (st p2pnet.Stream, release func(), err error) {
	if _, err := d.reach(ctx, p); err != nil {
		return nil, nil, err
	}
	return network.OpenStream(ctx, d.cfg.Host, p, network.RunProtocol)
}

// guard keeps the connection with a provider from being trimmed until release is
// called.
func (d *Dealer) guard(s *Proposal) (release func()) {
	conns := d.cfg.Host.ConnManager()
	conns.Protect(s.Peer, s.ID.String())
	return func() { conns.Unprotect(s.Peer, s.ID.String()) }
}

// wallet is the address that deposits come from, for people.
func (d *Dealer) wallet() string { return d.cfg.Chain.Address().Hex() }
