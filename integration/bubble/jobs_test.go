package bubble

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

const (
	payEvery = 5 * time.Second
	payGrace = 2 * time.Second // what a client of this version asks for
)

// kinds are the jobs there are, and how each may end where nothing goes wrong.
var kinds = []struct {
	name, reason string
	state        string
}{
	{"train", "completed", "done"},
	{"train", "completed", "done"},
	{"train", "completed", "done"},
	{"fail", "job-exit-code", "failed"},
	{"greedy", "job-memory", "failed"},
	{"endless", "job-time", "failed"},
	{"stopped", "stopped-by-owner", "stopped"},
	{"cheap", "no-offer", "no-match"},
}

// task is a job to be submitted, and what became of it.
type task struct {
	kind   int
	client *daemon
	at     time.Duration // after the market opened
	takes  time.Duration
	region string
	id     string
	end    *apiv1.GetResponse
}

// newTasks spreads count jobs over clients and time.
func newTasks(rng *rand.Rand, clients []*daemon, count int, over time.Duration) []*task {
	tasks := make([]*task, count)
	for i := range tasks {
		tasks[i] = &task{kind: i % len(kinds), client: clients[rng.IntN(len(clients))],
			at: time.Duration(rng.Int64N(int64(over))), takes: 5*time.Second + time.Duration(rng.Int64N(int64(45*time.Second)))}
		if rng.IntN(3) == 0 {
			tasks[i].region = regions[rng.IntN(len(regions))]
		}
	}
	slices.SortFunc(tasks, func(a, b *task) int { return int(a.at - b.at) })
	return tasks
}

// prepare makes the files that every job needs.
func (m *market) prepare(t *testing.T) {
	t.Helper()
	for name, text := range map[string]string{"program": "guest", "data.txt": "some data"} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// message is the job as souk run would make it.
func (k *task) message(ctx context.Context, m *market, number int) (*jobv1.Job, error) {
	a := k.client.up()
	program, err := a.Add(ctx, &apiv1.AddRequest{Path: filepath.Join(m.dir, "program")})
	if err != nil {
		return nil, err
	}
	in, err := a.Add(ctx, &apiv1.AddRequest{Entries: []*apiv1.AddEntry{{From: filepath.Join(m.dir, "data.txt"), Name: "data.txt"}}})
	if err != nil {
		return nil, err
	}
	job := &jobv1.Job{Nonce: []byte(fmt.Sprintf("%016d", number)), Name: kinds[k.kind].name, Wasm: program.Cid, Input: in.Cid,
		Args: []string{kinds[k.kind].name, k.takes.String()}, Outputs: []*jobv1.Output{{From: "/out"}},
		Resources: &marketv1.Resources{GpuCount: 1, CpuMilli: 500, MemoryBytes: 64e6, DiskBytes: 10e6, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM},
			MinEvidence: marketv1.Evidence_EVIDENCE_NONE},
		Price:  &jobv1.Price{MaxAtomsPerHour: 10 * uint64(souk.AtomsPerToken), MaxTotalAtoms: 5 * uint64(souk.AtomsPerToken), PayEveryMs: uint64(payEvery.Milliseconds())},
		Limits: &jobv1.Limits{StartWithinMs: 120_000, MaxDurationMs: 60_000, HoldPausedMs: 30_000},
		Retry:  &jobv1.Retry{On: []jobv1.RetryCause{jobv1.RetryCause_RETRY_CAUSE_PROVIDER_LOST}, Max: 2}}
	if k.region != "" {
		job.Resources.Regions = []string{k.region}
	}
	if kinds[k.kind].name == "cheap" {
		job.Price.MaxAtomsPerHour = 10
	}
	return job, nil
}

// run submits the job when it is time, again and again while its daemon is down,
// and follows it to its end.
func (k *task) run(ctx context.Context, m *market, number int) error {
	time.Sleep(k.at)
	for k.id == "" {
		job, err := k.message(ctx, m, number)
		if err == nil {
			var sent *apiv1.SubmitResponse
			if sent, err = k.client.up().Submit(ctx, &apiv1.SubmitRequest{Job: job}); err == nil {
				k.id = sent.Id
				break
			}
		}
		if time.Sleep(time.Second); ctx.Err() != nil {
			return fmt.Errorf("submit: %w", err)
		}
	}
	if kinds[k.kind].name == "stopped" {
		time.Sleep(k.takes / 2)
		for ctx.Err() == nil {
			if _, err := k.client.up().JobsClient.Stop(ctx, &apiv1.StopRequest{Id: k.id}); err == nil {
				break
			}
			time.Sleep(time.Second)
		}
	}
	for {
		got, err := k.client.up().Get(ctx, &apiv1.GetRequest{Id: k.id})
		if err == nil && got.Summary.Ended != "" {
			k.end = got
			return nil
		}
		if time.Sleep(time.Second); ctx.Err() != nil {
			return fmt.Errorf("job %d (%s) of %s has not ended: %v, %v", number, kinds[k.kind].name, k.client.name, got.GetSummary(), err)
		}
	}
}
