package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

// maxReply bounds one reply of a node, which need not be honest.
const maxReply = 16 << 20

// endpoint is one node. The path of its URL may be a password, so only name is
// ever shown.
type endpoint struct {
	name    string
	rpc     *rpc.Client
	eth     *ethclient.Client
	checked atomic.Bool // it serves our chain
}

func newEndpoint(raw string, client *http.Client) (*endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("a chain's URL must be http:// or https://")
	}
	// Nothing is dialled yet: with HTTP each call is a request of its own.
	r, err := rpc.DialOptions(context.Background(), raw, rpc.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u.Host, err)
	}
	return &endpoint{name: u.Host, rpc: r, eth: ethclient.NewClient(r)}, nil
}

func newHTTPClient() *http.Client {
	return &http.Client{Transport: boundedTransport{&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
	}}}
}

// boundedTransport cuts replies off at maxReply.
type boundedTransport struct{ *http.Transport }

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxReply), resp.Body}
	return resp, nil
}

// do runs fn against each node in turn until one answers. An answer is a result,
// or an error of the chain itself: a revert, a refused transaction, nothing found.
// Where there is none, the error is [ErrNoAnswer].
func (c *Client) do(ctx context.Context, fn func(context.Context, *ethclient.Client) error) error {
	var failed []error
	silent := true
	for _, e := range c.nodes {
		err := c.ask(ctx, e, func(ctx context.Context) error { return fn(ctx, e.eth) })
		if err == nil || isAnswer(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, fmt.Errorf("%s: %w", e.name, plainly(err)))
		if errors.Is(err, ErrDropped) { // another node may know the transaction
			silent = false
			continue
		}
		c.Log.Warn("chain node failed", "node", e.name, "err", plainly(err))
	}
	if silent {
		return noAnswer{errors.Join(failed...)}
	}
	return errors.Join(failed...)
}

// noAnswer is [ErrNoAnswer] in the words of what each node did.
type noAnswer struct{ error }

func (e noAnswer) Is(target error) bool { return target == ErrNoAnswer }
func (e noAnswer) Unwrap() error        { return e.error }

// ask runs one call of one node within the timeout, and sees to it that the node
// serves the right chain.
func (c *Client) ask(ctx context.Context, e *endpoint, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if !e.checked.Load() && c.chainID != nil {
		id, err := e.eth.ChainID(ctx)
		if err != nil {
			return err
		}
		if id.Cmp(c.chainID) != 0 {
			return fmt.Errorf("chain %s, want %s: %w", id, c.chainID, ErrWrongChain)
		}
		e.checked.Store(true)
	}
	return fn(ctx)
}

func (c *Client) askChainID() (id uint64, err error) {
	err = c.do(context.Background(), func(ctx context.Context, e *ethclient.Client) error {
		n, err := e.ChainID(ctx)
		if err != nil {
			return err
		}
		if !n.IsUint64() || n.Sign() == 0 {
			return fmt.Errorf("chain id %s: %w", n, ErrWrongChain)
		}
		id = n.Uint64()
		return nil
	})
	return id, err
}

// isAnswer tells the chain's own errors from those of a node.
func isAnswer(err error) bool {
	if errors.Is(err, ethereum.NotFound) || errors.Is(err, errWaiting) || errors.Is(err, ErrNoAnchor) {
		return true
	}
	if _, ok := errors.AsType[*RevertError](err); ok {
		return true
	}
	if e, ok := errors.AsType[rpc.Error](err); ok {
		switch e.ErrorCode() {
		case 3, -32000, -32003: // reverted, refused, transaction rejected
			return true
		}
	}
	return false
}

// nodeError says in few words what is wrong with a node. Its cause stays, for
// those who ask for it.
type nodeError struct {
	text  string
	cause error
}

func (e *nodeError) Error() string { return e.text }
func (e *nodeError) Unwrap() error { return e.cause }

// plainly leaves out of a node's failure its URL, which may hold a password, and
// whatever page it answered with.
func plainly(err error) error {
	var refused *net.OpError
	var name *net.DNSError
	var status rpc.HTTPError
	var broken *json.SyntaxError
	text := ""
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		text = "no answer in time"
	case errors.As(err, &name):
		text = "no such host"
	case errors.As(err, &refused):
		text = refused.Err.Error()
		if call, ok := errors.AsType[*os.SyscallError](refused.Err); ok {
			text = call.Err.Error()
		}
	case errors.As(err, &status):
		text = fmt.Sprintf("HTTP status %d: it may not be a chain's node", status.StatusCode)
	case errors.As(err, &broken):
		text = "its answer is not JSON: it may not be a chain's node"
	default:
		if e, ok := errors.AsType[*url.Error](err); ok {
			return e.Err
		}
		return err
	}
	return &nodeError{text, err}
}
