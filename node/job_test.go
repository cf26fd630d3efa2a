package node_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner/fake"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
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

// job is one that a test has submitted.
type job struct {
	by *daemon
	id string
}

// submit starts a job.
func (d *daemon) submit(t *testing.T, msg *jobv1.Job) *job {
	t.Helper()
	got, err := d.Submit(t.Context(), &apiv1.SubmitRequest{Job: msg})
	if err != nil {
		t.Fatal(err)
	}
	return &job{d, got.Id}
}

// get is all that the owner is told of the job.
func (j *job) get(t *testing.T) *apiv1.GetResponse {
	t.Helper()
	got, err := j.by.Get(t.Context(), &apiv1.GetRequest{Id: j.id})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// until follows the job until ok.
func (j *job) until(t *testing.T, what string, ok func(*apiv1.JobSummary) bool) *apiv1.JobSummary {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	news, err := j.by.Follow(ctx, &apiv1.FollowRequest{Id: j.id})
	if err != nil {
		t.Fatal(err)
	}
	defer news.Close()
	var s *apiv1.JobSummary
	for news.Receive() {
		if now := news.Msg().GetSummary(); now != nil {
			if s = now; ok(s) {
				return s
			}
		}
	}
	t.Fatalf("never came: %s; the job is %v, %v", what, s, news.Err())
	return nil
}

// running waits until the job runs.
func (j *job) running(t *testing.T) *apiv1.JobSummary {
	t.Helper()
	return j.until(t, "the run", func(s *apiv1.JobSummary) bool { return s.State == "running" })
}

// finished waits for the job's end.
func (j *job) finished(t *testing.T) *apiv1.JobSummary {
	t.Helper()
	return j.until(t, "the job's end", func(s *apiv1.JobSummary) bool { return s.Ended != "" })
}

// stdout is what the job has printed so far.
func (j *job) stdout(t *testing.T) (text string) {
	t.Helper()
	news, err := j.by.Follow(t.Context(), &apiv1.FollowRequest{Id: j.id, Logs: true, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	defer news.Close()
	for news.Receive() {
		text += string(news.Msg().GetLog().GetData())
	}
	if err := news.Err(); err != nil {
		t.Fatal(err)
	}
	return text
}

// testJob is a job whose program and inputs the client has.
func testJob(t *testing.T, by *daemon, guest string) *jobv1.Job {
	t.Helper()
	dir := t.TempDir()
	program, data := filepath.Join(dir, "program"), filepath.Join(dir, "data.txt")
	for name, text := range map[string]string{program: guest, data: "some data"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := by.Add(t.Context(), &apiv1.AddRequest{Path: program})
	if err != nil {
		t.Fatal(err)
	}
	in, err := by.Add(t.Context(), &apiv1.AddRequest{Entries: []*apiv1.AddEntry{{From: data, Name: "data.txt"}}})
	if err != nil {
		t.Fatal(err)
	}
	return jobOf(guest, p.Cid, in.Cid)
}

// jobOf is a job of which only the contents are open.
func jobOf(guest, program, input string) *jobv1.Job {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return &jobv1.Job{Nonce: nonce, Name: guest, Wasm: program, Input: input, Outputs: []*jobv1.Output{{From: "/out"}},
		Resources: &marketv1.Resources{CpuMilli: 500, MemoryBytes: 64e6, DiskBytes: 10e6, Runners: []marketv1.Runner{marketv1.Runner_RUNNER_WASM},
			MinEvidence: marketv1.Evidence_EVIDENCE_NONE},
		Price:  &jobv1.Price{MaxAtomsPerHour: 10 * uint64(souk.AtomsPerToken), MaxTotalAtoms: 5 * uint64(souk.AtomsPerToken), PayEveryMs: 500},
		Limits: &jobv1.Limits{StartWithinMs: 60_000, MaxDurationMs: 60_000, HoldPausedMs: 5_000}}
}
