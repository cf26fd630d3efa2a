package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// storeWithin bounds the time in which outputs are put into the store.
const storeWithin = 2 * time.Minute

// startRun starts the staged job.
func (t *tenancy) startRun(ctx context.Context) (scheduler.TenancyEvent, error) {
	r := t.p.runner(t.lease.Runner)
	if r == nil {
		return nil, fmt.Errorf("no runner for %s", t.lease.Runner)
	}
	out := t.out()
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o700), t.stdout.Reset(), t.stderr.Reset()); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	spec := runner.Spec{Lease: t.id, Seed: t.terms.Job.Digest, Program: filepath.Join(t.dir, "program.wasm"), Args: t.job.Args,
		Out: out, Memory: t.lease.Resources.GetMemoryBytes(), Disk: t.lease.Resources.GetDiskBytes(),
		Duration: t.terms.MaxDuration, Stdout: t.stdout, Stderr: t.stderr}
	if t.job.Input != "" {
		spec.In = filepath.Join(t.dir, "in")
	}
	for _, v := range t.job.Env {
		spec.Env = append(spec.Env, v.Name+"="+v.Value)
	}
	var err error
	if t.process, err = r.Start(ctx, spec); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return scheduler.RunStarted{}, nil
}

// out is the folder that the job writes.
func (t *tenancy) out() string { return filepath.Join(t.dir, "out") }

// runOver takes the end of the process.
func (t *tenancy) runOver() scheduler.TenancyEvent {
	result := t.process.Wait()
	t.process = nil
	return scheduler.RunOver{Reason: result.Reason, Exit: int32(result.ExitCode), Detail: result.Detail}
}

// storeOutputs puts a run's outputs into the store, for the client alone.
func (t *tenancy) storeOutputs(ctx context.Context) scheduler.TenancyEvent {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	cid, digest, err := t.keep(ctx)
	if err != nil {
		return scheduler.OutputsNotStored{Detail: err.Error()}
	}
	return scheduler.OutputsStored{Output: cid, Digest: digest}
}

func (t *tenancy) keep(ctx context.Context) (cid string, d souk.Digest, err error) {
	if cid, _, err = t.p.cfg.Files.Add(ctx, t.out()); err != nil {
		return "", d, err
	}
	if d, err = files.DigestOf(cid); err == nil {
		err = t.p.cfg.Files.Grant(ctx, cid, t.client) // before the client hears of it
	}
	return cid, d, err
}

// grant lets the client fetch the outputs again after a restart.
func (t *tenancy) grant(ctx context.Context, output string) error {
	if err := t.p.cfg.Files.Grant(ctx, output, t.client); err != nil {
		return fmt.Errorf("serve outputs: %w", err)
	}
	return nil
}

// cleanUp removes the job's files; its logs stay with the client.
func (t *tenancy) cleanUp() {
	t.stdout.Close()
	t.stderr.Close()
	if err := os.RemoveAll(t.dir); err != nil {
		t.p.cfg.Log.Warn("remove lease folder", "lease", t.id.Short(), "err", err)
	}
}
