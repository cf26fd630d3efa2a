package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/integration/daemontest"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/chain"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

const jobText = `kind: job
name: steps
wasm: ./steps.wasm
run: ["%d", "40000", "65536"]
cpu: 1
memory: 256MB
disk: 10MB
data:
  in:  [{from: ./salt, to: /in/salt}]
  out: [{from: /out/result, to: ./result}]
price: {max_per_hour: 3.6, pay_every: 1s}
limits: {start_within: 60s, max_duration: 60s}
`

// Steps of work: about a tenth of a second each.
const (
	shortJob = 12
	longJob  = 100
)

// built is the program and a job, in a folder of their own.
type built struct{ souk, wasm string }

const builtEnv = "SOUK_TEST_DISK_BUILT"

// TestMain gives all tests one folder to build into, theirs and those of processes
// that are apart.
func TestMain(m *testing.M) {
	if os.Getenv(builtEnv) != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "souk-built-")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Setenv(builtEnv, dir)) // other users run what is in it
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(t *testing.T) built {
	t.Helper()
	b, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var buildOnce = sync.OnceValues(func() (built, error) {
	dir := os.Getenv(builtEnv)
	b := built{filepath.Join(dir, "souk"), filepath.Join(dir, "steps.wasm")}
	if _, err := os.Stat(b.wasm); err == nil {
		return b, nil // the last that is made
	}
	ctx := context.Background() // no test's: others wait for this
	if err := process.Build(ctx, b.souk, "../../cmd/souk"); err != nil {
		return b, err
	}
	if err := process.BuildModule(ctx, b.wasm, "../crash/testdata/steps"); err != nil {
		return b, err
	}
	return b, nil
})

// market is two daemons: a seller, that serves the chain as well, and a buyer.
type market struct {
	seller, buyer trader
	wasm, input   string // content ids in the buyer's store
}

// openMarket starts both with their homes below dir.
func openMarket(t *testing.T, b built, dir string) *market {
	t.Helper()
	rpc := daemontest.FreePort(t)
	m := &market{seller: newTrader(t, b.souk, filepath.Join(dir, "seller"), "--devnet", "--devnet-listen", rpc, "--provide", "--price", "CPU=3.6")}
	m.seller.up(t)
	address, err := m.seller.Address()
	if err != nil {
		t.Fatal(err)
	}
	m.buyer = newTrader(t, b.souk, filepath.Join(dir, "buyer"), "--bootstrap", address, "--chain", "http://"+rpc)
	m.buyer.up(t)
	if err := process.Fund(t.Context(), m.seller.Client, m.buyer.Client); err != nil {
		t.Fatal(err)
	}
	salt := filepath.Join(t.TempDir(), "salt")
	if err := os.WriteFile(salt, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m.wasm, m.input = daemontest.Add(t, m.buyer.Client, b.wasm, salt)
	return m
}

// offered waits until the buyer sees a free device.
func (m *market) offered(t *testing.T) {
	t.Helper()
	eventually(t, "the offer", func(ctx context.Context) error {
		offers, err := m.buyer.Market.Offers(ctx, &apiv1.OffersRequest{})
		if err == nil && (len(offers.Offers) != 1 || offers.Offers[0].Offer.Free == 0) {
			err = fmt.Errorf("%v", offers.Offers)
		}
		return err
	})
}

// submit starts a job of so many steps.
func (m *market) submit(t *testing.T, steps int) (id string, err error) {
	t.Helper()
	j := daemontest.Job(t, fmt.Appendf(nil, jobText, steps), filepath.Dir(m.buyer.Program))
	j.Wasm, j.Input = m.wasm, m.input
	j.Price.PayEveryMs = 500 // many receipts in a short job
	res, err := m.buyer.Jobs.Submit(t.Context(), &apiv1.SubmitRequest{Job: j})
	return res.GetId(), err
}

// mustSubmit starts a job.
func (m *market) mustSubmit(t *testing.T, steps int) string {
	t.Helper()
	id, err := m.submit(t, steps)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// ended waits for the end of a job.
func (m *market) ended(t *testing.T, id string) (job *apiv1.GetResponse) {
	t.Helper()
	eventually(t, "the end of a job", func(ctx context.Context) (err error) {
		if job, err = m.buyer.Jobs.Get(ctx, &apiv1.GetRequest{Id: id}); err == nil && job.Summary.Ended == "" {
			err = fmt.Errorf("it is %s, %d receipts", job.Summary.State, job.Summary.Receipts)
		}
		return err
	})
	return job
}

// done runs a short job, which must succeed.
func (m *market) done(t *testing.T) {
	t.Helper()
	m.offered(t)
	if s := m.ended(t, m.mustSubmit(t, shortJob)).Summary; s.State != "done" {
		t.Errorf("a job ended %s, %s: %s", s.State, s.Reason, s.Detail)
	}
}

// paid waits until a running job has some receipts.
func (m *market) paid(t *testing.T, id string, receipts uint32) {
	t.Helper()
	eventually(t, "receipts", func(ctx context.Context) error {
		job, err := m.buyer.Jobs.Get(ctx, &apiv1.GetRequest{Id: id})
		if err == nil && job.Summary.Receipts < receipts {
			err = fmt.Errorf("%d receipts, %s %s %s", job.Summary.Receipts, job.Summary.State, job.Summary.Reason, job.Summary.Detail)
		}
		return err
	})
}

// receipts are the finished receipts of a daemon, by digest: it has told its peer
// that it has them.
func (p trader) receipts(ctx context.Context) (map[string]bool, error) {
	all, err := p.Log.Receipts(ctx, &apiv1.ReceiptsRequest{})
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, r := range all.Receipts {
		if len(r.Receipt.ClientSignature) == 0 {
			continue
		}
		body, err := payment.ReceiptFromProto(r.Receipt)
		if err != nil {
			return nil, err
		}
		d := payment.EIP712Domain{ChainID: chain.DevnetChainID, Settlement: chain.DevnetContracts().Settlement}
		digest := body.Digest(d)
		have[digest.String()] = r.Logged
	}
	return have, nil
}

// agree waits until both sides have the same finished receipts, all in their logs,
// and ledgers that balance; nothing of before may be missing.
func (m *market) agree(t *testing.T, before map[string]bool) (now map[string]bool) {
	t.Helper()
	eventually(t, "both sides to agree", func(ctx context.Context) error {
		ours, err := m.buyer.receipts(ctx)
		if err != nil {
			return err
		}
		theirs, err := m.seller.receipts(ctx)
		if err != nil {
			return err
		}
		for digest := range before {
			if _, bought := ours[digest]; !bought {
				return fmt.Errorf("the buyer has lost receipt %.8s", digest)
			}
		}
		if len(ours) != len(theirs) {
			return fmt.Errorf("the buyer has %d receipts, the seller %d", len(ours), len(theirs))
		}
		for digest, logged := range ours {
			if also, sold := theirs[digest]; !sold || !logged || !also {
				return fmt.Errorf("receipt %.8s: the seller has it: %t; in the logs: %t, %t", digest, sold, logged, also)
			}
		}
		now = ours
		return nil
	})
	for _, p := range []trader{m.seller, m.buyer} {
		eventually(t, "balance", func(ctx context.Context) error {
			b, err := p.Wallet.Balance(ctx, &apiv1.BalanceRequest{})
			if err == nil && !b.Balanced {
				t.Errorf("the ledger of %s does not balance", p.Home)
			}
			return err
		})
	}
	return now
}
