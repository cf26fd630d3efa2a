// Package api is the node as its owner and other programs on this machine see it:
// the services of souk.api.v1 over Connect, the page, the market's events and the
// log of receipts.
//
// The socket has full rights, the port asks for a token where something can be
// spent or read that is not public. Each service knows only what it asks of the
// node, by interfaces of its own.
package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/offers"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	"github.com/souk-market/souk/payment/log"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
	"github.com/souk-market/souk/storage/files"
	"golang.org/x/sync/errgroup"
)

//go:embed web
var webFiles embed.FS

const (
	defaultAPI     = "127.0.0.1:7071"
	socketName     = "souk.sock"
	tokenName      = "api.token"
	maxAPIBytes    = 1 << 20 // one request: a job message and its paths
	maxEventStream = 64      // open event streams; a page holds one
	httpStop       = time.Second
)

// Config holds what the API shows and acts on. What only a node with a chain,
// or one that sells, has is nil at the others.
type Config struct {
	Home     string       // holds the socket and the token
	Addr     string       // of the port; default 127.0.0.1:7071
	Listener net.Listener // serves with full rights, in place of the port and the socket; default: none
	Version  string
	Started  time.Time

	Host     host.Host
	Book     *offers.Book
	Gossip   *offers.Gossip
	Clocks   *offers.Clocks
	Streams  *network.Streams
	Space    *disk.Space
	Devices  deviceList
	Engine   interface{ Engine() string } // nil: this node sells nothing
	Files    *files.Files
	Ledger   *ledger.Ledger
	Channels *money.Channels
	Receipts *money.Receipts
	Tree     *log.Log // digests of finished receipts
	Proofs   *proof.Challenger

	Chain   Chain           // nil: none, and so are the next three
	Keeper  *money.Keeper   //
	Client  *client.Client  //
	Dealer  *client.Dealer  //
	Anchors payment.Address // the contract that takes anchors
	Seller  Seller          // nil: this node does not sell
}

// Chain is what the API asks of the chain.
type Chain interface {
	statusChain
	walletChain
	withdrawalChain
}

// Server serves the local API: the services of souk.api.v1 on a socket with full
// rights and on a port with a token, and there the page, the log and the market's
// events for anybody.
type Server struct {
	cfg      Config
	listener net.Listener // of the port, or cfg.Listener
	services http.Handler
	events   *events
}

// New takes the port and makes sure there is a token. Nothing is served before Run.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, listener: cfg.Listener, events: &events{book: cfg.Book, changes: cfg.Book, scores: cfg.Receipts, tree: cfg.Tree}}
	if s.listener == nil {
		addr := cmp.Or(cfg.Addr, defaultAPI)
		var err error
		if s.listener, err = net.Listen("tcp", addr); err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, fmt.Errorf("api: %s is taken, perhaps by another souk daemon; choose another with --api", addr)
			}
			return nil, fmt.Errorf("api: %w", err)
		}
		if _, err := apiToken(cfg.Home); err != nil {
			return nil, errors.Join(err, s.listener.Close())
		}
	}
	s.services = newServices(cfg, s.URL())
	return s, nil
}

// Close gives the port back; Run does it too.
func (s *Server) Close() error {
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// URL is where the page and the HTTP API are.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// apiToken reads the home's token, and makes one where there is none.
func apiToken(home string) (string, error) {
	path := filepath.Join(home, tokenName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		raw := make([]byte, 32)
		rand.Read(raw)
		b = []byte(hex.EncodeToString(raw) + "\n")
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("api token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 32 {
		return "", fmt.Errorf("api token: %s holds no token; remove it and start again", path)
	}
	return token, nil
}

// Run serves the socket, with full rights, and the port, with the token,
// until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if s.cfg.Listener != nil {
		return serveHTTP(ctx, s.listener, s.services)
	}
	token, err := apiToken(s.cfg.Home)
	if err != nil {
		return err
	}
	socket, err := listenSocket(filepath.Join(s.cfg.Home, socketName))
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	port := http.NewServeMux()
	s.servePublic(port, requireToken(token, s.services))
	g, ctx := errgroup.WithContext(ctx)
	for l, h := range map[net.Listener]http.Handler{socket: s.services, s.listener: s.guard(port)} {
		g.Go(func() error { return serveHTTP(ctx, l, h) })
	}
	return g.Wait()
}

// listenSocket replaces a socket that a killed daemon left: the ledger's lock
// shows that no other daemon uses this home.
func listenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	old := syscall.Umask(0o177) // the socket is ours alone from its first moment
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}

// serveHTTP serves HTTP/1.1 and unencrypted HTTP/2, which gRPC needs.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	g := new(errgroup.Group)
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpStop)
		defer cancel()
		if s.Shutdown(stop) != nil {
			return s.Close()
		}
		return nil
	})
	err := s.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("api: %w", err)
		s.Close()
		return err // the error group that ctx belongs to ends the waiter
	}
	return errors.Join(err, g.Wait())
}

// newServices is the Connect API, with full rights.
func newServices(cfg Config, url string) http.Handler {
	node := &nodeService{version: cfg.Version, started: cfg.Started, home: cfg.Home, url: url, host: cfg.Host, book: cfg.Book,
		gossip: cfg.Gossip, streams: cfg.Streams, clocks: cfg.Clocks, space: cfg.Space, devices: cfg.Devices, engine: cfg.Engine, seller: cfg.Seller}
	market := &marketService{book: cfg.Book, changes: cfg.Book, scores: cfg.Receipts, proofs: cfg.Proofs}
	samples := disk.NewSampleFiles(cfg.Home, cfg.Space.LedgerRoom)
	jobs := &jobsService{samples: samples, book: cfg.Book, scores: cfg.Receipts, proofs: cfg.Proofs, receipts: cfg.Receipts, wallet: cfg.Ledger, channels: cfg.Channels}
	wallet := &walletService{ledger: cfg.Ledger, channels: cfg.Channels, book: cfg.Book}
	log := &logService{samples: samples, receipts: cfg.Receipts, tree: cfg.Tree, contract: cfg.Anchors}
	if cfg.Chain != nil { // a nil pointer in an interface would not be nil
		node.chain, node.jobs = cfg.Chain, cfg.Client
		jobs.jobs = cfg.Client
		wallet.chain, wallet.withdrawals, wallet.keeper, wallet.client = cfg.Chain, cfg.Chain, cfg.Keeper, cfg.Dealer
		log.jobs, log.anchors, log.chainID = cfg.Client, cfg.Keeper, cfg.Chain.Domain().ChainID
	}
	mux := http.NewServeMux()
	opts := []connect.HandlerOption{connect.WithReadMaxBytes(maxAPIBytes), connect.WithInterceptors(guardCalls(cfg.Space))}
	mux.Handle(apiv1connect.NewNodeHandler(node, opts...))
	mux.Handle(apiv1connect.NewMarketHandler(market, opts...))
	mux.Handle(apiv1connect.NewJobsHandler(jobs, opts...))
	mux.Handle(apiv1connect.NewWalletHandler(wallet, opts...))
	mux.Handle(apiv1connect.NewFilesHandler(&filesService{add: cfg.Files, read: cfg.Files}, opts...))
	mux.Handle(apiv1connect.NewLogHandler(log, opts...))
	return spoken(mux)
}

// requireToken lets requests through that carry the token: other users of the
// machine share the loopback.
func requireToken(token string, next http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token in $SOUK_HOME/api.token is needed; souk dashboard prints an address that has it", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard refuses requests that a foreign page makes through its reader's browser:
// another Origin, or a name that was rebound to this address.
func (s *Server) guard(next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	hosts := []string{s.listener.Addr().String(), "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}
	if s.cfg.Addr != "" {
		hosts = append(hosts, s.cfg.Addr)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !slices.Contains(hosts, r.Host) || origin != "" && !slices.Contains(hosts, strings.TrimPrefix(origin, "http://")) {
			http.Error(w, "foreign Host or Origin", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// servePublic mounts what needs no token: the page, health, metrics, the log and the
// market's events. All else is the services'.
func (s *Server) servePublic(mux *http.ServeMux, services http.Handler) {
	page, err := fs.Sub(webFiles, "web")
	if err != nil {
		panic(err) // embedded at build time
	}
	static := http.FileServerFS(page)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/souk.api.v1.") {
			services.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		static.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /metrics", newGauges(s.cfg))
	mux.Handle("GET /log/", http.StripPrefix("/log", s.cfg.Tree.Handler()))
	open := make(chan struct{}, maxEventStream)
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		select {
		case open <- struct{}{}:
			defer func() { <-open }()
			s.events.ServeHTTP(w, r)
		default:
			http.Error(w, "too many event streams", http.StatusServiceUnavailable)
		}
	})
}
