package crash

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/integration/daemontest"
	"github.com/souk-market/souk/payment/chain"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
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
	chain, client *member
	providers     []*member     // the first is the cheapest: it gets the job
	onChain       *chain.Client // reads the chain itself, not what a daemon says of it

	wasm, input string // content ids in the client's store
	log         string // what the job prints
	result      []byte // what it writes
}

func (m *market) all() []*member {
	return append([]*member{m.chain, m.client}, m.providers...)
}

// built is what all markets of a test share.
type built struct{ souk, wasm string }

func build(t *testing.T) built {
	t.Helper()
	dir := t.TempDir()
	b := built{filepath.Join(dir, "souk"), filepath.Join(dir, "steps.wasm")}
	if err := errors.Join(process.Build(t.Context(), b.souk, "../../cmd/souk", "-tags", "crashpoints"),
		process.BuildModule(t.Context(), b.wasm, "./testdata/steps")); err != nil {
		t.Fatal(err)
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
	rpc := daemontest.FreePort(t)
	m.chain = newMember(t, m.souk, dir, "chain", append(listen(t), "--devnet", "--devnet-listen", rpc)...)
	m.chain.up(t)
	m.chain.ready(t)
	join := func(name string, args ...string) *member {
		w := newChainProxy(t, rpc)
		p := newMember(t, m.souk, dir, name, append(append(listen(t), "--bootstrap", m.chain.address, "--chain", "http://"+w.addr), args...)...)
		p.proxy = w
		p.up(t)
		return p
	}
	m.client = join("client")
	for i, price := range []string{"CPU=3.6", "CPU=3.7"} {
		m.providers = append(m.providers, join(fmt.Sprintf("provider-%d", i+1), "--provide", "--price", price))
	}
	var wallets []*daemon.Client
	for _, p := range append(m.providers, m.client) {
		p.ready(t)
		wallets = append(wallets, p.Client)
	}
	if err := process.Fund(t.Context(), wallets...); err != nil {
		t.Fatal(err)
	}
	if m.onChain, err = chain.New(chain.Config{URLs: []string{"http://" + rpc}, ChainID: chain.DevnetChainID, Contracts: chain.DevnetContracts()}); err != nil {
		t.Fatal(err)
	}
	m.stock(t, b.wasm)
	m.free(t)
	m.sound = true
	return m
}

// listen gives a daemon a port that it has in each of its lives.
func listen(t *testing.T) []string {
	t.Helper()
	_, port, _ := strings.Cut(daemontest.FreePort(t), ":")
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
	m.wasm, m.input = daemontest.Add(t, m.client.Client, wasm, name)
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
	j := daemontest.Job(t, fmt.Appendf(nil, jobText, steps, hashes, bulk), m.dir)
	j.Wasm, j.Input = m.wasm, m.input
	j.Price.PayEveryMs = 500 // the least that providers take: many receipts in a short job
	return j
}

// provider is the daemon with a peer id.
func (m *market) provider(peer string) *member {
	for _, p := range m.providers {
		if p.peer == peer {
			return p
		}
	}
	return nil
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
				t.Logf("the end of the log of %s:\n%s", p.Name, p.LogEnd(60))
			}
		}
	}
	for _, p := range m.all() {
		if p == nil {
			continue
		}
		if err := p.Stop(); err != nil {
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
