package bubble

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	libp2pcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/marcopolo/simnet"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/keys"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/cpu"
	fakegpu "github.com/souk-market/souk/gpu/fake"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/payment/chain"
	"github.com/souk-market/souk/payment/chain/mem"
	"github.com/souk-market/souk/proto/souk/api/v1/apiv1connect"
)

// stopWithin is what node.Run promises.
const stopWithin = 3 * time.Second

// daemon is a home with its keys, and the daemon on it while that runs.
type daemon struct {
	name  string
	ip    string
	peer  string // its id
	cfg   node.Config
	chain *mem.Client

	runs *runs // nil: it does not sell

	mu   sync.Mutex // guards api
	api  *api       // nil: it does not run
	stop func() error
}

// api is how a user talks to a running daemon.
type api struct {
	apiv1connect.NodeClient
	apiv1connect.MarketClient
	apiv1connect.JobsClient
	apiv1connect.WalletClient
	apiv1connect.FilesClient
	apiv1connect.LogClient
}

// newDaemon makes a home for the daemon with this number.
func newDaemon(t *testing.T, m *market, number int) *daemon {
	t.Helper()
	home := filepath.Join(m.dir, fmt.Sprintf("home-%d", number))
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	_, public, err := libp2pcrypto.KeyPairFromStdKey(&k.Identity)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{name: fmt.Sprintf("daemon %d", number), peer: id.String(),
		ip: simnet.IntToPublicIPv4(number<<8 + 9).String()} // each in a network of its own
	d.chain = m.chain.Client(mem.ClientConfig{Wallet: k.Wallet, Authorizer: k.Voucher, Poll: time.Second})
	d.cfg = node.Config{Home: home, Identity: k.Identity, Wallet: k.Wallet, VoucherKey: k.Voucher,
		Listen: []string{"/ip4/" + d.ip + "/udp/4001/quic-v1"}, Contracts: chain.DevnetContracts(), Chain: d.chain,
		Probes: []gpu.Probe{cpu.Probe{Hostname: d.name, Cores: 8}}, Log: slog.New(m.warnings.of(d.name))}
	m.daemons = append(m.daemons, d)
	return d
}

// sell makes the daemon a provider of gpus devices.
func (d *daemon) sell(t *testing.T, gpus int, price souk.Atoms, region string) {
	t.Helper()
	probe := fakegpu.Probe{Name: d.ip, Model: "NVIDIA L4", Count: gpus, MemoryBytes: 24 << 30, ComputeCap: 89}
	d.runs = newRuns(t, gpus, price)
	d.cfg.Provide, d.cfg.Region = true, region
	d.cfg.Probes = append(d.cfg.Probes, probe)
	d.cfg.Prices = map[string]souk.Atoms{gpu.Class(probe.Model): price}
	d.cfg.Runners = []runner.Runner{d.runs}
}

// start runs the daemon on its home.
func (d *daemon) start(t *testing.T, m *market) {
	t.Helper()
	listener := newPipeListener()
	d.cfg.Transport, d.cfg.Listener, d.cfg.Bootstrap = transport(m.network), listener, m.bootstrap(d)
	n, err := node.New(d.cfg)
	if err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	pipes := &http.Transport{DialContext: listener.dial}
	client := &http.Client{Transport: pipes}
	const url = "http://daemon"
	d.setAPI(&api{apiv1connect.NewNodeClient(client, url), apiv1connect.NewMarketClient(client, url), apiv1connect.NewJobsClient(client, url),
		apiv1connect.NewWalletClient(client, url), apiv1connect.NewFilesClient(client, url), apiv1connect.NewLogClient(client, url)})
	d.stop = func() error {
		d.setAPI(nil)
		began := time.Now()
		cancel()
		err := <-done
		pipes.CloseIdleConnections()
		if took := time.Since(began); err == nil && took > stopWithin {
			err = fmt.Errorf("%s took %v to stop", d.name, took)
		}
		return err
	}
}

func (d *daemon) setAPI(a *api) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.api = a
}

// up is the daemon's API once it runs.
func (d *daemon) up() *api {
	for {
		d.mu.Lock()
		a := d.api
		d.mu.Unlock()
		if a != nil {
			return a
		}
		time.Sleep(time.Second)
	}
}

// restart stops the daemon for a while.
func (d *daemon) restart(t *testing.T, m *market, down time.Duration) {
	t.Helper()
	if err := d.stop(); err != nil {
		t.Errorf("%s: %v", d.name, err)
	}
	time.Sleep(down)
	d.start(t, m)
	m.restarts++
}
