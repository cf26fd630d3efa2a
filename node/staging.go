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
	"github.com/souk-market/souk/storage/files"
	"google.golang.org/protobuf/proto"
)

// maxStageBlocks bounds the blocks of a job's inputs, beside their bytes.
const maxStageBlocks = 1 << 20

// stage waits for the job, checks that it is the leased one, and fetches what
// it names from the client. None of it is billed.
func (h *hosting) stage(ctx context.Context) (*jobv1.Job, *ending) {
	if err := h.phase(ctx, runv1.Phase_PHASE_STAGING); err != nil {
		return nil, ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "%v", err)
	}
	ctx, cancel := context.WithDeadline(ctx, time.UnixMilli(h.lease.StartByMs))
	defer cancel()
	late := time.NewTimer(h.p.cfg.Waits.Send)
	defer late.Stop()
	var msg []byte
	select {
	case msg = <-h.jobs:
	case <-late.C:
		return nil, ended(runv1.EndReason_END_REASON_CLIENT_INPUTS, "the client did not send the job within %s", h.p.cfg.Waits.Send)
	case <-h.releases:
		return nil, ended(runv1.EndReason_END_REASON_CLIENT_RELEASED, "released before it started")
	case <-ctx.Done():
		return nil, ended(runv1.EndReason_END_REASON_CLIENT_INPUTS, "the client did not send the job in time")
	}
	var job jobv1.Job
	if err := proto.Unmarshal(msg, &job); err != nil || sha256.Sum256(msg) != h.terms.Job.Digest {
		return nil, ended(runv1.EndReason_END_REASON_JOB_INVALID, "the job is not the leased one")
	}
	if refused := market.Understand(market.JobExtensions(&job)); refused != nil {
		return nil, ended(runv1.EndReason_END_REASON_UNSUPPORTED, "%v", refused)
	}
	if job.Wasm == "" {
		return nil, ended(runv1.EndReason_END_REASON_JOB_INVALID, "the job has no module")
	}
	limit := files.Limit{Bytes: h.lease.Resources.GetDiskBytes(), Blocks: maxStageBlocks}
	for _, part := range []struct{ cid, dest string }{{job.Wasm, "program.wasm"}, {job.Input, "in"}} {
		if part.cid == "" {
			continue
		}
		if err := h.fetch(ctx, part.cid, filepath.Join(h.dir, part.dest), limit); err != nil {
			return nil, ended(runv1.EndReason_END_REASON_CLIENT_INPUTS, "%v", err)
		}
	}
	if d, err := money.InputDigest(job.Input); err != nil || d != h.terms.InputDigest {
		return nil, ended(runv1.EndReason_END_REASON_JOB_INVALID, "the inputs are not the leased ones")
	}
	return &job, nil
}

// fetch brings one CID from the client to a path, afresh.
func (h *hosting) fetch(ctx context.Context, cid, dest string, limit files.Limit) error {
	if err := h.p.cfg.Files.Fetch(ctx, cid, h.client, limit, nil); err != nil {
		return fmt.Errorf("fetch %s: %w", cid, err)
	}
	if err := os.RemoveAll(dest); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o700); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	if _, _, err := h.p.cfg.Files.Save(ctx, cid, dest); err != nil {
		return fmt.Errorf("stage %s: %w", cid, err)
	}
	return nil
}
