package node_test

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/devnet"
)

// serveChain runs a devnet until the test ends, one that waits for nothing.
func serveChain(t *testing.T) (url string) {
	t.Helper()
	d, _ := chaintest.RunDevnet(t, devnet.Config{Eager: true})
	return d.URL()
}

// seller is a provider of its processor with tokens, on the chain at url.
func seller(t *testing.T, url string) *daemon {
	t.Helper()
	d := startDaemon(t, sellingCPU(url))
	d.fill(t)
	return d
}

// buyer is a client with tokens on the provider's chain, who knows its offer.
func buyer(t *testing.T, provider *daemon) *daemon {
	t.Helper()
	d := startDaemon(t, func(c *node.Config) {
		onChain(c, provider.cfg.ChainURLs[0])
		c.Bootstrap = provider.addrs[:1]
	})
	d.fill(t)
	d.hears(t)
	return d
}

// twoNodes is a provider and a client on one chain, with tokens.
func twoNodes(t *testing.T, url string) (provider, client *daemon) {
	t.Helper()
	provider = seller(t, url)
	return provider, buyer(t, provider)
}

// handOn is a [hand] on its provider's chain.
func handOn(t *testing.T, provider *daemon) *hand {
	t.Helper()
	cfg := testConfig(t)
	onChain(&cfg, provider.cfg.ChainURLs[0])
	return newHand(t, provider, cfg)
}

// kept makes a node keep its ledger where it always is, in a store that a test can
// read beside it.
func kept(t *testing.T, c *node.Config) {
	t.Helper()
	c.Store = openStore(t, c.Home)
}

// again is the config for another start of a daemon: its home, its keys, its addresses.
func again(d *daemon) node.Config {
	cfg := d.cfg
	cfg.Listen = nil
	for _, a := range d.addrs {
		at, _, _ := strings.Cut(a, "/p2p/")
		cfg.Listen = append(cfg.Listen, at)
	}
	return cfg
}

// duo is a provider and a client with tokens, both of which may be restarted.
type duo struct{ provider, client *daemon }

func newDuo(t *testing.T, url string) *duo {
	t.Helper()
	p := &duo{}
	p.provider = startDaemon(t, func(c *node.Config) { sellingCPU(url)(c); kept(t, c) })
	p.provider.fill(t)
	p.client = startDaemon(t, func(c *node.Config) {
		onChain(c, url)
		c.Bootstrap = p.provider.addrs[:1]
		kept(t, c)
	})
	p.client.fill(t)
	p.client.hears(t)
	return p
}

// restart stops a daemon and starts it in the same home.
func restart(t *testing.T, d *daemon) *daemon {
	t.Helper()
	next := again(d)
	d.stop()
	kept(t, &next)
	return start(t, next)
}

// agree waits until both sides say the same of their channel, and checks their books.
func (p *duo) agree(t *testing.T) souk.Atoms {
	t.Helper()
	return agree(t, p.provider, p.client.id, p.client)
}

// agree waits until a provider and its client say the same of their channel, with
// nothing live on it, and checks their books. It returns what is due in all.
func agree(t *testing.T, provider *daemon, client peer.ID, pays interface {
	written(t *testing.T, with peer.ID, paying bool) *money.Channel
	checkBooks(t *testing.T)
}) souk.Atoms {
	t.Helper()
	var theirs, ours *money.Channel
	networktest.Eventually(t, "books that agree on the channel", func() bool {
		theirs, ours = provider.written(t, client, false), pays.written(t, provider.id, true)
		return !theirs.Live() && !ours.Live() && theirs.Due() == ours.Due()
	})
	if len(theirs.Leases) != 0 || len(ours.Leases) != 0 {
		t.Errorf("leases that are over stay in the channel: %v and %v", theirs.Leases, ours.Leases)
	}
	if theirs.Vouched() > theirs.Voucher.MaxClaimable {
		t.Errorf("the provider is due %s by vouchers of %s", theirs.Vouched(), theirs.Voucher.MaxClaimable)
	}
	provider.checkBooks(t)
	pays.checkBooks(t)
	return ours.Due()
}
