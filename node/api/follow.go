package api

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// Get tells all of one job.
func (s *jobsService) Get(_ context.Context, req *apiv1.GetRequest) (*apiv1.GetResponse, error) {
	j, err := s.job(req.Id)
	if err != nil {
		return nil, err
	}
	rec, _ := j.Watch()
	out := &apiv1.GetResponse{Summary: rec.Summary(j.ID(), j.Message()), Job: j.Message(), Removals: removalRows(rec.Removals)}
	for _, at := range rec.Attempts {
		row := &apiv1.Attempt{Provider: at.Provider, Lease: at.Lease, Reason: at.Reason, Started: client.Stamp(at.Started), Ended: client.Stamp(at.Ended),
			DepositTx: at.DepositTx, PaidAtoms: uint64(at.Paid), Devices: at.Devices()}
		for _, d := range at.Declines {
			row.Declines = append(row.Declines, declineRow(d))
		}
		out.Attempts = append(out.Attempts, row)
	}
	if out.Receipts, err = jobReceipts(s.receipts, rec); err != nil {
		return nil, coded(err)
	}
	return out, nil
}

// declineRow shows one provider's refusal.
func declineRow(d client.DeclineRecord) *apiv1.Decline {
	return &apiv1.Decline{Provider: d.Provider, Reason: d.Reason, Shortfall: d.Shortfall, Detail: d.Detail}
}

// jobReceipts returns the countersigned receipts of all attempts, oldest first.
func jobReceipts(receipts leaseReceipts, rec client.Record) (out []*runv1.Receipt, err error) {
	for _, at := range rec.Attempts {
		if at.Lease == "" {
			continue
		}
		d, err := souk.ParseDigest(at.Lease)
		if err != nil {
			return nil, fmt.Errorf("lease of an attempt: %w", err)
		}
		rs, err := receipts.Of(souk.LeaseID{Digest: d})
		if err != nil {
			return nil, err
		}
		out = append(out, rs...)
	}
	return out, nil
}

// follower is how far one Follow stream has come.
type follower struct {
	j        *client.Job
	s        *connect.ServerStream[apiv1.FollowResponse]
	logs     bool
	meters   *meterReader // nil: no samples are wanted
	summary  []byte
	stdout   uint64
	stderr   uint64
	receipts int
	declines int
}

// Follow streams a job's changes and logs until it ends.
func (s *jobsService) Follow(ctx context.Context, req *apiv1.FollowRequest, out *connect.ServerStream[apiv1.FollowResponse]) error {
	j, err := s.job(req.Id)
	if err != nil {
		return err
	}
	f := &follower{j: j, s: out, logs: req.Logs}
	if req.SamplesSinceMs != nil {
		f.meters = newMeterReader(s.samples, *req.SamplesSinceMs, func(m *apiv1.MetricsResponse) error {
			return out.Send(&apiv1.FollowResponse{Event: &apiv1.FollowResponse_Metrics{Metrics: m}})
		})
	}
	for {
		rec, news := j.Watch()
		if err := f.catchUp(s.receipts, rec); err != nil {
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

// catchUp sends what the stream has not seen. Logs, samples and receipts go before the
// summary: who sees the end has seen all.
func (f *follower) catchUp(receipts leaseReceipts, rec client.Record) error {
	if f.logs {
		for _, l := range []struct {
			stream runv1.LogStream
			offset *uint64
		}{{runv1.LogStream_LOG_STREAM_STDOUT, &f.stdout}, {runv1.LogStream_LOG_STREAM_STDERR, &f.stderr}} {
			if err := f.log(l.stream, l.offset); err != nil {
				return err
			}
		}
	}
	if f.meters != nil {
		if err := f.meters.catchUp(rec.Attempts); err != nil {
			return err
		}
	}
	declines := 0
	for _, at := range rec.Attempts {
		for _, d := range at.Declines {
			if declines++; declines > f.declines {
				if err := f.s.Send(&apiv1.FollowResponse{Event: &apiv1.FollowResponse_Decline{Decline: declineRow(d)}}); err != nil {
					return err
				}
			}
		}
	}
	f.declines = declines
	all, err := jobReceipts(receipts, rec)
	if err != nil {
		return coded(err)
	}
	for _, r := range all[min(f.receipts, len(all)):] {
		if err := f.s.Send(&apiv1.FollowResponse{Event: &apiv1.FollowResponse_Receipt{Receipt: r}}); err != nil {
			return err
		}
	}
	f.receipts = len(all)
	return f.line(rec.Summary(f.j.ID(), f.j.Message()))
}

func (f *follower) log(stream runv1.LogStream, offset *uint64) error {
	buf := make([]byte, network.LogPiece)
	for {
		n := f.j.ReadLog(stream, buf, *offset)
		if n == 0 {
			return nil
		}
		err := f.s.Send(&apiv1.FollowResponse{Event: &apiv1.FollowResponse_Log{
			Log: &runv1.Log{Stream: stream, Offset: *offset, Data: buf[:n]}}})
		if err != nil {
			return err
		}
		*offset += uint64(n)
	}
}

// line sends the summary if it changed.
func (f *follower) line(s *apiv1.JobSummary) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode summary: %w", err)
	}
	if string(b) == string(f.summary) {
		return nil
	}
	f.summary = b
	return f.s.Send(&apiv1.FollowResponse{Event: &apiv1.FollowResponse_Summary{Summary: s}})
}
