// Package daemon reaches a running souk daemon over the socket in its home.
//
// A [Client] holds no connection: each call dials, so a client outlives a
// restart of its daemon. [ErrUnreachable] tells a daemon that is not there from
// one that answered with an error.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
)

// Socket is the name of the daemon's socket in its home.
const Socket = "souk.sock"

// maxMessageBytes bounds one answer: receipts with proofs of a long job.
const maxMessageBytes = 64 << 20

// ErrUnreachable is wrapped by errors of calls that no daemon answered.
var ErrUnreachable = errors.New("daemon not reachable")

// Client calls one daemon. Its methods may be called at once.
type Client struct {
	Node   apiv1connect.NodeClient
	Market apiv1connect.MarketClient
	Jobs   apiv1connect.JobsClient
	Wallet apiv1connect.WalletClient
	Files  apiv1connect.FilesClient
	Log    apiv1connect.LogClient
}

// New makes a client of the daemon whose home is home. It dials nothing.
func New(home string, log *slog.Logger) *Client {
	socket := filepath.Join(home, Socket)
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	h := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	const base = "http://souk" // the host is not looked up: the socket is the address
	opts := []connect.ClientOption{
		connect.WithReadMaxBytes(maxMessageBytes),
		connect.WithInterceptors(&caller{socket, log}),
	}
	return &Client{
		Node:   apiv1connect.NewNodeClient(h, base, opts...),
		Market: apiv1connect.NewMarketClient(h, base, opts...),
		Jobs:   apiv1connect.NewJobsClient(h, base, opts...),
		Wallet: apiv1connect.NewWalletClient(h, base, opts...),
		Files:  apiv1connect.NewFilesClient(h, base, opts...),
		Log:    apiv1connect.NewLogClient(h, base, opts...),
	}
}

// caller logs each call and names the socket in errors of calls that nobody answered.
type caller struct {
	socket string
	log    *slog.Logger
}

func (c *caller) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		begun := time.Now()
		res, err := next(ctx, req)
		c.log.Debug("call", "procedure", req.Spec().Procedure, "took", time.Since(begun), "err", err)
		return res, c.explain(err)
	}
}

func (c *caller) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		c.log.Debug("call", "procedure", spec.Procedure)
		return &stream{next(ctx, spec), c}
	}
}

func (c *caller) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// stream explains the errors of a streaming call.
type stream struct {
	connect.StreamingClientConn
	*caller
}

func (s *stream) Send(m any) error    { return s.explain(s.StreamingClientConn.Send(m)) }
func (s *stream) Receive(m any) error { return s.explain(s.StreamingClientConn.Receive(m)) }

// explain makes of connect's error what the daemon said: its words, without the
// code that connect puts before them, as an error of souk's kind.
func (c *caller) explain(err error) error {
	ce, ok := errors.AsType[*connect.Error](err)
	switch {
	case !ok:
		return err
	case ce.Code() == connect.CodeUnavailable && !connect.IsWireError(err): // nobody answered
		return fmt.Errorf("%w at %s: is `souk up` running? (%w)", ErrUnreachable, c.socket, root(err))
	}
	codes := map[connect.Code]souk.Code{connect.CodeInvalidArgument: souk.CodeInvalid, connect.CodeNotFound: souk.CodeNotFound,
		connect.CodeFailedPrecondition: souk.CodeState, connect.CodeResourceExhausted: souk.CodeExhausted,
		connect.CodeCanceled: souk.CodeCanceled}
	return &souk.Error{Code: codes[ce.Code()], Err: ce.Unwrap()} // none: internal
}

// root is the innermost cause: "no such file or directory" says it all.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
