package api

import (
	"context"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Jobs is the client role.
type Jobs interface {
	Submit(ctx context.Context, msg *jobv1.Job, saveTo []string) (souk.JobID, error)
	Find(prefix string) (*client.Job, error)
	List() []*client.Job
	Live() uint32
}

// jobsService answers souk.api.v1.Jobs.
type jobsService struct {
	jobs     Jobs // nil: this node has no chain
	book     offerBook
	scores   scores
	proofs   proofs
	receipts leaseReceipts
	samples  leaseSamples
	wallet   interface {
		Balance(ledger.Account) souk.Atoms
	}
	channels interface{ All() []*money.Channel }
}

// leaseReceipts are the receipts of this node by lease.
type leaseReceipts interface {
	Of(lease souk.LeaseID) ([]*runv1.Receipt, error)
}

// Plan says what a job would cost and where it could run.
func (s *jobsService) Plan(_ context.Context, req *apiv1.PlanRequest) (*apiv1.PlanResponse, error) {
	if err := client.CheckJob(req.Job); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	q := market.JobQuery(req.Job, client.PricePerDevice(req.Job))
	out := &apiv1.PlanResponse{Total: uint32(s.book.Len()), Query: q.String(), Removals: removalRows(s.book.Explain(q)),
		AvailableAtoms: uint64(max(s.wallet.Balance(ledger.Wallet), 0))}
	if req.Job.Resources.MinEvidence == marketv1.Evidence_EVIDENCE_CHALLENGED {
		q = q.WithoutEvidence() // the job challenges who has none
	}
	for _, found := range market.Candidates(s.book.Match(q), req.Job.Resources, req.Job.Limits.MaxDurationMs) {
		c, err := s.candidate(req.Job, &found)
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		out.Candidates = append(out.Candidates, c)
	}
	for _, rec := range s.channels.All() {
		if rec.Paying {
			out.AvailableAtoms += uint64(max(rec.Free(), 0))
		}
	}
	return out, nil
}

// candidate is what a job could take, with what it is expected to cost there, line by
// line, and at most.
func (s *jobsService) candidate(job *jobv1.Job, found *market.Candidate) (*apiv1.Candidate, error) {
	c := &apiv1.Candidate{Row: provedRow(found.Offer(found.Parts[0].Class), s.scores, s.proofs)}
	for _, p := range found.Parts {
		if len(found.Parts) > 1 {
			c.Devices = append(c.Devices, &apiv1.DeviceClass{Class: p.Class, Count: uint32(p.Count), PriceAtomsPerHour: p.Price})
		}
	}
	var known payment.Tariff
	usage := market.UsageOn(found.Classes(), job.Limits.MaxDurationMs)
	for _, l := range found.Lines() {
		row := &apiv1.CostLine{Unit: l.Unit, PriceAtoms: l.Price, Per: l.Per, Unknown: !l.Known()}
		if l.Known() {
			known = append(known, l)
			row.Quantity, row.Atoms = usage.Of(l.Unit), uint64(usage.Cost(payment.Tariff{l}))
		}
		c.Lines = append(c.Lines, row)
	}
	c.EstimateAtoms = uint64(usage.Cost(known))
	most, err := client.Reserve(job, known, found.Classes())
	c.CapAtoms = uint64(most)
	return c, err
}

// Submit starts a job.
func (s *jobsService) Submit(ctx context.Context, req *apiv1.SubmitRequest) (*apiv1.SubmitResponse, error) {
	if s.jobs == nil {
		return nil, coded(ErrNoChain)
	}
	if err := client.CheckJob(req.Job); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	id, err := s.jobs.Submit(ctx, req.Job, req.SaveTo)
	if err != nil {
		return nil, coded(err)
	}
	return &apiv1.SubmitResponse{Id: id.String()}, nil
}

// List names the jobs, newest first.
func (s *jobsService) List(context.Context, *apiv1.ListRequest) (*apiv1.ListResponse, error) {
	out := &apiv1.ListResponse{}
	if s.jobs != nil {
		for _, j := range s.jobs.List() {
			out.Jobs = append(out.Jobs, j.Summary())
		}
	}
	return out, nil
}

func (s *jobsService) job(id string) (*client.Job, error) { return findJob(s.jobs, id) }

// findJob returns the job whose id begins so; jobs is nil on a node without a chain.
func findJob(jobs Jobs, id string) (*client.Job, error) {
	if jobs == nil {
		return nil, coded(ErrNoChain)
	}
	j, err := jobs.Find(id)
	return j, coded(err)
}

// Stop releases a job.
func (s *jobsService) Stop(_ context.Context, req *apiv1.StopRequest) (*apiv1.StopResponse, error) {
	j, err := s.job(req.Id)
	if err != nil {
		return nil, err
	}
	if rec, _ := j.Watch(); rec.Ended.IsZero() {
		j.Stop()
	}
	return &apiv1.StopResponse{Summary: j.Summary()}, nil
}
