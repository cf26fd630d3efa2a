package api

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// samplesAtOnce bounds the samples in one message of Metrics, and so what a stream
// holds in memory.
const samplesAtOnce = 64

// leaseSamples is the telemetry of leases, from a place in it on.
type leaseSamples interface {
	From(lease souk.LeaseID, at int64, fn func(b []byte) error) (int64, error)
}

// meterReader is how far one stream of samples has come. It holds nothing of a run: it
// reads the file that the run writes, as slowly as its reader likes.
type meterReader struct {
	samples leaseSamples
	send    func(*apiv1.MetricsResponse) error
	since   int64
	places  map[string]int64 // of each attempt, by its lease: the next sample in its file
}

func newMeterReader(samples leaseSamples, since int64, send func(*apiv1.MetricsResponse) error) *meterReader {
	return &meterReader{samples: samples, send: send, since: since, places: map[string]int64{}}
}

// Metrics streams a job's samples until it ends.
func (s *jobsService) Metrics(ctx context.Context, req *apiv1.MetricsRequest, out *connect.ServerStream[apiv1.MetricsResponse]) error {
	j, err := s.job(req.Id)
	if err != nil {
		return err
	}
	if err := out.Send(nil); err != nil { // the answer begins although there is nothing to tell yet
		return err
	}
	m := newMeterReader(s.samples, req.SinceMs, out.Send)
	for {
		rec, news := j.Watch()
		if err := m.catchUp(rec.Attempts); err != nil {
			return err
		}
		if req.Once || !rec.Ended.IsZero() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		}
	}
}

// catchUp sends what came since the last time.
func (m *meterReader) catchUp(attempts []client.AttemptRecord) error {
	for _, at := range attempts {
		if at.Lease == "" {
			continue
		}
		d, err := souk.ParseDigest(at.Lease)
		if err != nil {
			return fmt.Errorf("lease of an attempt: %w", err)
		}
		if err := m.lease(souk.LeaseID{Digest: d}); err != nil {
			return err
		}
	}
	return nil
}

// lease does it for one attempt.
func (m *meterReader) lease(id souk.LeaseID) error {
	key := id.String()
	piece := &apiv1.MetricsResponse{Lease: key}
	next, err := m.samples.From(id, m.places[key], func(b []byte) error {
		sample, err := payment.OpenSample(b)
		if err != nil {
			return fmt.Errorf("telemetry of lease %s: %w", id.Short(), err)
		}
		if sample.AtMs < m.since {
			return nil
		}
		if piece.Samples = append(piece.Samples, sample); len(piece.Samples) < samplesAtOnce {
			return nil
		}
		err = m.send(piece)
		piece.Samples = nil
		return err
	})
	m.places[key] = next
	if err == nil && len(piece.Samples) > 0 {
		err = m.send(piece)
	}
	return err
}
