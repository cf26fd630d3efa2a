package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/contracts/settlement"
)

// chainProxy passes the calls of one daemon on to the chain. It can kill a daemon before
// the chain has a transaction, or before the sender has the answer.
type chainProxy struct {
	chain string // where the chain answers
	addr  string // where the daemon asks

	mu     sync.Mutex  // guards what follows
	moment moment      // no point: none is waited for
	kill   func() bool // kills the victim; true: that was who asks
}

// newChainProxy serves until t ends.
func newChainProxy(t *testing.T, chainAddr string) *chainProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &chainProxy{chain: "http://" + chainAddr, addr: l.Addr().String()}
	srv := &http.Server{Handler: c}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return c
}

// arm has kill called at a moment of a transaction; a nil one disarms.
func (c *chainProxy) arm(m moment, kill func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moment, c.kill = m, kill
}

// at kills the victim if its moment is this point. If the victim is the caller, the call
// ends too.
func (c *chainProxy) at(side, point string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kill == nil || c.moment.side != side || c.moment.point != point {
		return
	}
	if c.moment.count--; c.moment.count > 0 {
		return
	}
	kill := c.kill
	c.kill = nil
	if kill() {
		panic(http.ErrAbortHandler)
	}
}

// ServeHTTP passes a call on. At its moment the victim dies, and the call with it.
func (c *chainProxy) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		return // the daemon is gone
	}
	point, err := txPoint(body)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	c.at(before, point)
	req, err := http.NewRequestWithContext(in.Context(), in.Method, c.chain, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = in.Header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler) // as the chain would: the connection ends
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c.at(after, point)
	out.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	out.WriteHeader(res.StatusCode)
	out.Write(answer) // a daemon that is gone needs none
}

// txPoint names the transaction that a call sends; empty where it sends none.
func txPoint(call []byte) (string, error) {
	var c struct {
		Method string
		Params []json.RawMessage
	}
	if err := json.Unmarshal(call, &c); err != nil || c.Method != "eth_sendRawTransaction" || len(c.Params) != 1 {
		return "", err
	}
	var raw hexutil.Bytes
	var tx types.Transaction
	if err := json.Unmarshal(c.Params[0], &raw); err != nil {
		return "", err
	}
	if err := tx.UnmarshalBinary(raw); err != nil {
		return "", fmt.Errorf("transaction: %w", err)
	}
	if tx.To() == nil || len(tx.Data()) < 4 {
		return "", nil
	}
	if *tx.To() == chain.DevnetContracts().Anchors {
		return "tx-anchor", nil
	}
	contract, err := settlement.SettlementMetaData.ParseABI()
	if err != nil {
		return "", err
	}
	method, err := contract.MethodById(tx.Data()[:4])
	if err != nil {
		return "", err
	}
	point, known := map[string]string{"deposit": "tx-deposit", "multicall": "tx-claim", "refundWithSignature": "tx-refund"}[method.Name]
	if !known {
		return "", fmt.Errorf("transaction of method %s", method.Name)
	}
	return point, nil
}
