package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/fake"
	role "github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network/networktest"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/chaintest"
	"github.com/souk-market/souk/payment/chain/devnet"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// guests are the jobs that these tests run: goroutines in a box like a module's.
var guests = map[string]fake.Guest{
	"train": func(p *fake.Process) int {
		in, err := fs.ReadFile(p.In, "data.txt")
		if err != nil {
			fmt.Fprintln(p.Stderr, err)
			return 2
		}
		for epoch := range 3 {
			fmt.Fprintf(p.Stdout, "epoch %d\n", epoch)
			p.Work(700 * time.Millisecond)
		}
		if err := p.WriteFile("model.bin", append([]byte("trained on "), in...)); err != nil {
			return 3
		}
		return 0
	},
	"short": func(p *fake.Process) int {
		p.Work(200 * time.Millisecond)
		if err := p.WriteFile("model.bin", []byte("a model")); err != nil {
			return 3
		}
		return 0
	},
	"brief": func(p *fake.Process) int {
		fmt.Fprintln(p.Stdout, "a line")
		p.Work(600 * time.Millisecond)
		if err := p.WriteFile("model.bin", []byte("a model")); err != nil {
			return 3
		}
		return 0
	},
	"long": func(p *fake.Process) int {
		for epoch := range 10 {
			fmt.Fprintf(p.Stdout, "epoch %d\n", epoch)
			p.Work(400 * time.Millisecond)
		}
		if err := p.WriteFile("model.bin", []byte("a model")); err != nil {
			return 3
		}
		return 0
	},
	"chatter": func(p *fake.Process) int {
		line := []byte(strings.Repeat("x", 64<<10-1) + "\n")
		for {
			p.Stdout.Write(line)
			p.Work(5 * time.Millisecond)
		}
	},
	"forever": func(p *fake.Process) int { p.Loop(); return 0 },
}

// longLog is what the guest "long" prints.
const longLog = "epoch 0\nepoch 1\nepoch 2\nepoch 3\nepoch 4\nepoch 5\nepoch 6\nepoch 7\nepoch 8\nepoch 9\n"

// testConfig is a node with keys and a home of its own, on loopback.
func testConfig(t *testing.T) Config {
	t.Helper()
	_, id, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := fake.New(fake.Config{Guests: guests, Kind: marketv1.Runner_RUNNER_WASM})
	if err != nil {
		t.Fatal(err)
	}
	return Config{Home: t.TempDir(), Identity: id, Wallet: chaintest.NewKey(t), VoucherKey: chaintest.NewKey(t), API: "127.0.0.1:0",
		Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}, Probes: []gpu.Probe{cpu.Probe{}}, Runners: []runner.Runner{r},
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))}
}

// startDaemon runs a node until the test ends and returns it with its stop.
func startDaemon(t *testing.T, change func(*Config)) (*Node, func()) {
	t.Helper()
	cfg := testConfig(t)
	change(&cfg)
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n, runNode(t, n)
}

// runNode runs a node until the test ends, or until stop is called.
func runNode(t *testing.T, n *Node) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("node ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func address(n *Node) string {
	return n.host.Addrs()[0].String() + "/p2p/" + n.host.ID().String()
}

// testJob is a job whose program and inputs the client has.
func testJob(t *testing.T, n *Node, guest string) *jobv1.Job {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"program": guest, "data.txt": "some data"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	a := calls(n).files
	program, err := a.Add(ctx, &apiv1.AddRequest{Path: filepath.Join(dir, "program")})
	if err != nil {
		t.Fatal(err)
	}
	in, err := a.Add(ctx, &apiv1.AddRequest{Entries: []*apiv1.AddEntry{{From: filepath.Join(dir, "data.txt"), Name: "data.txt"}}})
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return &jobv1.Job{Nonce: nonce, Name: guest, Wasm: program.Cid, Input: in.Cid, Outputs: []*jobv1.Output{{From: "/out"}},
		Resources: &marketv1.Resources{CpuMilli: 500, MemoryBytes: 64e6, DiskBytes: 10e6, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM},
			MinEvidence: marketv1.Evidence_EVIDENCE_NONE},
		Price:  &jobv1.Price{MaxAtomsPerHour: 10 * uint64(souk.AtomsPerToken), MaxTotalAtoms: 5 * uint64(souk.AtomsPerToken), PayEveryMs: 500},
		Limits: &jobv1.Limits{StartWithinMs: 60_000, MaxDurationMs: 60_000, HoldPausedMs: 5_000}}
}

// serveChain runs a devnet until the test ends, one that waits for nothing.
func serveChain(t *testing.T) string {
	t.Helper()
	return serveChainLike(t, true)
}

func serveChainLike(t *testing.T, eager bool) string {
	t.Helper()
	d, _ := chaintest.RunDevnet(t, devnet.Config{Eager: eager})
	return d.URL()
}

// twoNodes is a provider and a client on one chain, with tokens.
func twoNodes(t *testing.T, url string) (provider, client *Node) {
	t.Helper()
	provider, _ = startDaemon(t, func(c *Config) {
		c.ChainURLs, c.ChainID, c.Provide = []string{url}, chain.DevnetChainID, true
		c.Prices = map[string]souk.Atoms{"CPU": 2 * souk.AtomsPerToken}
	})
	client, _ = startDaemon(t, func(c *Config) {
		c.ChainURLs, c.ChainID, c.Bootstrap = []string{url}, chain.DevnetChainID, []string{address(provider)}
	})
	for _, n := range []*Node{provider, client} {
		if !fill(n) {
			t.Fatal("the faucet gave nothing")
		}
	}
	networktest.Eventually(t, "the offer", func() bool { return client.book.Len() == 1 })
	return provider, client
}

// fill takes tokens from the faucet.
func fill(n *Node) bool {
	_, err := calls(n).wallet.Faucet(context.Background(), &apiv1.FaucetRequest{})
	return err == nil
}

// Submit starts a job at a node.
func submit(t *testing.T, n *Node, msg *jobv1.Job) *role.Job {
	t.Helper()
	id, err := calls(n).jobs.Submit(context.Background(), &apiv1.SubmitRequest{Job: msg})
	if err != nil {
		t.Fatal(err)
	}
	j, err := n.client.Find(id.Id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// finished waits for a job's end.
func finished(t *testing.T, j *role.Job) *apiv1.JobSummary {
	t.Helper()
	networktest.Eventually(t, "the job's end", func() bool { rec, _ := j.Watch(); return !rec.Ended.IsZero() })
	return j.Summary()
}

func TestPath(t *testing.T) {
	ctx := t.Context()
	provider, client := twoNodes(t, serveChain(t))
	s := finished(t, submit(t, client, testJob(t, client, "train")))
	if s.State != "done" || s.ExitCode != 0 || s.Receipts < 4 || s.PaidAtoms == 0 || s.Outputs["out"] == "" {
		t.Fatalf("job ended as %v", s)
	}
	peer := provider.host.ID().String()
	networktest.Eventually(t, "the provider's last voucher", func() bool {
		rec, ok := provider.channels.With(client.host.ID().String(), false)
		return ok && !rec.Live() && rec.Due() == souk.Atoms(s.PaidAtoms)
	})
	if _, err := calls(client).wallet.Refund(ctx, &apiv1.RefundRequest{Peer: peer}); err != nil {
		t.Fatal(err)
	}
	rec, _ := client.channels.With(peer, true)
	if rec.Claimed != souk.Atoms(s.PaidAtoms) || rec.Balance != rec.Claimed {
		t.Errorf("claimed %s and balance %s after a refund, paid %s", rec.Claimed, rec.Balance, souk.Atoms(s.PaidAtoms))
	}
	for _, n := range []*Node{provider, client} {
		checkBooks(t, n)
		if n.tree.Size() != uint64(s.Receipts) {
			t.Errorf("log holds %d of %d receipts", n.tree.Size(), s.Receipts)
		}
	}
	if _, err := calls(client).log.Anchor(ctx, &apiv1.AnchorRequest{}); err != nil {
		t.Error(err)
	}
}

// checkBooks holds a node's ledger against itself and against the chain.
func checkBooks(t *testing.T, n *Node) {
	t.Helper()
	if err := n.keeper.Reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.ledger.Verify(); err != nil {
		t.Error(err)
	}
	have, err := n.chain.TokenBalance(t.Context(), n.chain.Address())
	if err != nil || have != n.ledger.Balance(ledger.Wallet) {
		t.Errorf("wallet holds %s on chain, %s in the ledger, %v", have, n.ledger.Balance(ledger.Wallet), err)
	}
}

// services are clients of a node's API, with full rights.
type services struct {
	jobs   apiv1connect.JobsClient
	wallet apiv1connect.WalletClient
	files  apiv1connect.FilesClient
	log    apiv1connect.LogClient
}

// calls asks a node's API as its owner does, without a socket.
func calls(n *Node) services {
	const url = "http://souk"
	c := &http.Client{Transport: inProcess{n.api.Services()}}
	return services{apiv1connect.NewJobsClient(c, url), apiv1connect.NewWalletClient(c, url),
		apiv1connect.NewFilesClient(c, url), apiv1connect.NewLogClient(c, url)}
}

// inProcess hands requests to a handler.
type inProcess struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	p.handler.ServeHTTP(w, r)
	return w.Result(), nil
}
