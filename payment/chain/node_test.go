package chain_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
)

// reader is a client without a wallet of nodes in the given order.
func reader(t *testing.T, chainID uint64, urls ...string) *chain.Client {
	t.Helper()
	return chaintest.NewClient(t, chain.Config{URLs: urls, ChainID: chainID, Timeout: time.Second, DropAfter: 50 * time.Millisecond})
}

// server is a node that answers every request with what reply makes of the method.
func server(t *testing.T, reply func(w http.ResponseWriter, method string)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return
		}
		_, rest, _ := strings.Cut(string(body), `"method":"`)
		method, _, _ := strings.Cut(rest, `"`)
		w.Header().Set("Content-Type", "application/json")
		reply(w, method)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func result(json string) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, method string) {
		if method == "eth_chainId" {
			json = `"0x539"`
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":%s}`, json)
	}
}

// A client gets past a node that is dead, slow, lying about its chain, out of
// requests or sends without end, and names each in its error.
func TestNodesAreTriedInTurn(t *testing.T) {
	w := newWorld(t)
	dead := httptest.NewServer(nil)
	dead.Close()
	hung := make(chan struct{})
	slow := server(t, func(http.ResponseWriter, string) { <-hung })
	t.Cleanup(func() { close(hung) }) // before the server's own, which waits for it
	for _, tt := range []struct {
		name, url, want string
	}{
		{"dead", dead.URL, "refused"},
		{"slow", slow, "no answer in time"},
		{"another chain", server(t, func(w http.ResponseWriter, _ string) {
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"0x1"}`)
		}), chain.ErrWrongChain.Error()},
		{"busy", server(t, func(w http.ResponseWriter, _ string) {
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"limit"}}`)
		}), "limit"},
		{"no JSON", server(t, func(w http.ResponseWriter, _ string) { io.WriteString(w, "<html>") }), "its answer is not JSON"},
		{"an error page", server(t, func(w http.ResponseWriter, _ string) { http.Error(w, "down", http.StatusBadGateway) }), "502"},
		{"endless", server(t, func(w http.ResponseWriter, _ string) {
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"`)
			chunk := strings.Repeat("a", 1<<16)
			for range 2 << 10 {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			number, _, err := reader(t, chain.DevnetChainID, tt.url, w.devnet.URL()).Block(t.Context())
			if err != nil || number == 0 {
				t.Errorf("with a good node behind it: block %d, %v", number, err)
			}
			_, _, err = reader(t, chain.DevnetChainID, tt.url).Block(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("alone: %v; want %q", err, tt.want)
			}
		})
	}
}

// The path of a node's URL is often a password.
func TestURLsAreNotShown(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	_, _, err := reader(t, 1, dead.URL+"/secret").Block(t.Context())
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	_, err = chain.New(chain.Config{URLs: []string{"ws://node/secret"}, Contracts: chain.DevnetContracts()})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestWaitForATransactionThatIsGone(t *testing.T) {
	w := newWorld(t)
	c := reader(t, chain.DevnetChainID, w.devnet.URL())
	none := "0x" + strings.Repeat("ab", 32)
	if _, err := c.Wait(t.Context(), none, 1); !errors.Is(err, chain.ErrDropped) {
		t.Errorf("%v; want %v", err, chain.ErrDropped)
	}
	if _, err := c.Wait(t.Context(), "0xab", 1); err == nil {
		t.Error("waited for half a hash")
	}
	// A node that is down says nothing about the transaction.
	dead := httptest.NewServer(nil)
	dead.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := reader(t, chain.DevnetChainID, dead.URL).Wait(ctx, none, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v; want %v", err, context.DeadlineExceeded)
	}
}

// A node that is restarted forgets a transaction that waits in it: the wait for it
// sends it again, long before it counts as gone.
func TestWaitSendsAgain(t *testing.T) {
	w := newWorld(t)
	var lost atomic.Bool
	to, err := url.Parse(w.devnet.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.Contains(string(body), "eth_sendRawTransaction") && lost.CompareAndSwap(false, true) {
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(rw, `{"jsonrpc":"2.0","id":%s,"result":"0x%s"}`, callID(body), strings.Repeat("ab", 32))
			return
		}
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(string(body))), int64(len(body))
		forward.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.Close)
	key := chaintest.NewKey(t)
	w.client(key) // for its gas
	c := chaintest.NewClient(t, chain.Config{URLs: []string{s.URL}, Wallet: key, DropAfter: time.Minute})
	tx, err := c.Anchor(t.Context(), souk.Digest{1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Wait(ctx, tx, 1); err != nil || !lost.Load() {
		t.Errorf("wait for a transaction that its node forgot (%t): %v", lost.Load(), err)
	}
}

// callID is the id of a JSON-RPC call.
func callID(call []byte) string {
	var c struct{ ID json.RawMessage }
	if json.Unmarshal(call, &c) != nil {
		return "0"
	}
	return string(c.ID)
}

// A node that says what it likes cannot make a client panic or believe in
// impossible amounts.
func TestNonsenseFromANode(t *testing.T) {
	huge := `"0x` + strings.Repeat("ff", 32) + `"`
	for _, json := range []string{`null`, `"0x"`, `"0x00"`, huge, `{}`, `[]`, `17`, `"0x` + strings.Repeat("ff", 96) + `"`} {
		c := reader(t, chain.DevnetChainID, server(t, result(json)))
		if n, err := c.TokenBalance(t.Context(), c.Contracts.Token); err == nil {
			t.Errorf("balance of %s is %d", json, n)
		}
		if s, err := c.Channel(t.Context(), chain.RandomChannelID(), 7); err == nil {
			t.Errorf("channel of %s is %+v", json, s)
		}
		if _, _, err := c.Block(t.Context()); err == nil {
			t.Errorf("block from %s", json)
		}
	}
}
