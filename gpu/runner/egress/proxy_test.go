package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// loopback is the seam by which tests reach their own servers.
func loopback(a netip.Addr) bool { return a.IsLoopback() }

// serving is a proxy that runs until the test ends, and where it listens.
func serving(t *testing.T, c Config, hosts ...string) (p *Proxy, at string) {
	t.Helper()
	var err error
	if c.Rules, err = Parse(hosts); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = New(c)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); p.Run(ctx, l) }()
	t.Cleanup(func() { cancel(); <-over })
	return p, l.Addr().String()
}

// through is a client of a proxy that believes a server's certificate.
func through(at string, s *httptest.Server) *http.Client {
	c := s.Client()
	carrier := c.Transport.(*http.Transport).Clone()
	carrier.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: at})
	carrier.DisableKeepAlives = true
	return &http.Client{Transport: carrier}
}

// TestProxy reaches a declared host, plainly and through CONNECT, with bodies both ways
// that are counted; and no other.
func TestProxy(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" || r.Header.Get("X-Hop") != "" || r.URL.User != nil {
			http.Error(w, "it was told what is the proxy's", http.StatusTeapot)
			return
		}
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, text)
	})
	plain, secure := httptest.NewServer(echo), httptest.NewTLSServer(echo)
	defer plain.Close()
	defer secure.Close()
	names := func(_ context.Context, name string) ([]netip.Addr, error) {
		if name != "example.com." {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	_, http1, _ := strings.Cut(plain.URL, "127.0.0.1:")
	_, https1, _ := strings.Cut(secure.URL, "127.0.0.1:")
	p, at := serving(t, Config{Resolve: names, Allow: loopback}, "example.com:"+http1, "example.com:"+https1, "missing.example.com:80")
	body := strings.Repeat("x", 1<<20)
	for _, u := range []string{"http://user:pass@example.com:" + http1, "https://example.com:" + https1} {
		before := p.Bytes()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Proxy-Authorization", "secret")
		req.Header.Set("Connection", "X-Hop")
		req.Header.Set("X-Hop", "1")
		if strings.HasPrefix(u, "https") {
			req.Header = http.Header{}
		}
		res, err := through(at, secure).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		_, host, _ := strings.Cut(u, "example.com")
		if want := "POST example.com" + host + " " + body; err != nil || string(text) != want {
			t.Errorf("%s: %d, %.60s, %v", u, res.StatusCode, text, err)
		}
		if n := p.Bytes() - before; n < 2<<20 || n > 2<<20+64<<10 {
			t.Errorf("%s: %d bytes were counted", u, n)
		}
	}
	p, at = serving(t, Config{Resolve: names, Allow: loopback}, "example.com:"+http1, "missing.example.com:80")
	for u, want := range map[string]int{"http://127.0.0.1:" + http1: 403, "http://example.com:81": 403, "http://missing.example.com": 502, "http://other.example.com": 403} {
		res, err := through(at, secure).Get(u)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want || !strings.HasPrefix(string(text), "souk: ") {
			t.Errorf("%s: %d %s", u, res.StatusCode, text)
		}
	}
	if _, err := through(at, secure).Get("https://127.0.0.1:" + https1); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("a tunnel to an address: %v", err)
	}
	if n := p.Bytes(); n != 0 {
		t.Errorf("%d bytes of what was refused are counted", n)
	}
}

// TestRebinding has a declared name whose addresses are its owner's choice, and other at
// each question: none is dialled but those that were checked.
func TestRebinding(t *testing.T) {
	public, own := netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("8.8.4.4")
	var mu sync.Mutex
	var answers [][]netip.Addr
	var dialled []netip.AddrPort
	asked := 0
	c := Config{
		Own: func() []netip.Addr { return []netip.Addr{own} },
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return answers[min(asked, len(answers))-1], nil
		},
		Dial: func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, a)
			return nil, errors.New("nobody there")
		},
	}
	_, at := serving(t, c, "rebind.example.com:80", "127.0.0.1:80", "169.254.169.254:80", "8.8.4.4:80")
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, s := range texts {
			all = append(all, netip.MustParseAddr(s))
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		host    string
		answers [][]netip.Addr
		code    int
		dials   int
	}{
		{"public, then loopback", "rebind.example.com", [][]netip.Addr{addrs("9.9.9.9"), addrs("127.0.0.1")}, 502, 1},
		{"loopback, then public", "rebind.example.com", [][]netip.Addr{addrs("127.0.0.1"), addrs("9.9.9.9")}, 403, 0},
		{"both at once", "rebind.example.com", [][]netip.Addr{addrs("10.0.0.1", "::ffff:127.0.0.1", "9.9.9.9", "fe80::1%eth0")}, 502, 1},
		{"this node by its public address", "rebind.example.com", [][]netip.Addr{addrs("::ffff:8.8.4.4")}, 403, 0},
		{"many", "rebind.example.com", [][]netip.Addr{slices.Repeat(addrs("9.9.9.9"), 100)}, 502, maxDialled},
		{"none", "rebind.example.com", [][]netip.Addr{nil}, 403, 0},
		{"loopback as declared", "127.0.0.1", nil, 403, 0},
		{"metadata as declared", "169.254.169.254", nil, 403, 0},
		{"itself as declared", "8.8.4.4", nil, 403, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mu.Lock()
			answers, dialled, asked = tt.answers, nil, 0
			mu.Unlock()
			code, text := say(t, at, "GET http://"+tt.host+"/ HTTP/1.1\r\nHost: other.example.com\r\n\r\n")
			mu.Lock()
			defer mu.Unlock()
			if code != tt.code || asked > 1 || len(dialled) != tt.dials || slices.ContainsFunc(dialled, func(a netip.AddrPort) bool { return a.Addr() != public }) {
				t.Errorf("%d %s: asked %d times, dialled %v", code, text, asked, dialled)
			}
		})
	}
}

// say sends bytes to a proxy, and returns what comes back.
func say(t *testing.T, at, text string) (code int, body string) {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("after %.40q: %v", text, err)
	}
	defer res.Body.Close()
	all, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(all)
}

// TestOddRequests says what is no request to a proxy.
func TestOddRequests(t *testing.T) {
	dial := func(context.Context, netip.AddrPort) (net.Conn, error) {
		t.Error("it dialled")
		return nil, errors.New("no")
	}
	_, at := serving(t, Config{Dial: dial}, "example.com:80", "1.1.1.1:80")
	for text, want := range map[string]int{
		"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n":                                400,
		"GET https://example.com/ HTTP/1.1\r\n\r\n":                                  400,
		"GET ftp://example.com/ HTTP/1.1\r\n\r\n":                                    400,
		"GET http:/// HTTP/1.1\r\nHost: example.com\r\n\r\n":                         400,
		"GET http://example.com:99999/ HTTP/1.1\r\n\r\n":                             400,
		"GET http://[::1%25lo]/ HTTP/1.1\r\n\r\n":                                    400,
		"GET http://0x1.1.1.1/ HTTP/1.1\r\n\r\n":                                     400,
		"CONNECT example.com HTTP/1.1\r\n\r\n":                                       400,
		"CONNECT example.com:443 HTTP/1.1\r\n\r\n":                                   403,
		"CONNECT /path HTTP/1.1\r\n\r\n":                                             400,
		"SSH-2.0-x\r\n\r\n":                                                          400,
		"GET http://example.com/ HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 4000):    400,
		"GET http://example.com/" + strings.Repeat("a", MaxHeader) + " HTTP/1.1\r\n": 400,
	} {
		if code, body := say(t, at, text); code != want {
			t.Errorf("%.60q: %d %s", text, code, body)
		}
	}
}

// TestEnd ends a proxy with a connection that is carried and one that says nothing.
func TestEnd(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	_, port, _ := net.SplitHostPort(far.Addr().String())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Parse([]string{"127.0.0.1:" + port})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); New(Config{Rules: rules, Allow: loopback}).Run(ctx, l) }()
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "CONNECT 127.0.0.1:"+port+" HTTP/1.1\r\n\r\nhello"); err != nil {
		t.Fatal(err)
	}
	there, err := far.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(there, got); err != nil || !bytes.Equal(got, []byte("hello")) {
		t.Fatalf("%q, %v", got, err)
	}
	cancel()
	select {
	case <-over:
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
	if _, err := there.Read(got); err == nil {
		t.Error("the connection goes on")
	}
}

// FuzzServe gives the proxy what a job may say; it answers, and dials only what was declared.
func FuzzServe(f *testing.F) {
	for _, seed := range []string{"GET http://example.com/ HTTP/1.1\r\n\r\n", "CONNECT example.com:80 HTTP/1.1\r\n\r\nabc", "POST http://example.com/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "CONNECT [::1]:80 HTTP/1.1\r\n\r\n"} {
		f.Add([]byte(seed))
	}
	rules, err := Parse([]string{"example.com:80"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		c := Config{Rules: rules, Resolve: func(_ context.Context, name string) ([]netip.Addr, error) {
			if name != "example.com." {
				t.Errorf("it asked for %q", name)
			}
			return []netip.Addr{netip.MustParseAddr("9.9.9.9")}, nil
		}}
		c.Dial = func(_ context.Context, a netip.AddrPort) (net.Conn, error) {
			if a.String() != "9.9.9.9:80" {
				t.Errorf("it dialled %s", a)
			}
			near, far := net.Pipe()
			go func() { defer far.Close(); _, _ = far.Read(make([]byte, 1<<12)) }()
			return near, nil
		}
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); defer near.Close(); New(c).serve(t.Context(), near) }()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		_, _ = far.Write(said)
		far.Close()
		<-done
	})
}

// shortOf is a listener of a process that has no descriptor left for a moment.
type shortOf struct {
	net.Listener
	fails int
}

func (l *shortOf) Accept() (net.Conn, error) {
	if l.fails--; l.fails >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestAcceptAgain has connections fail to come more often than there is room for at
// once: the job's proxy goes on.
func TestAcceptAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &shortOf{pipes{make(chan net.Conn), make(chan struct{})}, MaxConns + 1}
		over := make(chan struct{})
		go func() { defer close(over); New(Config{}).Run(ctx, l) }()
		ours, theirs := net.Pipe()
		l.Listener.(pipes).next <- theirs
		go io.WriteString(ours, "GET / HTTP/1.1\r\n\r\n")
		if line, err := bufio.NewReader(ours).ReadString('\n'); err != nil || !strings.Contains(line, "400") {
			t.Errorf("%q, %v", line, err)
		}
		ours.Close()
		cancel()
		<-over
	})
}

// pipes is a listener of connections in memory.
type pipes struct {
	next   chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.next:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// TestSilentAddress has a name of which one address answers nothing, as one of IPv6 does
// where that is broken: the other is reached in time.
func TestSilentAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := netip.MustParseAddr("9.9.9.9")
		rules, err := Parse([]string{"two.example.org:443"})
		if err != nil {
			t.Fatal(err)
		}
		p := New(Config{Rules: rules,
			Resolve: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("2606:4700::1"), good}, nil
			},
			Dial: func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
				if a.Addr() != good {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				c, _ := net.Pipe()
				return c, nil
			}})
		began := time.Now()
		c, err := p.dial(t.Context(), target{name: "two.example.org", port: 443})
		if err != nil || time.Since(began) != dialWithin/2 {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		c.Close()
	})
}
