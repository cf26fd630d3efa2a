package devnet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/time/rate"

	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/contracts/testtoken"
)

// Limits of the JSON-RPC server: what one request may cost a node that runs
// beside others on one machine.
const (
	maxBody          = 1 << 20
	maxBatchItems    = 100
	maxBatchResponse = 8 << 20
)

// newHandler serves the namespaces eth, net, web3 and souk; what go-ethereum has
// beyond them (debug, admin, miner) is not for callers. stop ends its requests.
func newHandler(n *chainNode, f *faucet) (h http.Handler, stop func(), err error) {
	srv := rpc.NewServer()
	srv.SetHTTPBodyLimit(maxBody)
	srv.SetBatchLimits(maxBatchItems, maxBatchResponse)
	apis := append(n.eth.APIs(),
		rpc.API{Namespace: "eth", Service: n.filters},
		rpc.API{Namespace: "web3", Service: web3API{}},
		rpc.API{Namespace: "souk", Service: soukAPI{f}},
	)
	for _, a := range apis {
		switch a.Namespace {
		case "eth", "net", "web3", "souk":
			if err := srv.RegisterName(a.Namespace, a.Service); err != nil {
				return nil, nil, fmt.Errorf("register %s: %w", a.Namespace, err)
			}
		}
	}
	return checkHost(betweenBlocks(srv, n)), srv.Stop, nil
}

// betweenBlocks runs each request while no block is being made. A slow caller
// holds up no block: its request is read before and its reply sent after.
func betweenBlocks(next http.Handler, n *chainNode) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "body too large or cut off", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		reply := reply{header: w.Header(), status: http.StatusOK}
		n.mu.RLock()
		next.ServeHTTP(&reply, r)
		n.mu.RUnlock()
		w.WriteHeader(reply.status)
		// The caller may be gone; there is nobody left to tell.
		_, _ = w.Write(reply.body.Bytes())
	})
}

// reply holds a response back.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header         { return r.header }
func (r *reply) WriteHeader(status int)      { r.status = status }
func (r *reply) Write(b []byte) (int, error) { return r.body.Write(b) }

// checkHost refuses requests made to a name other than localhost: a page whose
// name was pointed at this machine could else talk to the chain as if it were
// of the same origin.
func checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "unknown host", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

type web3API struct{}

// ClientVersion names the server.
func (web3API) ClientVersion() string { return "souk-devnet" }

// Sha3 is the Keccak-256 hash of input.
func (web3API) Sha3(input hexutil.Bytes) hexutil.Bytes { return crypto.Keccak256(input) }

// soukAPI is the devnet's own namespace.
type soukAPI struct{ f *faucet }

// Faucet sends tokens and native coin to an address.
func (a soukAPI) Faucet(_ context.Context, to common.Address) (chain.FaucetReply, error) {
	return a.f.give(to)
}

// faucet gives away tokens and coin. Its rate is bounded so that it cannot fill
// the disk with blocks.
type faucet struct {
	key     *ecdsa.PrivateKey
	address common.Address
	signer  types.Signer
	node    *chainNode
	limit   *rate.Limiter

	mu   sync.Mutex // one gift at a time; guards next
	next uint64     // the nonce after the last transaction sent
}

func newFaucet(n *chainNode) (*faucet, error) {
	key, err := faucetKey()
	if err != nil {
		return nil, err
	}
	return &faucet{
		key:     key,
		address: crypto.PubkeyToAddress(key.PublicKey),
		signer:  types.LatestSignerForChainID(big.NewInt(chain.DevnetChainID)),
		node:    n,
		limit:   rate.NewLimiter(5, 50),
	}, nil
}

// give sends two transactions, coin first: when the second is mined both are.
func (f *faucet) give(to common.Address) (chain.FaucetReply, error) {
	if !f.limit.Allow() {
		return chain.FaucetReply{}, errBusy{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	nonce := max(f.next, f.node.eth.TxPool().Nonce(f.address))
	token := chain.DevnetContracts().Token
	coins := new(big.Int).Mul(big.NewInt(chain.FaucetCoins), big.NewInt(params.Ether))
	mint := testtoken.NewTestToken().PackMint(to, big.NewInt(int64(chain.FaucetTokens)))
	var hash common.Hash
	for _, tx := range []*types.DynamicFeeTx{
		{To: &to, Value: coins, Gas: 100_000},
		{To: &token, Data: mint, Gas: 150_000},
	} {
		tx.Nonce, tx.ChainID = nonce, big.NewInt(chain.DevnetChainID)
		tx.GasTipCap, tx.GasFeeCap = big.NewInt(params.GWei), big.NewInt(1000*params.GWei)
		signed, err := types.SignNewTx(f.key, f.signer, tx)
		if err != nil {
			return chain.FaucetReply{}, fmt.Errorf("sign: %w", err)
		}
		if err := f.node.eth.TxPool().Add([]*types.Transaction{signed}, true)[0]; err != nil {
			return chain.FaucetReply{}, fmt.Errorf("faucet: %w", err)
		}
		nonce++
		f.next, hash = nonce, signed.Hash()
	}
	return chain.FaucetReply{Transaction: hash, Atoms: hexutil.Uint64(chain.FaucetTokens)}, nil
}

// errBusy has the code that Ethereum nodes use for a caller over its limit.
type errBusy struct{}

func (errBusy) Error() string  { return "faucet: too many requests" }
func (errBusy) ErrorCode() int { return -32005 }
