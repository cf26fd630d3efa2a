package client

import (
	"context"
	"fmt"
	"time"

	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/payment"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// maxSamplesAtOnce bounds one piece of telemetry, beside its bytes.
const maxSamplesAtOnce = 4096

// telemetry is what a client has of the samples of one lease. The receipts of the
// lease are held against them. The goroutine that is in the link's run owns it.
type telemetry struct {
	file   *disk.SampleFile // a beginning of the list
	check  *payment.SampleCheck
	payer  *payment.Payer
	have   uint64 // samples that came, kept or not
	limits *jobv1.Limits
	idle   *scheduler.Idle
	told   bool // that the job is idle
	paused bool // then its devices have nothing to do
}

// telemetry is where this node keeps the samples of its leases.
func (c *Config) telemetry() *disk.SampleFiles {
	return disk.NewSampleFiles(c.Home, c.Space.LedgerRoom)
}

// openTelemetry goes on with what is kept of a lease's samples. A file that is
// damaged is begun anew: the provider has all of it.
func openTelemetry(s *Proposal, limits *jobv1.Limits, files *disk.SampleFiles, payer *payment.Payer) (*telemetry, error) {
	t := &telemetry{file: files.Of(s.ID), payer: payer, limits: limits, idle: scheduler.NewIdle(limits)}
	for {
		t.check = payment.NewSampleCheck(s.Lease.Devices)
		if err := t.file.Resume(); err != nil {
			return nil, err
		}
		damaged := files.Read(s.ID, func(b []byte) error {
			_, err := t.check.Open(time.Unix(1<<40, 0), b) // our clock may have been set back
			return err
		})
		if damaged == nil {
			break
		}
		t.file.Close()
		if err := files.Remove(s.ID); err != nil {
			return nil, err
		}
	}
	err := files.Read(s.ID, func(b []byte) error {
		kept, err := payment.OpenSample(b)
		if err == nil {
			err = payer.Sample(kept.AtMs, payment.SampleLeaf(b))
			t.idle.Add(kept)
		}
		t.have++
		return err
	})
	if err != nil {
		t.file.Close()
		return nil, fmt.Errorf("telemetry of lease %s: %w", s.ID.Short(), err)
	}
	return t, nil
}

// take checks the next sample, and holds the next receipt against it. It returns once
// that the job is idle, in words.
func (t *telemetry) take(now time.Time, b []byte) (idle string, err error) {
	s, err := t.check.Open(now, b)
	if err != nil {
		return "", err
	}
	if err := t.payer.Sample(s.AtMs, payment.SampleLeaf(b)); err != nil {
		return "", err
	}
	t.have++
	if t.paused {
		return "", nil
	}
	idle, is := t.idle.Add(s)
	if !is || t.told {
		return "", nil
	}
	t.told = true
	return idle, nil
}

// pause notes whether the run is paused. Idleness is watched for anew after a pause,
// in which no job can use its devices.
func (t *telemetry) pause(paused bool) {
	if t.paused = paused; paused {
		t.idle, t.told = scheduler.NewIdle(t.limits), false
	}
}

// keepSamples takes a piece of telemetry as it came. An error of its provider's is an
// errBreach. What a full disk does not keep is checked all the same, and asked for
// again after a restart.
func (l *runLink) keepSamples(ctx context.Context, now time.Time, p *runv1.Telemetry) error {
	t := l.telemetry
	if p.First != t.have || len(p.Samples) == 0 || len(p.Samples) > maxSamplesAtOnce {
		return fmt.Errorf("%d samples from %d on, have %d: %w", len(p.Samples), p.First, t.have, errBreach)
	}
	for _, b := range p.Samples {
		idle, err := t.take(now, b)
		if err != nil {
			return fmt.Errorf("telemetry: %w: %w", err, errBreach)
		}
		if idle != "" {
			l.j.post(ctx, scheduler.JobIdle{Lease: l.s.ID, Detail: idle})
		}
		if _, err := t.file.Append(b); err != nil {
			return err
		}
	}
	l.j.changes.Announce()
	return nil
}
