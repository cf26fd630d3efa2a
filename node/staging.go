package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/money"
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
	if job.Wasm == "" {
		return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_JOB_INVALID, Detail: "the job has no module"}
	}
	limit := files.Limit{Bytes: t.lease.Resources.GetDiskBytes(), Blocks: maxStageBlocks}
	for _, part := range []struct{ cid, dest string }{{job.Wasm, "program.wasm"}, {job.Input, "in"}} {
		if part.cid == "" {
			continue
		}
		if err := t.fetch(ctx, part.cid, filepath.Join(t.dir, part.dest), limit); err != nil {
			return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_CLIENT_INPUTS, Detail: err.Error()}
		}
	}
	if d, err := money.InputDigest(job.Input); err != nil || d != t.terms.InputDigest {
		return scheduler.StagingFailed{Reason: runv1.EndReason_END_REASON_JOB_INVALID, Detail: "the inputs are not the leased ones"}
	}
	t.job = job
	return scheduler.InputsStaged{}
}

// fetch brings one CID from the client to a path, afrest.
func (t *tenancy) fetch(ctx context.Context, cid, dest string, limit files.Limit) error {
	if err := t.p.cfg.Files.Fetch(ctx, cid, t.client, limit, nil); err != nil {
		return fmt.Errorf("fetch %s: %w", cid, err)
	}
	if err := os.RemoveAll(dest); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o700); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	if _, _, err := t.p.cfg.Files.Save(ctx, cid, dest); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	return nil
}
