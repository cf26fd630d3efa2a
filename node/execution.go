package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/storage/files"
)

// execute runs the job and meters it until its process is gone, then signs the
// final receipt. The final receipt and the phase are durable when it returns nil.
func (h *hosting) execute(ctx context.Context, job *jobv1.Job) *ending {
	r := h.p.runner(h.lease.Runner)
	if r == nil {
		return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "no runner for %s", h.lease.Runner)
	}
	out := filepath.Join(h.dir, "out")
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o700), h.stdout.Reset(), h.stderr.Reset()); err != nil {
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
	return h.finish(ctx, stopped, out, result.ExitCode, why)
}

// watch drives the meter until the process ends or must end; it returns why it
// was stopped, or a zero ending when it ended by itself.
func (h *hosting) watch(ctx context.Context, run runner.Run) *ending {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := time.NewTimer(time.Until(h.occupies().Until.Add(-time.Minute))) // then the floor would lease the devices again
	defer last.Stop()
	for {
		low, spaceNews := h.p.cfg.Space.Look()
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

// finish keeps the outputs, signs the final receipt and moves to collecting. The
// receipt is signed also when the node is stopping, which does not wait for outputs.
func (h *hosting) finish(ctx context.Context, stopped time.Time, out string, exit int, why *ending) *ending {
	var output string
	var digest souk.Digest
	if out != "" && why.reason != runv1.EndReason_END_REASON_PROVIDER_STOPPED {
		var err error
		output, digest, err = h.keep(ctx, out)
		switch {
		case err != nil && ctx.Err() != nil && why.reason != runv1.EndReason_END_REASON_COMPLETED:
			// it ended for another reason than the node's, and that stays so
		case err != nil && ctx.Err() != nil:
			why = ended(runv1.EndReason_END_REASON_PROVIDER_STOPPED, "the provider is stopping")
		case err != nil:
			return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "keep outputs: %v", err)
		}
	}
	err := h.signFinal(ctx, h.meter.Finish(stopped, digest, payment.Usage{}), func(r *leaseRecord) {
		r.Reason, r.Detail = why.reason, network.Clip(why.detail, 200)
		r.ExitCode, r.Output = int32(exit), output
	})
	if err != nil {
		return ended(runv1.EndReason_END_REASON_PROVIDER_FAILED, "final receipt: %v", err)
	}
	h.p.cfg.Log.Info("run", "lease", h.id.Short(), "phase", "collecting", "reason", reasonName(why.reason))
	return nil
}

// keep puts a run's outputs into the store, for the client alone.
func (h *hosting) keep(ctx context.Context, out string) (cid string, d souk.Digest, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if cid, _, err = h.p.cfg.Files.Add(ctx, out); err != nil {
		return "", d, err
	}
	if d, err = files.DigestOf(cid); err == nil {
		err = h.p.cfg.Files.Grant(ctx, cid, h.client) // before the client hears of it
	}
	if err != nil {
		return "", souk.Digest{}, err
	}
	return cid, d, nil
}
