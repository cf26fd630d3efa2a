package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
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
	if d, err := inputDigest(job.Input); err != nil || d != h.terms.InputDigest {
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

// inputDigest is the digest that stands for a job's inputs in its receipts.
func inputDigest(cid string) (souk.Digest, error) {
	if cid == "" {
		return souk.Digest{}, nil
	}
	return files.DigestOf(cid)
}

// execute runs the job and meters it until its process is gone, then signs the
// final receipt. The final receipt and the phase are durable when it returns nil.
func (h *hosting) execute(ctx context.Context, job *jobv1.Job) *ending {
	r := h.p.runner(h.lease.Runner)
	if r == nil {
		return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "no runner for %s", h.lease.Runner)
	}
	out := filepath.Join(h.dir, "out")
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o700), h.stdout.reset(), h.stderr.reset()); err != nil {
		return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "prepare: %v", err)
	}
	spec := runner.Spec{Lease: h.id, Seed: h.terms.Job.Digest, Program: filepath.Join(h.dir, "program.wasm"), Args: job.Args,
		Out: out, Memory: h.lease.Resources.GetMemoryBytes(), Disk: h.lease.Resources.GetDiskBytes(),
		Duration: h.terms.MaxDuration, Stdout: h.stdout, Stderr: h.stderr}
	if job.Input != "" {
		spec.In = filepath.Join(h.dir, "in")
	}
	for _, v := range job.Env {
		spec.Env = append(spec.Env, v.Name+"="+v.Value)
	}
	run, err := r.Start(ctx, spec)
	if err != nil {
		return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "start: %v", err)
	}
	h.meter.Start(time.Now())
	why := &ending{}
	if err := h.phase(ctx, runv1.Phase_PHASE_RUNNING); err != nil {
		why = ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "%v", err)
		run.Stop()
	} else {
		why = h.watch(ctx, run)
	}
	result, stopped := run.Wait(), time.Now()
	h.p.free(h.id) // the process is gone: the devices are free, the lease's money is not settled yet
	if why.reason == runv1.EndReason_END_REASON_UNSPECIFIED {
		why = &ending{result.Reason, result.Detail}
	}
	return h.finish(stopped, out, result.ExitCode, why)
}

// watch drives the meter until the process ends or must end; it returns why it
// was stopped, or a zero ending when it ended by itself.
func (h *hosting) watch(ctx context.Context, run runner.Run) *ending {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := time.NewTimer(time.Until(h.occupies().Until.Add(-time.Minute))) // then the floor would lease the devices again
	defer last.Stop()
	for {
		low, spaceNews := h.p.cfg.Space.look()
		if low != nil {
			run.Stop()
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "the provider's disk is nearly full")
		}
		if next, ok := h.meter.Next(); ok {
			timer.Reset(time.Until(next))
		}
		var act payment.Action
		select {
		case <-spaceNews:
		case <-run.Done():
			return &ending{}
		case <-ctx.Done():
			run.Stop()
			return ended(runv1.EndReason_END_REASON_PROVIDER_STOPPED, "the provider is stopping")
		case <-last.C:
			run.Stop()
			return ended(runv1.EndReason_END_REASON_CLIENT_UNPAID, "paused for too long in all")
		case <-h.releases:
			run.Stop()
			return ended(runv1.EndReason_END_REASON_CLIENT_RELEASED, "the client released the lease")
		case c := <-h.countersigns:
			act = h.countersigned(ctx, c)
		case <-timer.C:
			receipt, a := h.meter.Tick(time.Now(), payment.Usage{})
			if receipt != nil {
				if err := h.sign(ctx, *receipt); err != nil {
					run.Stop()
					return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "%v", err)
				}
			}
			act = a
		}
		if e := h.act(ctx, run, act); e != nil {
			return e
		}
	}
}

// act does what the meter asks.
func (h *hosting) act(ctx context.Context, run runner.Run, a payment.Action) *ending {
	var err error
	switch a.Do {
	case payment.Pause:
		if err = run.Pause(); err == nil {
			err = h.phase(ctx, runv1.Phase_PHASE_PAUSED)
		}
	case payment.Resume:
		if err = run.Resume(); err == nil {
			err = h.phase(ctx, runv1.Phase_PHASE_RUNNING)
		}
	case payment.Stop:
		run.Stop()
		return ended(a.Reason, "stopped by the meter")
	}
	if err != nil {
		run.Stop()
		return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "%v", err)
	}
	return nil
}

// sign makes a receipt durable under our signature, then shows it to the client.
func (h *hosting) sign(ctx context.Context, r payment.Receipt) error {
	r.SignProvider(h.terms.Domain, h.p.cfg.Key)
	msg := r.Proto()
	if err := h.p.cfg.Ledger.Commit(ctx, ledger.Batch{Records: []ledger.Record{receiptRecord(h.id, r.Seq, msg)}}); err != nil {
		return fmt.Errorf("receipt %d: %w", r.Seq, err)
	}
	h.show(func() { h.receipts = append(slices.Clone(h.receipts), msg) })
	return nil
}

// signFinal does the same for the last receipt. With it the lease is collecting,
// and needs no more of the channel than it says: one transaction holds it all.
func (h *hosting) signFinal(ctx context.Context, r payment.Receipt, change func(*leaseRecord)) error {
	r.SignProvider(h.terms.Domain, h.p.cfg.Key)
	msg, rec := r.Proto(), h.record()
	change(&rec)
	rec.Phase = runv1.Phase_PHASE_COLLECTING
	err := h.p.cfg.Channels.update(ctx, h.terms.Channel, func(c *channelRecord) (ledger.Batch, error) {
		m := c.Leases[h.id.String()]
		m.Paid, m.Reserve = min(m.Paid, r.CumulativeDue), 0
		c.Leases[h.id.String()] = m
		return ledger.Batch{Records: []ledger.Record{receiptRecord(h.id, r.Seq, msg), rec.ledgerRecord(h.id)}}, nil
	})
	if err != nil {
		return err
	}
	h.show(func() { h.rec, h.receipts = rec, append(slices.Clone(h.receipts), msg) })
	return nil
}

// finish keeps the outputs, signs the final receipt and moves to collecting. It
// also runs when the daemon is stopping, so it has a context of its own.
func (h *hosting) finish(stopped time.Time, out string, exit int, why *ending) *ending {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var output string
	var digest souk.Digest
	if out != "" && why.reason != runv1.EndReason_END_REASON_PROVIDER_STOPPED {
		var err error
		if output, _, err = h.p.cfg.Files.Add(ctx, out); err == nil {
			digest, err = files.DigestOf(output)
		}
		if err == nil {
			err = h.p.cfg.Files.Grant(ctx, output, h.client) // before the client hears of it
		}
		if err != nil {
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "keep outputs: %v", err)
		}
	}
	err := h.signFinal(ctx, h.meter.Finish(stopped, digest, payment.Usage{}), func(r *leaseRecord) {
		r.Reason, r.Detail = why.reason, clip(why.detail, 200)
		r.ExitCode, r.Output = int32(exit), output
	})
	if err != nil {
		return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "final receipt: %v", err)
	}
	h.p.cfg.Log.Info("run", "lease", h.id.Short(), "phase", "collecting", "reason", reasonName(why.reason))
	return nil
}

// collect serves the outputs to the client and waits for the last voucher.
func (h *hosting) collect(ctx context.Context) *ending {
	rec := h.record()
	if rec.Output != "" {
		defer h.p.cfg.Files.Withdraw(rec.Output, h.client)
	}
	deadline := time.NewTimer(h.p.cfg.Waits.Collect)
	defer deadline.Stop()
	dropped := false
	for {
		_, owed, _ := h.look()
		if len(owed) == 0 || dropped {
			return &ending{rec.Reason, rec.Detail}
		}
		select {
		case <-ctx.Done():
			return ended(runv1.EndReason_END_REASON_PROVIDER_STOPPED, "the provider is stopping")
		case <-deadline.C:
			return ended(runv1.EndReason_END_REASON_CLIENT_OUTPUTS, "the client did not settle the final receipt in time")
		case c := <-h.countersigns:
			h.countersigned(ctx, c)
		case dropped = <-h.releases: // true: the client wants nothing more of this lease, and signs nothing more
		}
	}
}

// countersigned checks what the client answered to the outstanding receipt, posts
// it to ledger and log, and tells the meter. A wrong answer changes nothing.
func (h *hosting) countersigned(ctx context.Context, c *runv1.Countersign) payment.Action {
	_, owed, _ := h.look()
	if len(owed) == 0 {
		return payment.Action{} // a repeated answer to a receipt that is done
	}
	r, v, err := h.checkCountersign(owed[0], c)
	if err == nil {
		err = h.post(ctx, r, v, souk.Atoms(c.LeasePaidAtoms))
	}
	if err != nil {
		h.p.cfg.Log.Warn("countersignature refused", "lease", h.id.Short(), "peer", h.client, "err", err)
		return payment.Action{}
	}
	act, err := h.meter.Countersigned(time.Now(), r.Seq, souk.Atoms(c.LeasePaidAtoms))
	if err != nil {
		h.p.cfg.Log.Debug("meter", "lease", h.id.Short(), "err", err) // a restored lease has a fresh meter
	}
	if known, ok := h.p.cfg.Channels.get(h.terms.Channel); ok && known.uncovered() {
		// What is due was taken; more would be paid from what the client withdraws.
		return payment.Action{Do: payment.Stop, Reason: runv1.EndReason_END_REASON_CLIENT_UNPAID}
	}
	return act
}

func (h *hosting) checkCountersign(msg *runv1.Receipt, c *runv1.Countersign) (payment.Receipt, payment.Voucher, error) {
	r, err := payment.ReceiptFromProto(msg)
	if err != nil {
		return r, payment.Voucher{}, err
	}
	if d := r.Digest(h.terms.Domain); !bytes.Equal(d[:], c.Receipt) {
		return r, payment.Voucher{}, fmt.Errorf("answers another receipt than %d", r.Seq)
	}
	r.ClientSig = c.Signature
	if err := r.VerifyClient(h.terms.Domain); err != nil {
		return r, payment.Voucher{}, err
	}
	v, err := payment.VoucherFromProto(c.Voucher)
	if err != nil {
		return r, v, err
	}
	if v.Channel != h.terms.Channel {
		return r, v, fmt.Errorf("the voucher is for channel %s", v.Channel.Short())
	}
	if c.LeasePaidAtoms < uint64(r.CumulativeDue) || c.LeasePaidAtoms > uint64(h.terms.Reserve) {
		return r, v, fmt.Errorf("paid %d of %d due", c.LeasePaidAtoms, r.CumulativeDue)
	}
	return r, v, v.Verify(h.terms.Domain, h.channel.PayerAuthorizer)
}

// post makes a countersigned receipt and its voucher durable with the usage
// they stand for, in one transaction; then the receipt goes into the log.
func (h *hosting) post(ctx context.Context, r payment.Receipt, v payment.Voucher, paid souk.Atoms) error {
	digest := r.Digest(h.terms.Domain)
	err := h.p.cfg.Channels.update(ctx, h.terms.Channel, func(c *channelRecord) (ledger.Batch, error) {
		m := c.Leases[h.id.String()]
		if err := c.tab().Show(h.terms.Lease, paid, v.MaxClaimable); err != nil {
			return ledger.Batch{}, err
		}
		usage := r.CumulativeDue - m.Due
		m.Paid, m.Due = max(m.Paid, paid), r.CumulativeDue
		c.Leases[h.id.String()] = m
		c.take(v)
		if r.Kind == payment.KindFinal {
			c.settle(h.id)
		}
		b := ledger.Batch{Records: []ledger.Record{receiptRecord(h.id, r.Seq, r.Proto())}}
		if usage > 0 {
			b.Transfers = []ledger.Transfer{{ID: ledger.TransferID("usage", digest[:]), Debit: ledger.Receivable(h.terms.Channel),
				Credit: ledger.Earned, Amount: usage, Kind: "usage", Ref: h.id.String(), At: time.Now()}}
		}
		return b, nil
	})
	if err != nil {
		return err
	}
	if err := h.p.cfg.Receipts.log(ctx, r); err != nil {
		h.p.cfg.Log.Error("receipts log", "lease", h.id.Short(), "err", err) // the ledger has it: the next start logs it
	}
	h.show(func() { h.receipts = slices.Clone(h.receipts[1:]) })
	return nil
}

// cleanUp removes the job's files; its logs stay with the client.
func (h *hosting) cleanUp() {
	h.stdout.close()
	h.stderr.close()
	if err := os.RemoveAll(h.dir); err != nil {
		h.p.cfg.Log.Warn("remove lease folder", "lease", h.id.Short(), "err", err)
	}
}
