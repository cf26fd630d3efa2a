package node_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/node/network/networktest"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"go.uber.org/goleak"
)

// TestStop runs a provider with its own chain, and a client with a job that
// runs, then stops both: each ends within three seconds and leaves nothing.
func TestStop(t *testing.T) {
	before := goleak.IgnoreCurrent()
	rpc := freePort(t)
	provider := startDaemon(t, func(c *node.Config) {
		c.Devnet, c.DevnetListen, c.Provide = true, rpc, true
		c.Prices = map[string]souk.Atoms{gpu.ClassCPU: souk.AtomsPerToken}
	})
	client := startDaemon(t, func(c *node.Config) {
		onChain(c, "http://"+rpc)
		c.Bootstrap = provider.addrs[:1]
	})
	client.hears(t)
	for _, d := range []*daemon{provider, client} {
		networktest.Eventually(t, "tokens", func() bool {
			_, err := d.Faucet(t.Context(), &apiv1.FaucetRequest{})
			return err == nil
		})
	}
	client.submit(t, testJob(t, client, "train")).running(t)
	for name, stop := range map[string]func(){"client": client.stop, "provider": provider.stop} {
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s took %s to stop", name, took)
		}
	}
	// The devnet's LevelDB lets one of its goroutines end by a timer of its own,
	// and go-ethereum keeps one pool of workers for the whole process.
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"),
		goleak.IgnoreAnyFunction("github.com/ethereum/go-ethereum/core.(*txSenderCacher).cache"))
}

// freePort is an address of this machine that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestNewRefuses holds New to an error, and to letting go of what it took.
func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*node.Config)
		want   string
	}{
		{"selling without a chain", func(c *node.Config) { c.Provide, c.Prices = true, map[string]souk.Atoms{"CPU": 1} }, "no chain"},
		{"a price for what is not here", func(c *node.Config) {
			c.Devnet, c.DevnetListen, c.Provide, c.Prices = true, "127.0.0.1:0", true, map[string]souk.Atoms{"H100": 1}
		}, "no such device"},
		{"a payout to nowhere", func(c *node.Config) {
			c.Devnet, c.DevnetListen, c.Provide, c.Prices = true, "127.0.0.1:0", true, map[string]souk.Atoms{"CPU": 1}
			c.Payout = "0x12"
		}, "not an address"},
		{"a bootstrap without a peer", func(c *node.Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} }, "/p2p/"},
		{"a public chain with a devnet's contracts", func(c *node.Config) { c.ChainURLs, c.ChainID = []string{"http://127.0.0.1:1"}, 8453 }, "not a devnet"},
		{"a chain that does not answer", func(c *node.Config) { c.ChainURLs = []string{"http://127.0.0.1:1"} }, "127.0.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(t)
			tt.change(&cfg)
			for range 2 { // the second finds nothing in its way
				if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("New: %v; want %q in it", err, tt.want)
				}
			}
		})
	}
}
