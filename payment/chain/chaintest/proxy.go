package chaintest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// Proxy stands before a chain's RPC node: it counts the calls to it, and can be
// told to hang, or to be down. Its methods may be called at once.
type Proxy struct {
	URL string // in place of the node's

	calls      atomic.Int64
	hang, down atomic.Bool
}

// NewProxy serves until the test ends. target is the node's URL.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	p := &Proxy{}
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
	p.URL = s.URL
	return p
}

// Calls is how many requests came so far, answered or not.
func (p *Proxy) Calls() int64 { return p.calls.Load() }

// Hang makes the node answer nothing, or answer again.
func (p *Proxy) Hang(on bool) { p.hang.Store(on) }

// Down makes the node answer with errors, or well again.
func (p *Proxy) Down(on bool) { p.down.Store(on) }
