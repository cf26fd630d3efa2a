package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of one job's proxy.
const (
	MaxConns     = 64               // at once; more wait until one ends
	MaxHeader    = 16 << 10         // bytes of what a job asks for, without a body
	headerWithin = 10 * time.Second // for it to come
	replyWithin  = 5 * time.Second  // for a refusal to be read
	idleFor      = 5 * time.Minute  // in which nothing passes on a connection
	acceptAgain  = 100 * time.Millisecond
)

// Config holds what a [Proxy] needs.
type Config struct {
	Rules   Rules                                                            // the declared hosts
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)     // default: this machine's resolver
	Dial    func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) // default: TCP
	Allow   func(netip.Addr) bool                                            // addresses that are reached though they are not public; for tests
	Own     func() []netip.Addr                                              // addresses by which others know this machine, which are not reached; those of its interfaces never are
	Log     *slog.Logger                                                     // what was refused; default: discarded
}

// Proxy is the HTTP proxy of one job. It takes CONNECT, and plain HTTP requests by
// absolute URI, one for each connection.
type Proxy struct {
	cfg   Config
	bytes atomic.Uint64
}

// New fills in defaults.
func New(c Config) *Proxy {
	if c.Resolve == nil {
		c.Resolve = resolve
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Proxy{cfg: c}
}

// Bytes is how many bytes passed between the job and its hosts so far, both ways
// together. It only grows.
func (p *Proxy) Bytes() uint64 { return p.bytes.Load() }

// Run serves l until ctx ends, which ends all connections too, and closes it.
func (p *Proxy) Run(ctx context.Context, l net.Listener) {
	var work sync.WaitGroup
	defer work.Wait()
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	room := make(chan struct{}, MaxConns)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				c.Close()
			}
			return
		}
		if err != nil { // this process has no descriptor left, perhaps: the job has paid for more than that
			p.cfg.Log.Warn("a job's proxy takes no connection", "err", err)
			<-room
			time.Sleep(acceptAgain)
			continue
		}
		work.Go(func() {
			defer func() { <-room }()
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			p.serve(ctx, c)
		})
	}
}

// serve answers one request.
func (p *Proxy) serve(ctx context.Context, c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(headerWithin))
	head := &io.LimitedReader{R: c, N: MaxHeader}
	from := bufio.NewReader(head)
	req, err := http.ReadRequest(from)
	if err != nil {
		refuse(c, http.StatusBadRequest, "this is no request that a proxy takes")
		return
	}
	head.N = math.MaxInt64
	_ = c.SetReadDeadline(time.Time{})
	t, err := targetOf(req)
	if err != nil {
		refuse(c, http.StatusBadRequest, err.Error())
		return
	}
	there, err := p.dial(ctx, t)
	if no, ok := errors.AsType[*refusedError](err); ok {
		p.cfg.Log.Debug("a job asked for a host that it does not reach", "why", no.why) // how often is the job's choice
		refuse(c, http.StatusForbidden, no.why)
		return
	}
	if err != nil { // what it says of this machine's network is not the job's
		p.cfg.Log.Debug("a job's host was not reached", "host", t, "err", err)
		refuse(c, http.StatusBadGateway, t.String()+" was not reached")
		return
	}
	defer there.Close()
	stop := context.AfterFunc(ctx, func() { there.Close() })
	defer stop()
	if req.Method == http.MethodConnect {
		if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err == nil {
			p.carry(c, there, func(w io.Writer) error {
				if _, err := io.Copy(w, from); err != nil {
					return err
				}
				closeWrite(there)
				return nil
			})
		}
		return
	}
	p.carry(c, there, func(w io.Writer) error { return forward(req, w) })
}

// targetOf is what a request asks for.
func targetOf(req *http.Request) (target, error) {
	if req.Method == http.MethodConnect {
		host, port, err := net.SplitHostPort(req.RequestURI)
		if err != nil {
			return target{}, errForm
		}
		return parseTarget(host, port)
	}
	if !strings.EqualFold(req.URL.Scheme, "http") || req.URL.Host == "" {
		return target{}, errors.New("this is a proxy: ask for http://HOST/…, or CONNECT")
	}
	port := req.URL.Port()
	if port == "" {
		port = "80"
	}
	return parseTarget(req.URL.Hostname(), port)
}

// forHop are headers that are between a program and its proxy alone.
var forHop = [...]string{"Connection", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Keep-Alive", "Te", "Upgrade"}

// forward writes a plain request as its host takes it. The connection serves no other.
func forward(req *http.Request, to io.Writer) error {
	for _, name := range strings.Split(strings.Join(req.Header.Values("Connection"), ","), ",") {
		req.Header.Del(strings.TrimSpace(name))
	}
	for _, name := range forHop {
		req.Header.Del(name)
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = []string{""} // else one of ours is said
	}
	req.Close, req.URL.User = true, nil
	return req.Write(to)
}

// carry passes bytes both ways until both sides have ended, or nothing passed for a
// while. Send writes what comes from the job.
func (p *Proxy) carry(c, there net.Conn, send func(io.Writer) error) {
	idle := time.AfterFunc(idleFor, func() { c.Close(); there.Close() })
	defer idle.Stop()
	counted := func(w io.Writer) io.Writer { return &counter{w, &p.bytes, idle} }
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(counted(c), there)
		closeWrite(c)
	})
	if err := send(counted(there)); err != nil {
		there.Close() // half a request is none
	}
	back.Wait()
}

// counter counts what passes, which also keeps a connection from being idle.
type counter struct {
	to    io.Writer
	bytes *atomic.Uint64
	idle  *time.Timer
}

func (w *counter) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	w.bytes.Add(uint64(n))
	w.idle.Reset(idleFor)
	return n, err
}

// closeWrite tells the other side that no more comes.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	c.Close()
}

// refuse answers with a reason.
func refuse(c net.Conn, code int, why string) {
	_ = c.SetDeadline(time.Now().Add(replyWithin))
	why = "souk: " + why + "\n"
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		code, http.StatusText(code), len(why), why)
	if err == nil {
		closeWrite(c)
		_, _ = io.CopyN(io.Discard, c, MaxHeader) // else what it still says would take the answer away
	}
}
