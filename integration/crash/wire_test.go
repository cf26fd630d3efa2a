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

// wire is the way of one daemon's calls to the chain. It is where a transaction
// can be stopped before the chain has it, or its answer before the sender has that.
type wire struct {
	chain string // where the chain answers
	addr  string // where the daemon asks

	mu     sync.Mutex  // guards what follows
	moment moment      // no point: none is waited for
	strike func() bool // kills the victim; true: that was who asks
}

// newWire serves until t ends.
func newWire(t *testing.T, chainAddr string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{chain: "http://" + chainAddr, addr: l.Addr().String()}
	srv := &http.Server{Handler: w}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return w
}

// arm has strike called at a moment of a transaction; a nil one disarms.
func (w *wire) arm(m moment, strike func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moment, w.strike = m, strike
}

// reach strikes if that is due at a point. Where it ends who asks, the call ends too.
func (w *wire) reach(side, point string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.strike == nil || w.moment.side != side || w.moment.point != point {
		return
	}
	if w.moment.count--; w.moment.count > 0 {
		return
	}
	strike := w.strike
	w.strike = nil
	if strike() {
		panic(http.ErrAbortHandler)
	}
}

// ServeHTTP passes a call on. At its moment the victim dies, and the call with it.
func (w *wire) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		return // the daemon is gone
	}
	point, err := txPoint(body)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	w.reach(before, point)
	req, err := http.NewRequestWithContext(in.Context(), in.Method, w.chain, bytes.NewReader(body))
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
	w.reach(after, point)
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
