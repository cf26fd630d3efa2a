// Package browser opens the page of a souk daemon in a real browser.
//
// It needs Chromium and Node.js, which make test installs; where one is missing
// the test fails and says how to get it.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/integration/daemontest"
	"github.com/souk-market/souk/integration/npm"
)

// within bounds the browser's part, which takes a few seconds.
const within = 2 * time.Minute

// config is what page.mjs is told.
type config struct {
	Page     string   `json:"page"`     // the address that souk dashboard prints
	Provider string   `json:"provider"` // the peer id in the one offer there is
	Daemon   int      `json:"daemon"`   // the process to end last
	Submit   []string `json:"submit"`   // the command that starts the job and prints its id
	Foreign  string   `json:"foreign"`  // a page of another origin
	Chromium string   `json:"chromium"` // the program
	Profile  string   `json:"profile"`  // an empty folder
}

// TestPage runs a seller and a buyer, opens the buyer's page as its owner, as a
// stranger and as a foreign page would, and runs a job while they look.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("short: starts two daemons and a browser")
	}
	daemontest.ReadTree(t)
	chromium := need(t, "chromium")
	node := need(t, "node")
	if err := npm.Install(t.Context(), "."); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()

	bin := t.TempDir()
	souk, chatter := filepath.Join(bin, "souk"), filepath.Join(bin, "chatter.wasm")
	if err := errors.Join(process.Build(ctx, souk, "../../cmd/souk"), process.BuildModule(ctx, chatter, "./testdata/chatter")); err != nil {
		t.Fatal(err)
	}
	seller, buyer := trade(ctx, t, souk)
	page, err := daemon.Page(buyer.Home, buyer.Status.Api)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, page)

	foreign := httptest.NewServer(http.NotFoundHandler())
	defer foreign.Close()
	told, err := json.Marshal(config{
		Page: page, Provider: seller.Status.Peer, Daemon: buyer.PID(), Foreign: foreign.URL, Chromium: chromium, Profile: t.TempDir(),
		Submit: []string{souk, "--home", buyer.Home, "run", "-y", "--detach", "--max-price", "0.6", "--pay-every", "1s", chatter},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, node, "page.mjs", string(told))
	alive, err := cmd.StdinPipe() // when it ends, and be it by our own death, the script ends the browser
	if err != nil {
		t.Fatal(err)
	}
	cmd.Cancel, cmd.WaitDelay = alive.Close, 10*time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node page.mjs: %v\n%s", err, out)
	}
}

// need finds a program.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: make test installs it, or: apt-get install --no-install-recommends chromium nodejs npm", err)
	}
	return path
}

// trade starts a seller with a test chain and a buyer with test tokens, each a
// process of its own, and waits until the buyer has seen the offer.
func trade(ctx context.Context, t *testing.T, souk string) (seller, buyer *process.Daemon) {
	t.Helper()
	stage, err := process.NewStage(souk, "", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.Close(); err != nil {
			t.Error(err)
		}
	})
	start := func(name string, args ...string) *process.Daemon {
		d, err := stage.Start(ctx, name, args...)
		if err == nil {
			err = process.Ready(ctx, d)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	rpc, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	seller = start("seller", "--provide", "--price", "CPU=0.36", "--devnet", "--devnet-listen", rpc)
	peer, err := seller.Address()
	if err != nil {
		t.Fatal(err)
	}
	buyer = start("buyer", "--bootstrap", peer, "--chain", "http://"+rpc)
	if err := process.Fund(ctx, seller.Client, buyer.Client); err != nil {
		t.Fatal(err)
	}
	if err := process.Offered(ctx, buyer.Client, 1); err != nil {
		t.Fatal(err)
	}
	return seller, buyer
}

// refuses asks the port as other programs of this machine can, with any header.
func refuses(t *testing.T, page string) {
	t.Helper()
	origin, token, _ := strings.Cut(page, "/#token=")
	_, port, _ := strings.Cut(strings.TrimPrefix(origin, "http://"), ":")
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	with := func(h http.Header, name, value string) http.Header {
		h = h.Clone()
		h.Set(name, value)
		return h
	}
	for _, tt := range []struct {
		name, path, host string
		header           http.Header
		want             int
	}{
		{"with the token", "/souk.api.v1.Jobs/List", "", bearer, http.StatusOK},
		{"by another name of the loopback", "/souk.api.v1.Jobs/List", "localhost:" + port, bearer, http.StatusOK},
		{"metrics, foreign origin", "/metrics", "", with(http.Header{}, "Origin", "https://example.org"), http.StatusForbidden},
		{"without the token", "/souk.api.v1.Jobs/List", "", http.Header{}, http.StatusUnauthorized},
		{"without the token, money", "/souk.api.v1.Wallet/Balance", "", http.Header{}, http.StatusUnauthorized},
		{"with another token", "/souk.api.v1.Jobs/List", "", with(bearer, "Authorization", "Bearer "+strings.Repeat("0", 64)), http.StatusUnauthorized},
		{"foreign origin", "/souk.api.v1.Jobs/List", "", with(bearer, "Origin", "https://example.org"), http.StatusForbidden},
		{"another port's origin", "/souk.api.v1.Jobs/List", "", with(bearer, "Origin", "http://127.0.0.1:1"), http.StatusForbidden},
		{"origin of a sandboxed page", "/souk.api.v1.Jobs/List", "", with(bearer, "Origin", "null"), http.StatusForbidden},
		{"rebound name", "/souk.api.v1.Jobs/List", "example.org:" + port, bearer, http.StatusForbidden},
		{"rebound name, open part", "/v1/events", "example.org:" + port, http.Header{}, http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, origin+tt.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = with(tt.header, "Content-Type", "application/json")
			req.Host = tt.host
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10)); err != nil || res.StatusCode != tt.want {
				t.Errorf("%s %s, %v; want %d", res.Status, body, err, tt.want)
			}
		})
	}
}
