package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/files"
)

// storeWithin bounds the time in which outputs are put into the store.
const storeWithin = 2 * time.Minute

// startRun starts the staged job.
func (t *tenancy) startRun(ctx context.Context) (scheduler.TenancyEvent, error) {
	r := t.with.Runner(t.lease.Runner)
	if r == nil {
		return nil, fmt.Errorf("no runner for %s", t.lease.Runner)
	}
	if err := t.prepare(); err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	devices := t.with.Devices(t.lease)
	t.telemetry = newTelemetry(devices)
	spec := runner.Spec{Lease: t.id, Seed: t.terms.Job.Digest, Devices: devices, Program: t.plan.Program, Args: t.job.Args,
		In: t.plan.In, Out: t.plan.Out, Memory: t.lease.Resources.GetMemoryBytes(), Disk: t.lease.Resources.GetDiskBytes(), Shm: t.job.ShmBytes,
		Hosts: t.lease.Network.GetHosts(), CPUMilli: t.lease.Resources.GetCpuMilli(), Duration: t.terms.MaxDuration, Stdout: t.stdout, Stderr: t.stderr}
	for _, v := range t.job.Env {
		spec.Env = append(spec.Env, v.Name+"="+v.Value)
	}
	var err error
	t.began = time.Now()
	if t.process, err = r.Start(ctx, spec); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	t.telemetry.begin(time.Now(), t.with.Samples)
	return scheduler.RunStarted{}, nil
}

// prepare makes an empty folder for the outputs, and empty logs.
func (t *tenancy) prepare() error {
	if t.plan.Out != "" {
		if err := errors.Join(os.RemoveAll(t.plan.Out), os.MkdirAll(t.plan.Out, 0o700)); err != nil {
			return err
		}
	}
	return errors.Join(t.stdout.Reset(), t.stderr.Reset(), t.samples.Resume())
}

// runOver takes the end of the process, and has it judged.
func (t *tenancy) runOver(ctx context.Context) {
	result, began := t.process.Wait(), t.began
	t.judging = time.Now()
	t.process = nil
	t.sample(time.Now(), result.Usage, true)
	result.Usage = t.withEnergy(result.Usage)
	t.begin(func() scheduler.TenancyEvent { return t.with.Ended(ctx, t, began, result) })
}

// tick tells the machine the time and what the run has used.
func (t *tenancy) tick() scheduler.TenancyEvent {
	if t.process == nil {
		return scheduler.Tick{}
	}
	used := t.process.Usage()
	t.sample(time.Now(), used, false)
	return scheduler.RunMeasured{Usage: measured(t.withEnergy(used))}
}

// measured is what a meter takes of a run's usage: the running time it counts itself.
func measured(u runner.Usage) payment.Usage {
	return payment.Usage{EnergyMillijoules: u.EnergyMillijoules, Counters: u.Counters}
}

// withEnergy adds what the devices' own counters tell to what a run used.
func (t *tenancy) withEnergy(u runner.Usage) runner.Usage {
	u.EnergyMillijoules = max(u.EnergyMillijoules, t.telemetry.energyUsed())
	return u
}

// storeOutputs puts a run's outputs into the store, for the client alone.
func (t *tenancy) storeOutputs(ctx context.Context) scheduler.TenancyEvent {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	if t.plan.Out == "" {
		return scheduler.OutputsStored{}
	}
	cid, digest, err := t.keep(ctx)
	if err != nil {
		return scheduler.OutputsNotStored{Detail: err.Error()}
	}
	return scheduler.OutputsStored{Output: cid, Digest: digest}
}

func (t *tenancy) keep(ctx context.Context) (cid string, d souk.Digest, err error) {
	if cid, _, err = t.with.Outputs.Add(ctx, t.plan.Out); err != nil {
		return "", d, err
	}
	if d, err = files.DigestOf(cid); err == nil {
		err = t.with.Outputs.Grant(ctx, cid, t.client) // before the client hears of it
	}
	return cid, d, err
}

// grant lets the client fetch the outputs again after a restart.
func (t *tenancy) grant(ctx context.Context, output string) error {
	if err := t.with.Outputs.Grant(ctx, output, t.client); err != nil {
		return fmt.Errorf("serve outputs: %w", err)
	}
	return nil
}

// cleanUp overwrites and removes the job's files, unless ctx ends: then it removes
// them. Its logs stay with the client.
func (t *tenancy) cleanUp(ctx context.Context) {
	t.stdout.Close()
	t.stderr.Close()
	t.samples.Close()
	if err := t.with.Telemetry.Sweep(time.Now()); err != nil {
		t.with.Log.Warn("remove old telemetry", "err", err)
	}
	if err := files.Shred(ctx, t.dir); err != nil {
		t.with.Log.Warn("remove lease folder", "lease", t.id.Short(), "err", err)
	}
}
