package provider

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
	"google.golang.org/protobuf/proto"
)

// maxStageBlocks bounds the blocks of a job's inputs, beside their bytes.
const maxStageBlocks = 1 << 20

// stage checks that the job is the leased one, and fetches what it names from the
// client. None of it is billed.
func (t *tenancy) stage(ctx context.Context, by time.Time) scheduler.TenancyEvent {
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	job := new(jobv1.Job)
	if err := proto.Unmarshal(t.message, job); err != nil || sha256.Sum256(t.message) != t.terms.Job.Digest {
		return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_JOB_INVALID, Detail: "the job is not the leased one"}
	}
	if refused := market.Understand(market.JobExtensions(job)); refused != nil {
		return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_UNSUPPORTED, Detail: refused.Error()}
	}
	if refused := market.Allow(t.with.Unwanted, market.JobExtensions(job)); refused != nil {
		return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_UNSUPPORTED, Detail: refused.Error()}
	}
	if !proto.Equal(job.Network, t.lease.Network) {
		return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_JOB_INVALID, Detail: "the job's hosts are not the leased ones"}
	}
	plan, failed := t.planOf(job)
	if failed != nil {
		return *failed
	}
	if failed := t.fetchImage(ctx, plan); failed != nil {
		return *failed
	}
	if failed := t.bring(ctx, plan.Program.Image); failed != nil {
		return *failed
	}
	for _, part := range plan.Stage {
		if part.Path == "" {
			continue // an image, which the runner has read
		}
		if err := t.fetch(ctx, part.CID, part.Path); err != nil {
			return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_CLIENT_INPUTS, Detail: err.Error()}
		}
	}
	if d, err := money.InputDigest(job.Input); err != nil || d != t.terms.InputDigest {
		return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_JOB_INVALID, Detail: "the inputs are not the leased ones"}
	}
	t.job, t.plan = job, plan
	return scheduler.InputsStaged{}
}

// planOf asks the lease's runner what the job needs. What it cannot run ends here:
// nothing of it was fetched.
func (t *tenancy) planOf(job *jobv1.Job) (runner.Plan, *scheduler.StagingFailed) {
	r := t.with.Runner(t.lease.Runner)
	if r == nil {
		return runner.Plan{}, &scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED,
			Detail: fmt.Sprintf("no runner for %s", t.lease.Runner)}
	}
	plan, err := r.Plan(job, t.dir)
	if err == nil {
		return plan, nil
	}
	failed := &scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, Detail: err.Error()}
	if unfit, ok := errors.AsType[*runner.UnfitError](err); ok {
		if failed.Reason = runv1.EndReason_END_REASON_JOB_INVALID; unfit.Unsupported != "" {
			failed.Reason = runv1.EndReason_END_REASON_UNSUPPORTED
		}
	}
	return plan, failed
}

// progressEvery is how often the client hears of an image that comes.
const progressEvery = time.Second

// bring has the lease's runner bring the job's image, where it is one.
func (t *tenancy) bring(ctx context.Context, image string) *scheduler.StagingFailed {
	p, ok := t.with.Runner(t.lease.Runner).(runner.Puller)
	if image == "" || !ok {
		return nil
	}
	var said time.Time
	err := p.Pull(ctx, image, t.lease.Resources.GetDiskBytes(), func(done, total uint64) {
		if now := time.Now(); now.Sub(said) >= progressEvery {
			said = now
			t.show(func() {
				t.doing = fmt.Sprintf("pulling the image: %s of %s", souk.FormatSize(done), souk.FormatSize(total))
			})
		}
	})
	t.show(func() { t.doing = "" })
	if err == nil {
		return nil
	}
	failed := &scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, Detail: network.Clip(err.Error(), runner.MaxDetail)}
	no, imageFault := errors.AsType[*runner.ImageError](err)
	switch {
	case imageFault && !no.Away:
		failed.Reason = runv1.EndReason_END_REASON_JOB_INVALID
	case imageFault, errors.Is(ctx.Err(), context.DeadlineExceeded): // who names an image answers for its registry
		failed.Reason = runv1.EndReason_END_REASON_CLIENT_INPUTS
	}
	return failed
}

// fetchImage brings what the runner reads in the store: an image by content id. Blocks
// that are here, from an earlier lease or a staging that broke off, are not fetched again.
func (t *tenancy) fetchImage(ctx context.Context, plan runner.Plan) *scheduler.StagingFailed {
	for _, part := range plan.Stage {
		if part.Path != "" {
			continue
		}
		var said time.Time
		err := t.with.Inputs.Fetch(ctx, part.CID, t.client, t.stageLimit(), func(bytes uint64) {
			if now := time.Now(); now.Sub(said) >= progressEvery {
				said = now
				t.show(func() { t.doing = "fetching the image: " + souk.FormatSize(bytes) })
			}
		})
		t.show(func() { t.doing = "" })
		if err != nil {
			return &scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_CLIENT_INPUTS, Detail: fmt.Sprintf("fetch %s: %v", part.CID, err)}
		}
	}
	return nil
}

// stageLimit bounds what is fetched from the client for one content id.
func (t *tenancy) stageLimit() files.Limit {
	return files.Limit{Bytes: t.lease.Resources.GetDiskBytes(), Blocks: maxStageBlocks}
}

// fetch brings one CID from the client to a path, and replaces what is there.
func (t *tenancy) fetch(ctx context.Context, cid, dest string) error {
	if err := t.with.Inputs.Fetch(ctx, cid, t.client, t.stageLimit(), nil); err != nil {
		return fmt.Errorf("fetch %s: %w", cid, err)
	}
	if err := os.RemoveAll(dest); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o700); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	if _, _, err := t.with.Inputs.Save(ctx, cid, dest); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	return nil
}
