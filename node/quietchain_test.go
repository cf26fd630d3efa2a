package node_test

import (
	"testing"

	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/chain/chaintest"
)

// TestNoChainOnTheJobPath shows that a job on an open channel makes no chain call
// from its start to its end, and that an RPC node that hangs delays nothing.
func TestNoChainOnTheJobPath(t *testing.T) {
	p := chaintest.NewProxy(t, serveChain(t))
	_, client := twoNodes(t, p.URL)
	first := client.submit(t, testJob(t, client, "train")).finished(t)
	if first.State != "done" {
		t.Fatalf("first job ended as %v", first)
	}
	quiet(t, p) // what follows a job's end is read before the next begins

	msg := testJob(t, client, "train")
	before := p.Calls()
	j := client.submit(t, msg)
	var during int64
	networktest.Eventually(t, "the job's collection", func() bool {
		calls := p.Calls() - before
		s := j.get(t).Summary
		if s.State != "collecting" && s.Ended == "" { // once it has run, the chain may be read
			during = calls
		}
		return s.Ended != ""
	})
	if s := j.get(t).Summary; s.State != "done" || during != 0 {
		t.Errorf("job ended as %s with %d chain calls before its end", s.State, during)
	}
	quiet(t, p)

	p.Hang(true)
	if s := client.submit(t, testJob(t, client, "train")).finished(t); s.State != "done" {
		t.Errorf("with a hanging RPC node the job ended as %v", s)
	}
}

// quiet waits until the keepers have read what the last job changed.
func quiet(t *testing.T, p *chaintest.Proxy) {
	t.Helper()
	last, same := p.Calls(), 0
	networktest.Eventually(t, "a quiet chain", func() bool {
		now := p.Calls()
		if now != last {
			last, same = now, 0
			return false
		}
		same++
		return same > 50
	})
}
