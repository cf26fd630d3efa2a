package crash

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/jobfile"
	"github.com/souk-market/souk/payment/chain"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	"golang.org/x/sync/errgroup"
)

// jobText is the job of each round. What it may cost is far below what the faucet
// gave, and it may be tried twice again.
const jobText = `kind: job
name: steps
wasm: ./steps.wasm
run: ["%d", "%d", "%d"]
cpu: 1
memory: 256MB
disk: 100MB
data:
  in:  [{from: ./salt, to: /in/salt}]
  out: [{from: /out/result, to: ./result}]
price: {max_per_hour: 4, pay_every: 1s}
limits: {start_within: 90s, max_duration: 60s}
retry: {on: [provider-lost], max: 2}
`

// The work: three receipts on one core, and files whose way takes many blocks.
const (
	steps  = 20
	hashes = 32_000
	bulk   = 2 << 20
	salted = 2 << 20
)

// market is a chain, two providers and a client, each a process of its own.
type market struct {
	dir, souk     string
	closed        bool
	sound         bool // it was opened, and no round in it failed: its logs tell nobody anything
	chain, client *process
	providers     []*process    // the first is the cheapest: it gets the job
	look          *chain.Client // reads the chain itself, not what a daemon says of it

	wasm, input string // content ids in the client's store
	log         string // what the job prints
	result      []byte // what it writes
}

func (m *market) all() []*process {
	return append([]*process{m.chain, m.client}, m.providers...)
}

// built is what all markets of a test share.
type built struct{ souk, wasm string }

func build(t *testing.T) built {
	t.Helper()
	dir := t.TempDir()
	b := built{filepath.Join(dir, "souk"), filepath.Join(dir, "steps.wasm")}
	for _, c := range []struct {
		program, source string
		tags            string
		env             []string
	}{
		{b.souk, "../../cmd/souk", "crashpoints", nil},
		{b.wasm, "./testdata/steps", "", []string{"GOOS=wasip1", "GOARCH=wasm"}},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", c.tags, "-o", c.program, c.source)
		cmd.Env = append(os.Environ(), c.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", c.source, err, out)
		}
	}
	return b
}

// openMarket starts the daemons, fills their wallets, and waits until the client
// has both offers. They end with t.
func openMarket(t *testing.T, b built) *market {
	t.Helper()
	dir, err := os.MkdirTemp("", "souk-crash-") // t.TempDir is too long a path for sockets
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir) // as the kernel will name what runs
	}
	if err != nil {
		t.Fatal(err)
	}
	// A name of its own for the program: markets are side by side, and each tells its
	// processes by it.
	m := &market{dir: dir, souk: filepath.Join(dir, "souk")}
	t.Cleanup(func() { m.close(t) })
	if err := os.Link(b.souk, m.souk); err != nil {
		t.Fatal(err)
	}
	rpc := freePort(t)
	m.chain = initHome(t, m.souk, dir, "chain")
	m.chain.args = append(listen(t), "--devnet", "--devnet-listen", rpc)
	m.chain.up(t)
	m.client = initHome(t, m.souk, dir, "client")
	m.chain.ready(t)
	join := func(p *process, args ...string) {
		p.wire = newWire(t, rpc)
		p.args = append(append(listen(t), "--bootstrap", m.chain.address, "--chain", "http://"+p.wire.addr), args...)
	}
	join(m.client)
	for i, price := range []string{"CPU=3.6", "CPU=3.7"} {
		p := initHome(t, m.souk, dir, fmt.Sprintf("provider-%d", i+1))
		join(p, "--provide", "--price", price)
		m.providers = append(m.providers, p)
	}
	for _, p := range append(m.providers, m.client) {
		p.up(t)
	}
	var g errgroup.Group
	for _, p := range append(m.providers, m.client) {
		p.ready(t)
		g.Go(func() error {
			if _, err := p.Wallet.Faucet(t.Context(), &apiv1.FaucetRequest{}); err != nil {
				return fmt.Errorf("faucet for %s: %w", p.name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if m.look, err = chain.New(chain.Config{URLs: []string{"http://" + rpc}, ChainID: chain.DevnetChainID, Contracts: chain.DevnetContracts()}); err != nil {
		t.Fatal(err)
	}
	m.stock(t, b.wasm)
	m.free(t)
	m.sound = true
	return m
}

// freePort is the address of a port that nobody has now. It lies below those
// that the kernel gives to connections: one of them could take it, or meet
// itself, while its daemon is down.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.IntN(20_000)))
		if err != nil {
			continue // taken
		}
		l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port of loopback is free")
	return ""
}

// listen gives a daemon a port that it has in each of its lives.
func listen(t *testing.T) []string {
	t.Helper()
	_, port, _ := strings.Cut(freePort(t), ":")
	return []string{"--listen", "/ip4/127.0.0.1/tcp/" + port}
}

// stock puts the job's files into the client's store, and works out what the job
// will print and write.
func (m *market) stock(t *testing.T, wasm string) {
	t.Helper()
	salt := make([]byte, salted)
	rand.Read(salt)
	name := filepath.Join(m.dir, "salt")
	if err := os.WriteFile(name, salt, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, put := range []struct {
		req *apiv1.AddRequest
		cid *string
	}{
		{&apiv1.AddRequest{Path: wasm}, &m.wasm},
		{&apiv1.AddRequest{Entries: []*apiv1.AddEntry{{From: name, Name: "salt"}}}, &m.input},
	} {
		res, err := m.client.Files.Add(t.Context(), put.req)
		if err != nil {
			t.Fatalf("add %v: %v", put.req, err)
		}
		*put.cid = res.Cid
	}
	h := sha256.Sum256(salt)
	var log strings.Builder
	for step := range steps {
		for range hashes {
			h = sha256.Sum256(h[:])
		}
		fmt.Fprintf(&log, "step %d of %d: %x\n", step+1, steps, h[:4])
	}
	for len(m.result) < bulk {
		m.result = append(m.result, h[:]...)
		h = sha256.Sum256(h[:])
	}
	m.log = log.String()
}

// job is the round's job as souk run makes it.
func (m *market) job(t *testing.T) *jobv1.Job {
	t.Helper()
	spec, err := jobfile.Parse(fmt.Appendf(nil, jobText, steps, hashes, bulk), "job.yaml", m.dir)
	if err != nil {
		t.Fatal(err)
	}
	var nonce [16]byte
	rand.Read(nonce[:])
	file, err := spec.Build(time.Now(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	file.Job.Wasm, file.Job.Input = m.wasm, m.input
	file.Job.Price.PayEveryMs = 500 // the least that providers take: many receipts in a short job
	return file.Job
}

// provider is the daemon with a peer id.
func (m *market) provider(peer string) *process {
	for _, p := range m.providers {
		if p.peer == peer {
			return p
		}
	}
	return nil
}

// output reads what the job wrote, from the client's store.
func (m *market) output(ctx context.Context, cid string) ([]byte, error) {
	stream, err := m.client.Files.Cat(ctx, &apiv1.CatRequest{Cid: cid})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var b bytes.Buffer
	for stream.Receive() {
		b.Write(stream.Msg().Data)
	}
	return b.Bytes(), stream.Err()
}

// close ends every daemon and removes their homes; once is enough. None of their processes may
// be left, however they were ended before.
func (m *market) close(t *testing.T) {
	if m.closed {
		return
	}
	m.closed = true
	if !m.sound {
		for _, p := range m.all() {
			if p != nil {
				t.Logf("the end of the log of %s:\n%s", p.name, p.lastWords(60))
			}
		}
	}
	for _, p := range m.all() {
		if p == nil {
			continue
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
	left, err := running(m.souk)
	for pid, line := range left {
		t.Errorf("process %s is left: %s", pid, line)
		if n, err := strconv.Atoi(pid); err == nil {
			syscall.Kill(n, syscall.SIGKILL)
		}
	}
	if err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(m.dir); err != nil {
		t.Error(err)
	}
}
