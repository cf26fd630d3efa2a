package node

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/souk-market/souk/node/network/networktest"
)

// proxy stands before a chain's RPC: it counts calls, and can be told to hang, or
// to be down.
type proxy struct {
	calls atomic.Int64
	hang  atomic.Bool
	down  atomic.Bool
	url   string
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	p := &proxy{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.calls.Add(1)
		if p.hang.Load() {
			io.Copy(io.Discard, r.Body) // only then does the server see a client that leaves
			<-r.Context().Done()
			return
		}
		if p.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	p.url = s.URL
	return p
}

// TestNoChainOnTheJobPath shows that a job on an open channel makes no chain call
// from its start to its end, and that an RPC node that hangs delays nothing.
func TestNoChainOnTheJobPath(t *testing.T) {
	p := newProxy(t, serveChain(t))
	_, client := twoNodes(t, p.url)
	first := finished(t, submit(t, client, testJob(t, client, "train")))
	if first.State != "done" {
		t.Fatalf("first job ended as %v", first)
	}
	quiet(t, p) // what follows a job's end is read before the next begins

	before := p.calls.Load()
	j := submit(t, client, testJob(t, client, "train"))
	var during int64
	networktest.Eventually(t, "the job's collection", func() bool {
		rec, _ := j.Watch()
		if rec.State != "collecting" && rec.Ended.IsZero() { // once it has run, the chain may be read
			during = p.calls.Load() - before
		}
		return !rec.Ended.IsZero()
	})
	if s := j.Summary(); s.State != "done" || during != 0 {
		t.Errorf("job ended as %s with %d chain calls before its end", s.State, during)
	}
	quiet(t, p)

	p.hang.Store(true)
	if s := finished(t, submit(t, client, testJob(t, client, "train"))); s.State != "done" {
		t.Errorf("with a hanging RPC node the job ended as %v", s)
	}
}

// quiet waits until the keepers have read what the last job changed.
func quiet(t *testing.T, p *proxy) {
	t.Helper()
	last, same := p.calls.Load(), 0
	networktest.Eventually(t, "a quiet chain", func() bool {
		now := p.calls.Load()
		if now != last {
			last, same = now, 0
			return false
		}
		same++
		return same > 50
	})
}
