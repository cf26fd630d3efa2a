package node

import (
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	"go.uber.org/goleak"
)

// TestStop runs a provider with its own chain, and a client with a job that
// runs, then stops both: each ends within three seconds and leaves nothing.
func TestStop(t *testing.T) {
	before := goleak.IgnoreCurrent()
	provider, stopProvider := startDaemon(t, func(c *Config) {
		c.Devnet, c.DevnetListen, c.Provide = true, "127.0.0.1:0", true
		c.Prices = map[string]souk.Atoms{"CPU": souk.AtomsPerToken}
	})
	client, stopClient := startDaemon(t, func(c *Config) {
		c.ChainURLs, c.ChainID = []string{provider.devnet.URL()}, chain.DevnetChainID
		c.Bootstrap = []string{address(provider)}
	})
	eventually(t, "the offer", func() bool { return client.book.Len() == 1 })
	for _, n := range []*Node{provider, client} {
		eventually(t, "tokens", func() bool { return fill(n) })
	}
	j := submit(t, client, testJob(t, client, "train"))
	eventually(t, "the run", func() bool { return j.summary().State == "running" })
	for name, stop := range map[string]func(){"client": stopClient, "provider": stopProvider} {
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
