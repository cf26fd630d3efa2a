package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/demo"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// waitLimit bounds whatever a row waits for.
const waitLimit = time.Minute

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// freePort is the address of a port of loopback that nobody has now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers waits until a daemon does.
func answers(ctx context.Context, c *daemon.Client) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	return demo.Until(ctx, func() (bool, error) {
		_, err := c.Node.Status(ctx, &apiv1.StatusRequest{})
		return err == nil, nil
	})
}

// meet gives both tokens, and waits until the client has the provider's offer.
func meet(ctx context.Context, client, provider *daemon.Client) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for _, d := range []*daemon.Client{provider, client} {
		if _, err := d.Wallet.Faucet(ctx, &apiv1.FaucetRequest{}); err != nil {
			return fmt.Errorf("faucet: %w", err)
		}
	}
	err := demo.Until(ctx, func() (bool, error) {
		res, err := client.Market.Offers(ctx, &apiv1.OffersRequest{})
		return err == nil && len(res.Offers) == 1, err
	})
	if err != nil {
		return fmt.Errorf("wait for the offer: %w", err)
	}
	return nil
}

// work is a job that can be run again and again.
type work struct {
	client *daemon.Client
	job    *jobv1.Job // but for its nonce
}

// newWork puts a program into the client's store.
func newWork(client *daemon.Client, path string, args []string) (*work, error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	added, err := client.Files.Add(ctx, &apiv1.AddRequest{Path: path})
	if err != nil {
		return nil, fmt.Errorf("add %s: %w", path, err)
	}
	return &work{client, &jobv1.Job{Name: "bench", Wasm: added.Cid, Args: args, Outputs: []*jobv1.Output{{From: "/out"}},
		Resources: &marketv1.Resources{CpuMilli: 500, MemoryBytes: 256e6, DiskBytes: 64e6,
			Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM}, MinEvidence: marketv1.Evidence_EVIDENCE_NONE},
		Price:  &jobv1.Price{MaxAtomsPerHour: uint64(souk.AtomsPerToken), MaxTotalAtoms: uint64(souk.AtomsPerToken), PayEveryMs: 10_000},
		Limits: &jobv1.Limits{StartWithinMs: 60_000, MaxDurationMs: 60_000, HoldPausedMs: 5_000}}}, nil
}

// open runs the job once at a length that makes its deposit last for all that
// follow: they find the channel open.
func (w *work) open() error {
	short := w.job.Limits.MaxDurationMs
	w.job.Limits.MaxDurationMs = 40 * short
	_, err := w.run("")
	w.job.Limits.MaxDurationMs = short
	return err
}

// errUnanswered is a job that found no provider: on a machine that is busy with
// other things, its one provider can miss the window for bids.
var errUnanswered = errors.New("no provider answered the order in time")

// patiently tries again what was not answered; what that costs counts.
func patiently(try func() error) error {
	err := try()
	for range 2 {
		if !errors.Is(err, errUnanswered) {
			break
		}
		err = try()
	}
	return err
}

// run submits the job and follows it until its outputs are verified, paid for
// and, unless saveTo is empty, written there. It returns how long that took.
func (w *work) run(saveTo string) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	begun := time.Now()
	err = patiently(func() error {
		w.job.Nonce = make([]byte, 16)
		rand.Read(w.job.Nonce)
		job, err := w.client.Jobs.Submit(ctx, &apiv1.SubmitRequest{Job: w.job, SaveTo: []string{saveTo}})
		if err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		return w.follow(ctx, job.Id)
	})
	return time.Since(begun), err
}

func (w *work) follow(ctx context.Context, id string) error {
	s, err := w.client.Jobs.Follow(ctx, &apiv1.FollowRequest{Id: id})
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	defer s.Close()
	end, err := lastOf(s)
	switch {
	case err != nil:
		return err
	case end.State == "no-match":
		return fmt.Errorf("%w: %s", errUnanswered, end.Detail)
	case end.State != "done" || end.Attempts != 1 || end.Outputs["out"] == "":
		return fmt.Errorf("the job ended as %v", end)
	}
	return nil
}

// lastOf reads a job's news to their end.
func lastOf(s *connect.ServerStreamForClient[apiv1.FollowResponse]) (end *apiv1.JobSummary, err error) {
	for s.Receive() {
		if line := s.Msg().GetSummary(); line != nil {
			end = line
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("follow: %w", err)
	}
	if end == nil {
		return nil, errors.New("follow: no news of the job")
	}
	return end, nil
}

// stage starts daemons as processes of their own: a chain, a provider, a client.
type stage struct {
	*demo.Stage
	chain, provider, client *demo.Daemon
	souk                    string
}

// openStage builds souk and starts its daemons in dir.
func openStage(dir string) (s *stage, err error) {
	s = new(stage)
	if s.souk, err = program(dir, "cmd/souk"); err != nil {
		return nil, err
	}
	if s.Stage, err = demo.NewStage(s.souk, dir, false, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *stage) start() error {
	ctx := context.Background()
	rpc, err := freePort()
	if err != nil {
		return err
	}
	if s.chain, err = s.Start("chain", "--devnet", "--devnet-listen", rpc); err != nil {
		return err
	}
	if err := demo.Ready(ctx, s.chain); err != nil {
		return err
	}
	at, err := s.chain.Address()
	if err != nil {
		return err
	}
	join := []string{"--bootstrap", at, "--chain", "http://" + rpc}
	if s.provider, err = s.Start("provider", append([]string{"--provide", "--price", "CPU=1"}, join...)...); err != nil {
		return err
	}
	if s.client, err = s.Start("client", join...); err != nil {
		return err
	}
	if err := demo.Ready(ctx, s.provider, s.client); err != nil {
		return err
	}
	return meet(ctx, s.client.Client, s.provider.Client)
}
