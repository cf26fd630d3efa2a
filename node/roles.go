package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/api"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/provider"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

const (
	minDeposit = souk.AtomsPerToken / 20  // below it a deposit's gas is a tax
	minDelay   = uint64(24 * 60 * 60)     // seconds: the keeper looks every hour, and a provider may be offline for a while
	gasRetry   = 2 * time.Second          // until a chain that did not answer is asked for the wallet's gas again
	maxDelay   = uint64(7 * 24 * 60 * 60) // seconds
)

// buildRoles makes the client, and the provider where this node sells.
func (n *Node) buildRoles() (err error) {
	if n.chain == nil {
		if n.cfg.Provide {
			return fmt.Errorf("cannot provide: %w", api.ErrNoChain)
		}
		return nil
	}
	keys, err := money.NewKeyBinding(n.cfg.Identity, n.cfg.VoucherKey, n.started)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if n.dealer, err = client.NewDealer(client.DealerConfig{Key: n.cfg.Identity, VoucherKey: n.cfg.VoucherKey, Keys: keys, Host: n.host,
		Dial: n.dial, Book: n.book, Ledger: n.ledger, Channels: n.channels, Receipts: n.receipts, Chain: n.chain,
		Contracts: n.cfg.Contracts, Keeper: n.keeper, Waits: n.cfg.Waits, Log: n.cfg.Log}); err != nil {
		return err
	}
	n.client, err = client.New(client.Config{Dealer: n.dealer, Home: n.cfg.Home, Book: n.book, Ledger: n.ledger, Channels: n.channels,
		Inputs: n.files, Outputs: n.files, Keeper: n.keeper, Proofs: n.proofs, Space: n.space, Waits: n.cfg.Waits, Log: n.cfg.Log})
	if err != nil || !n.cfg.Provide {
		return err
	}
	if err := n.checkPrices(); err != nil {
		return err
	}
	sells, err := n.providerConfig(keys)
	if err != nil {
		return err
	}
	n.provider, err = provider.New(sells, n.started)
	return err
}

// providerConfig is what the provider role is given.
func (n *Node) providerConfig(keys *money.KeyBinding) (provider.Config, error) {
	var ram uint64
	for _, d := range n.devices.List() {
		if d.CPU {
			ram = d.MemoryBytes
		}
	}
	free, err := disk.FreeBytes(n.cfg.Home)
	if err != nil {
		return provider.Config{}, fmt.Errorf("provider: %w", err)
	}
	settlement, err := n.settlement()
	if err != nil {
		return provider.Config{}, err
	}
	var check func(context.Context, gpu.Device) error
	if n.cfg.Provers != nil {
		check = checker{n.cfg.Provers}.check
	}
	return provider.Config{Key: n.cfg.Identity, Host: n.host, Check: check, Devices: n.devices.List(), Unseen: n.devices.Unknown() != nil, Prices: n.cfg.Prices, Lines: n.cfg.Lines,
		Region: n.cfg.Region, Runners: n.cfg.Runners, Home: n.cfg.Home, RAMBytes: ram, DiskBytes: (free - min(free, disk.WorkFloor)) / 2,
		Egress: n.cfg.Egress, WhenIdle: n.cfg.WhenIdle, Faults: n.devices, Boot: bootID(), Settlement: settlement, Keys: keys, Publish: n.gossip.PublishOffer, Revoke: n.gossip.PublishRevocation,
		Ledger: n.ledger, Channels: n.channels, Receipts: n.receipts, Inputs: n.files, Outputs: n.files, Domain: n.chain.Domain(), Contracts: n.cfg.Contracts,
		Keeper: n.keeper, Waits: n.cfg.Waits, Provers: n.cfg.Provers, Wiper: n.cfg.Wiper, Now: n.cfg.Now, Space: n.space, Samples: n.devices.Samples, Log: n.cfg.Log}, nil
}

// bootID is a name of this start of the machine; empty where the system has none.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// checkPrices refuses a price for a device that is not here: it is a slip, and
// the owner would wonder why nobody comes. While a driver does not answer, or a card
// does not say what it is, it may be here: it is sold when it shows.
func (n *Node) checkPrices() error {
	have, unknown := map[string]bool{}, n.devices.Unknown() != nil
	for _, d := range n.devices.List() {
		have[d.Class] = true
		unknown = unknown || d.Health != gpu.Healthy
	}
	for class, price := range n.cfg.Prices {
		if !have[class] && unknown {
			n.cfg.Log.Warn("a device with a price is not to be seen now; it will be offered when it is", "class", class)
		} else if !have[class] {
			return fmt.Errorf("price for %s: this machine has no such device; souk gpus lists what it has", class)
		}
		if price <= 0 {
			return fmt.Errorf("price for %s: it must be above zero", class)
		}
	}
	for class, lines := range n.cfg.Lines {
		if n.cfg.Prices[class] == 0 {
			return fmt.Errorf("tariff for %s: it has no price", class)
		}
		if err := checkLines(lines); err != nil {
			return fmt.Errorf("tariff for %s: %w", class, err)
		}
	}
	if len(n.cfg.Prices) == 0 {
		return errors.New("nothing is for sale: give --price, such as --price CPU=0.05")
	}
	return nil
}

// LineUnits are the units that a provider can price beside device time: what it
// meters itself, and what its runners count.
func LineUnits() []string { return []string{payment.UnitReservedMs, payment.UnitEgressByte} }

// checkLines refuses lines beside the price that this provider cannot meter.
func checkLines(lines payment.Tariff) error {
	if err := lines.Validate(); err != nil {
		return err
	}
	for _, l := range lines {
		if !slices.Contains(LineUnits(), l.Unit) {
			return fmt.Errorf("%s is not metered here; beside the price there may be %s", l.Unit, strings.Join(LineUnits(), ", "))
		}
	}
	return nil
}

// settlement is how this provider is paid.
func (n *Node) settlement() (*marketv1.Settlement, error) {
	payout := n.chain.Address()
	if n.cfg.Payout != "" {
		if err := payout.UnmarshalText([]byte(n.cfg.Payout)); err != nil || payout == (payment.Address{}) {
			return nil, fmt.Errorf("payout: %q is not an address of 0x and 40 hex digits", n.cfg.Payout)
		}
	}
	d, c := n.chain.Domain(), n.cfg.Contracts
	return &marketv1.Settlement{ChainId: d.ChainID, Contract: d.Settlement[:], Token: c.Token[:], Collector: c.Collector[:],
		Receiver: payout[:], WithdrawDelayMinS: minDelay, WithdrawDelayMaxS: maxDelay, MinDepositAtoms: uint64(minDeposit)}, nil
}

// watchGas tells an owner once whose wallet cannot send a client's deposit.
func (n *Node) watchGas(ctx context.Context) error {
	for {
		wei, err := n.chain.GasBalance(ctx, n.chain.Address())
		if err == nil && wei.Sign() == 0 {
			n.cfg.Log.Warn("deposits of clients cannot be sent: "+provider.MendGas, "wallet", n.chain.Address())
		}
		if err == nil || !network.Sleep(ctx, gasRetry) {
			return nil
		}
	}
}

// dial connects to a peer at the addresses of its offer.
func (n *Node) dial(ctx context.Context, p peer.ID, addrs []string) (time.Duration, error) {
	return n.peers.Connect(ctx, p, network.ParseAddrs(p, addrs))
}

// buildAPI takes the API's port, and shows it all that was built.
func (n *Node) buildAPI() (err error) {
	cfg := api.Config{Home: n.cfg.Home, Addr: n.cfg.API, Listener: n.cfg.Listener, Version: n.cfg.Version, Started: n.started,
		Host: n.host, Book: n.book, Gossip: n.gossip, Clocks: n.clocks, Streams: n.streams, Space: n.space, Devices: n.devices,
		Files: n.files, Ledger: n.ledger, Channels: n.channels, Receipts: n.receipts, Tree: n.tree,
		Keeper: n.keeper, Client: n.client, Dealer: n.dealer, Proofs: n.proofs, Anchors: n.cfg.Contracts.Anchors}
	if n.chain != nil { // a nil interface of another type would not be nil
		cfg.Chain = n.chain
	}
	if n.provider != nil {
		cfg.Seller = n.provider
	}
	if n.images != nil {
		cfg.Engine = n.images
	}
	n.api, err = api.New(cfg)
	return err
}
