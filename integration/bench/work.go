package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/process"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// waitLimit bounds whatever a row waits for.
const waitLimit = time.Minute

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// meet gives both tokens, and waits until the client has the provider's offer.
func meet(ctx context.Context, client, provider *daemon.Client) error {
	if err := process.Fund(ctx, provider, client); err != nil {
		return err
	}
	return process.Offered(ctx, client, 1)
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

// retryUnanswered tries again what no provider answered. The time that takes counts.
func retryUnanswered(try func() error) error {
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
	err = retryUnanswered(func() error {
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
	*process.Stage
	chain, provider, client *process.Daemon
	souk                    string
}

// openStage builds souk and starts its daemons in dir.
func openStage(dir string) (s *stage, err error) {
	ctx := context.Background()
	s = &stage{souk: filepath.Join(dir, "souk")}
	if err := process.Build(ctx, s.souk, "cmd/souk"); err != nil {
		return nil, err
	}
	if s.Stage, err = process.NewStage(s.souk, dir, false, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *stage) start(ctx context.Context) error {
	rpc, err := process.FreePort()
	if err != nil {
		return err
	}
	if s.chain, err = s.Start(ctx, "chain", "--devnet", "--devnet-listen", rpc); err != nil {
		return err
	}
	if err := process.Ready(ctx, s.chain); err != nil {
		return err
	}
	at, err := s.chain.Address()
	if err != nil {
		return err
	}
	join := []string{"--bootstrap", at, "--chain", "http://" + rpc}
	if s.provider, err = s.Start(ctx, "provider", append([]string{"--provide", "--price", "CPU=1"}, join...)...); err != nil {
		return err
	}
	if s.client, err = s.Start(ctx, "client", join...); err != nil {
		return err
	}
	if err := process.Ready(ctx, s.provider, s.client); err != nil {
		return err
	}
	return meet(ctx, s.client.Client, s.provider.Client)
}
