package node

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"encoding/json"
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
	"github.com/souk-market/souk/node/offers"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
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

// buildAPI takes the API's port and makes sure there is a token.
func (n *Node) buildAPI() (err error) {
	if n.listener = n.cfg.Listener; n.listener != nil {
		return nil
	}
	addr := n.cfg.API
	if addr == "" {
		addr = defaultAPI
	}
	if n.listener, err = net.Listen("tcp", addr); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("api: %s is taken, perhaps by another souk daemon; choose another with --api", addr)
		}
		return fmt.Errorf("api: %w", err)
	}
	_, err = apiToken(n.cfg.Home)
	return err
}

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

// serveAPI serves the socket, with full rights, and the port, with the token,
// until ctx ends.
func (n *Node) serveAPI(ctx context.Context) error {
	if n.cfg.Listener != nil {
		return serveHTTP(ctx, n.listener, n.services())
	}
	token, err := apiToken(n.cfg.Home)
	if err != nil {
		return err
	}
	socket, err := listenSocket(filepath.Join(n.cfg.Home, socketName))
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	services := n.services()
	port := http.NewServeMux()
	n.servePublic(port, requireToken(token, services))
	g, ctx := errgroup.WithContext(ctx)
	for l, h := range map[net.Listener]http.Handler{socket: services, n.listener: n.guard(port)} {
		g.Go(func() error { return serveHTTP(ctx, l, h) })
	}
	return g.Wait()
}

// listenSocket replaces a socket that a killed daemon left: the ledger's lock
// says that no other daemon lives in this home.
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

// services is the Connect API.
func (n *Node) services() http.Handler {
	mux := http.NewServeMux()
	a := api{n}
	opts := []connect.HandlerOption{connect.WithReadMaxBytes(maxAPIBytes), connect.WithInterceptors(guardCalls(n.space))}
	mux.Handle(apiv1connect.NewNodeHandler(a, opts...))
	mux.Handle(apiv1connect.NewMarketHandler(a, opts...))
	mux.Handle(apiv1connect.NewJobsHandler(a, opts...))
	mux.Handle(apiv1connect.NewWalletHandler(a, opts...))
	mux.Handle(apiv1connect.NewFilesHandler(a, opts...))
	mux.Handle(apiv1connect.NewLogHandler(a, opts...))
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
func (n *Node) guard(next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(n.listener.Addr().String())
	hosts := []string{n.listener.Addr().String(), "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}
	if n.cfg.API != "" {
		hosts = append(hosts, n.cfg.API)
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

// servePublic mounts what needs no token: the page, health, the log and the
// market's events. All else is the services'.
func (n *Node) servePublic(mux *http.ServeMux, services http.Handler) {
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
	mux.Handle("GET /log/", http.StripPrefix("/log", n.tree.Handler()))
	open := make(chan struct{}, maxEventStream)
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		select {
		case open <- struct{}{}:
			defer func() { <-open }()
			n.events(w, r)
		default:
			http.Error(w, "too many event streams", http.StatusServiceUnavailable)
		}
	})
}

// eventsPulse keeps proxies from closing a silent stream, and is how often the
// log's checkpoint is looked at.
const eventsPulse = 2 * time.Second

// events streams the market as server-sent events: the offers there are, then
// each change, and our log's checkpoint as it grows.
func (n *Node) events(w http.ResponseWriter, r *http.Request) {
	changes, err := n.book.Watch(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	for _, o := range n.book.Offers() {
		n.eventOffer(w, offers.Change{Offer: o})
	}
	size, pulse := uint64(0), time.NewTicker(eventsPulse)
	defer pulse.Stop()
	for {
		if now := n.tree.Size(); now != size {
			size = now
			sendEvent(w, "checkpoint", map[string]any{"note": string(n.tree.Checkpoint())})
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case c, ok := <-changes:
			if !ok {
				return
			}
			n.eventOffer(w, c)
		case <-pulse.C:
			fmt.Fprint(w, ": \n\n")
		}
	}
}

func (n *Node) eventOffer(w http.ResponseWriter, c offers.Change) {
	row := n.offerRow(c.Offer)
	o := row.Offer
	sendEvent(w, "offer", map[string]any{"provider": row.Provider, "class": o.Class, "model": o.Model, "region": o.Region,
		"free": o.Free, "count": o.Count, "price_atoms_per_hour": o.PriceAtomsPerHour, "memory_bytes": o.MemoryBytes,
		"epoch": o.Epoch, "sequence": o.Sequence, "expires": stamp(c.Offer.Expires), "ended": c.Ended,
		"envelope": c.Offer.Envelope})
}

// sendEvent writes one server-sent event.
func sendEvent(w http.ResponseWriter, name string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // plain values always encode
	}
	fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
}

// apiURL is where the page and the HTTP API are.
func (n *Node) apiURL() string { return "http://" + n.listener.Addr().String() }
