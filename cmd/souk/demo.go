package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/demo"
	"github.com/souk-market/souk/cmd/souk/jobfile"
	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/cmd/souk/verify"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

const demoLong = `Shows the whole market on this machine, with nothing configured. It starts a test
chain, three providers with different prices and a client, each a daemon of its own on
loopback; trains a small network on handwritten digits at the provider that wins; pays
for it every five seconds; anchors the receipts, claims the money and returns the rest;
and verifies the proofs as a stranger would. The tokens are worth nothing.

Nothing of it is left afterwards, unless --keep.`

func newDemo(a *app) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "A whole market on this machine: one job found, run, paid and proved",
		Long:    demoLong,
		Example: "  souk demo\n  souk demo --json\n  souk demo --keep",
		Args:    exactly(),
		RunE:    body(func(ctx context.Context, _ []string) error { return a.demo(ctx, keep) }),
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the daemons running, and say how to end them")
	return cmd
}

// demoResult is the object that `souk demo --json` ends with.
type demoResult struct {
	Job       daemon.Result `json:"job"`
	ChainID   uint64        `json:"chain_id"`
	AnchorTx  string        `json:"anchor_tx"`
	ClaimTx   string        `json:"claim_tx"`
	RefundTx  string        `json:"refund_tx"`
	Accuracy  float64       `json:"accuracy"`
	Log       demoLog       `json:"log"`
	Included  bool          `json:"inclusion_verified"`
	Client    bool          `json:"client_ledger_balanced"`
	Provider  bool          `json:"provider_ledger_balanced"`
	Dashboard string        `json:"dashboard"`
}

type demoLog struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
}

// market is the daemons of the demo.
type demoMarket struct {
	chain     *process.Daemon
	providers []*process.Daemon
	client    *process.Daemon
}

func (a *app) demo(ctx context.Context, keep bool) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	stage, err := process.NewStage(self, "", keep, a.log)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	var m demoMarket
	defer func() {
		if keep && err == nil {
			a.say("left running in %s; to end it: kill %s && rm -r %s", stage.Dir, stage.PIDs(), stage.Dir)
			a.say("to look around: SOUK_HOME=%s souk status", m.client.Home)
			return
		}
		err = errors.Join(err, stage.Close())
	}()
	digits, err := demo.FindDigits(ctx, self, stage.Dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if m, err = a.demoStart(ctx, stage); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	client := *a // the commands of the client's owner, on the client's daemon
	client.home, client.daemon = m.client.Home, m.client.Client
	end, err := client.demoJob(ctx, digits, m)
	if err != nil {
		return err
	}
	result, err := client.demoProve(ctx, end, m)
	if err != nil {
		return err
	}
	return client.demoEnd(result, keep)
}

// demoStart starts the daemons and gives them test tokens.
func (a *app) demoStart(ctx context.Context, stage *process.Stage) (m demoMarket, err error) {
	a.say("starting a test chain, three providers and a client, each a process of its own")
	rpc, err := process.FreePort()
	if err != nil {
		return m, err
	}
	if m.chain, err = stage.Start(ctx, "chain", "--devnet", "--devnet-listen", rpc); err != nil {
		return m, err
	}
	if err := process.Ready(ctx, m.chain); err != nil {
		return m, err
	}
	peer, err := m.chain.Address()
	if err != nil {
		return m, err
	}
	join := []string{"--bootstrap", peer, "--chain", "http://" + rpc}
	for i, price := range []string{"0.60", "0.36", "0.48"} {
		d, err := stage.Start(ctx, fmt.Sprintf("provider-%d", i+1), append([]string{"--provide", "--price", "CPU=" + price}, join...)...)
		if err != nil {
			return m, err
		}
		m.providers = append(m.providers, d)
	}
	if m.client, err = stage.Start(ctx, "client", join...); err != nil {
		return m, err
	}
	return m, a.demoMeet(ctx, m)
}

// demoMeet waits until all have test tokens, and the client every offer.
func (a *app) demoMeet(ctx context.Context, m demoMarket) error {
	everyone := append(m.providers, m.client)
	if err := process.Ready(ctx, everyone...); err != nil {
		return err
	}
	var wallets []*daemon.Client
	for _, d := range everyone {
		wallets = append(wallets, d.Client)
	}
	if err := process.Fund(ctx, wallets...); err != nil {
		return err
	}
	if err := process.Offered(ctx, m.client.Client, len(m.providers)); err != nil {
		return err
	}
	for _, d := range m.providers {
		a.say("%s is %s", d.Name, short(d.Status.Peer))
	}
	a.say("client is %s, and has found %d offers", short(m.client.Status.Peer), len(m.providers))
	page, err := daemon.Page(m.client.Home, m.client.Status.Api)
	if err != nil {
		return err
	}
	a.say("watch it at %s", page)
	return nil
}

// demoJob plans, submits and follows the job as `souk run` does.
func (a *app) demoJob(ctx context.Context, digits demo.Digits, m demoMarket) (*apiv1.JobSummary, error) {
	src, err := os.ReadFile(digits.Job)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	spec, err := jobfile.Parse(src, digits.Job, filepath.Dir(digits.Job))
	if err != nil {
		return nil, err
	}
	file, err := spec.Build(a.now(), newNonce())
	if err != nil {
		return nil, err
	}
	file.Wasm, file.SaveTo = digits.Module, make([]string, len(file.SaveTo)) // the results stay in the store
	if err := a.addModule(ctx, file); err != nil {
		return nil, err
	}
	plan, err := a.plan(ctx, file)
	if err != nil {
		return nil, err
	}
	if err := a.decide(ctx, file, plan, true); err != nil {
		return nil, err
	}
	if err := a.addInputs(ctx, file); err != nil {
		return nil, err
	}
	res, err := a.daemon.Jobs.Submit(ctx, &apiv1.SubmitRequest{Job: file.Job})
	if err != nil {
		return nil, err
	}
	end, err := a.watch(ctx, res.Id)
	if err != nil {
		return nil, err
	}
	if err := daemon.FaultOf(end); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return end, nil
}

// demoProve anchors, settles on chain, and verifies what is left to verify.
func (a *app) demoProve(ctx context.Context, end *apiv1.JobSummary, m demoMarket) (demoResult, error) {
	r := demoResult{Job: daemon.ResultOf(end), ChainID: m.chain.Status.ChainId}
	var err error
	if r.Accuracy, err = a.demoAccuracy(ctx, end); err != nil {
		return r, err
	}
	a.say("anchoring the log of receipts")
	anchor, err := a.daemon.Log.Anchor(ctx, &apiv1.AnchorRequest{})
	if err != nil {
		return r, fmt.Errorf("demo: anchor: %w", err)
	}
	r.AnchorTx = anchor.Anchor.GetTx()
	a.say("asking the provider to claim what it earned and return the rest")
	refund, err := a.daemon.Wallet.Refund(ctx, &apiv1.RefundRequest{Peer: end.Provider})
	if err != nil {
		return r, fmt.Errorf("demo: refund: %w", err)
	}
	r.RefundTx, r.ClaimTx = refund.Tx, refund.ClaimTx
	a.say("refunded %s", money(refund.AmountAtoms))
	provider, err := m.provider(end.Provider)
	if err != nil {
		return r, err
	}
	for _, side := range []struct {
		d        *process.Daemon
		balanced *bool
	}{{m.client, &r.Client}, {provider, &r.Provider}} {
		report, err := a.demoVerify(ctx, side.d, end.Job)
		if err != nil {
			return r, err
		}
		if side.d == m.client {
			head := report.Checkpoints[0]
			r.Log = demoLog{head.Origin, head.Size, head.Root.String()}
			if report.Anchored != report.Receipts {
				return r, errors.New("demo: the anchor does not cover the receipts")
			}
		}
		balance, err := side.d.Wallet.Balance(ctx, &apiv1.BalanceRequest{})
		if err != nil {
			return r, fmt.Errorf("demo: balance of %s: %w", side.d.Name, err)
		}
		*side.balanced = balance.Balanced
	}
	r.Included = true
	r.Dashboard, err = daemon.Page(m.client.Home, m.client.Status.Api)
	return r, err
}

func (m demoMarket) provider(peer string) (*process.Daemon, error) {
	for _, d := range m.providers {
		if d.Status.Peer == peer {
			return d, nil
		}
	}
	return nil, fmt.Errorf("demo: %s is none of its providers", peer)
}

// demoVerify exports the receipts of a daemon and verifies them with the code of
// `souk receipt verify`. A provider knows leases, not jobs.
func (a *app) demoVerify(ctx context.Context, d *process.Daemon, job string) (verify.Report, error) {
	res, err := d.Log.Receipts(ctx, &apiv1.ReceiptsRequest{Proofs: true})
	if err != nil {
		return verify.Report{}, fmt.Errorf("demo: receipts of %s: %w", d.Name, err)
	}
	report := verify.Receipts(res.Receipts)
	if len(report.Faults) > 0 || report.Included == 0 || report.Included != report.Receipts {
		return report, fmt.Errorf("demo: the receipts of job %s at %s do not verify: %s", short(job), d.Name, strings.Join(report.Faults, "; "))
	}
	a.say("%s: %s verified, in its log, due %s", d.Name, counted(report.Receipts, "receipt"), report.Due)
	return report, nil
}

// demoAccuracy reads what the job wrote about itself.
func (a *app) demoAccuracy(ctx context.Context, end *apiv1.JobSummary) (float64, error) {
	var text strings.Builder
	if err := a.cat(ctx, end.Outputs["out"]+"/metrics.json", &text); err != nil {
		return 0, fmt.Errorf("demo: read metrics: %w", err)
	}
	var metrics struct{ Accuracy float64 }
	if err := json.Unmarshal([]byte(text.String()), &metrics); err != nil {
		return 0, fmt.Errorf("demo: read metrics: %w", err)
	}
	return metrics.Accuracy, nil
}

func (a *app) demoEnd(r demoResult, keep bool) error {
	if a.json {
		return a.line(r)
	}
	page := r.Dashboard
	if !keep {
		page = "" // it is gone by the time it is read
	}
	return pairs(a.stdout,
		"result", fmt.Sprintf("a model that tells %.1f%% of unseen digits right", 100*r.Accuracy),
		"provider", r.Job.Provider,
		"paid", fmt.Sprintf("%s in %s", money(r.Job.PaidAtoms), counted(r.Job.Receipts, "receipt")),
		"anchored", r.AnchorTx,
		"claimed", r.ClaimTx,
		"refunded", r.RefundTx,
		"log", fmt.Sprintf("%s, %d entries, root %s", r.Log.Origin, r.Log.Size, r.Log.Root),
		"ledgers", fmt.Sprintf("client balanced: %v, provider balanced: %v", r.Client, r.Provider),
		"dashboard", page,
	)
}
