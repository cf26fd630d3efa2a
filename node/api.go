package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment"
	"github.com/souk-market/souk/payment/ledger"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
	"github.com/souk-market/souk/storage/badger"
)

// api answers the services of souk.api.v1 for one node.
type api struct{ n *Node }

// coded gives an error the code by which the command line chooses its exit.
func coded(err error) error {
	var funds *money.FundsError
	var declined *declinedError
	var query *market.QueryError
	var inputs *inputError
	code := connect.CodeInternal
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*connect.Error)):
		return err
	case errors.As(err, &funds), errors.As(err, &declined), errors.Is(err, errTooMany):
		code = connect.CodeResourceExhausted
	case errors.As(err, &query), errors.As(err, &inputs), errors.Is(err, errAmbiguous):
		code = connect.CodeInvalidArgument
	case errors.Is(err, errNoJob):
		code = connect.CodeNotFound
	case errors.Is(err, errNoChain), errors.Is(err, money.ErrNothingToAnchor), errors.Is(err, badger.ErrLowDisk):
		code = connect.CodeFailedPrecondition
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	}
	return connect.NewError(code, err)
}

func invalid(format string, args ...any) error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
}

// Status tells what the daemon is doing.
func (a api) Status(ctx context.Context, _ *apiv1.StatusRequest) (*apiv1.StatusResponse, error) {
	n := a.n
	s := &apiv1.StatusResponse{Peer: n.host.ID().String(), Peers: uint32(len(n.host.Network().Peers())), Offers: uint32(n.book.Len()),
		Provider: n.provider != nil, Started: stamp(n.started), Rejects: n.rejects(), Api: n.apiURL(), Version: n.cfg.Version}
	ahead, peers := n.clocks.Difference()
	s.ClockAheadMs, s.ClockPeers = ahead.Milliseconds(), uint32(peers)
	if low := n.space.Room(0); low != nil {
		s.ReadOnly = low.Error()
	}
	if free, err := disk.FreeBytes(n.cfg.Home); err == nil {
		s.DiskFreeBytes = free
	}
	for _, addr := range n.host.Addrs() {
		s.Addresses = append(s.Addresses, addr.String()+"/p2p/"+s.Peer)
	}
	if n.provider != nil {
		s.Leases = n.provider.Live()
	}
	if n.chain == nil {
		return s, nil
	}
	s.Jobs, s.Wallet, s.ChainId = n.client.Live(), n.chain.Address().Hex(), n.chain.Domain().ChainID
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	block, _, err := n.chain.Block(ctx)
	if err != nil {
		s.ChainError = err.Error()
	}
	s.Block = block
	return s, nil
}

// rejects gathers what was refused, by where and why.
func (n *Node) rejects() map[string]uint64 {
	out := map[string]uint64{}
	for reason, c := range n.book.Rejects() {
		out["book:"+string(reason)] = c
	}
	for reason, c := range n.gossip.Rejects() {
		out["gossip:"+reason] = c
	}
	for r, c := range n.streams.Rejects() {
		out[string(r.Protocol)+":"+r.Reason] = c
	}
	return out
}

// Devices lists this machine's devices.
func (a api) Devices(context.Context, *apiv1.DevicesRequest) (*apiv1.DevicesResponse, error) {
	out := &apiv1.DevicesResponse{}
	for _, d := range a.n.devices.List() {
		row := &apiv1.Device{Id: d.ID, Class: d.Class, Model: d.Model, MemoryBytes: d.MemoryBytes, ComputeCap: d.ComputeCap,
			Mig: d.MIG, Health: d.Health, Evidence: d.Evidence, Simulated: d.Simulated}
		if p := a.n.provider; p != nil {
			row.PriceAtomsPerHour = uint64(p.cfg.Prices[d.Class])
			if lease, ok := p.Holder(d.ID); ok {
				row.Lease = lease.String()
			}
		}
		out.Devices = append(out.Devices, row)
	}
	return out, nil
}

func (n *Node) offerRow(o *market.Offer) *apiv1.OfferRow {
	row := &apiv1.OfferRow{Provider: o.Provider.String(), Offer: o.Offer, Score: n.receipts.Score(o.Provider)}
	if p, err := network.PeerID(o.Provider); err == nil {
		row.Provider = p.String()
	}
	return row
}

func removalRows(rs []market.Removal) (out []*apiv1.Removal) {
	for _, r := range rs {
		out = append(out, &apiv1.Removal{Clause: r.Clause, Removed: uint32(r.Removed), Left: uint32(r.Left), Without: uint32(r.Without)})
	}
	return out
}

// Offers answers a query over the book.
func (a api) Offers(_ context.Context, req *apiv1.OffersRequest) (*apiv1.OffersResponse, error) {
	q, err := market.ParseQuery(req.Query)
	if err != nil {
		return nil, coded(err)
	}
	out := &apiv1.OffersResponse{Total: uint32(a.n.book.Len())}
	for _, o := range a.n.book.Match(q) {
		out.Offers = append(out.Offers, a.n.offerRow(o))
	}
	if req.Explain {
		out.Removals = removalRows(a.n.book.Explain(q))
	}
	return out, nil
}

// WatchOffers answers a query, then follows the book's changes.
func (a api) WatchOffers(ctx context.Context, req *apiv1.WatchOffersRequest, s *connect.ServerStream[apiv1.WatchOffersResponse]) error {
	q, err := market.ParseQuery(req.Query)
	if err != nil {
		return coded(err)
	}
	changes, err := a.n.book.Watch(ctx)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	for _, o := range a.n.book.Match(q) {
		if err := s.Send(&apiv1.WatchOffersResponse{Offer: a.n.offerRow(o)}); err != nil {
			return err
		}
	}
	for c := range changes {
		if !c.Ended && !slices.Contains(a.n.book.Match(q), c.Offer) {
			continue
		}
		if err := s.Send(&apiv1.WatchOffersResponse{Offer: a.n.offerRow(c.Offer), Ended: c.Ended}); err != nil {
			return err
		}
	}
	return nil
}

// Plan says what a job would cost and where it could run.
func (a api) Plan(_ context.Context, req *apiv1.PlanRequest) (*apiv1.PlanResponse, error) {
	if err := CheckJob(req.Job); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	q := market.RequestQuery(req.Job.Resources, PricePerDevice(req.Job), req.Job.Limits.MaxDurationMs)
	out := &apiv1.PlanResponse{Total: uint32(a.n.book.Len()), Query: q.String(), Removals: removalRows(a.n.book.Explain(q)),
		AvailableAtoms: uint64(max(a.n.ledger.Balance(ledger.Wallet), 0))}
	for _, o := range a.n.book.Match(q) {
		c, err := a.candidate(req.Job, o)
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		out.Candidates = append(out.Candidates, c)
	}
	for _, rec := range a.n.channels.All() {
		if rec.Paying {
			out.AvailableAtoms += uint64(max(rec.Free(), 0))
		}
	}
	return out, nil
}

// candidate is an offer with what a job is expected to cost there, line by line,
// and at most.
func (a api) candidate(job *jobv1.Job, o *market.Offer) (*apiv1.Candidate, error) {
	c := &apiv1.Candidate{Row: a.n.offerRow(o)}
	var known payment.Tariff
	usage := UsageOf(job)
	for _, l := range o.Lines() {
		row := &apiv1.CostLine{Unit: l.Unit, PriceAtoms: l.Price, Per: l.Per, Unknown: !l.Known()}
		if l.Known() {
			known = append(known, l)
			row.Quantity, row.Atoms = usage.Of(l.Unit), uint64(usage.Cost(payment.Tariff{l}))
		}
		c.Lines = append(c.Lines, row)
	}
	c.EstimateAtoms = uint64(usage.Cost(known))
	most, err := Reserve(job, known, market.Devices(job.Resources))
	c.CapAtoms = uint64(most)
	return c, err
}

// Submit starts a job.
func (a api) Submit(ctx context.Context, req *apiv1.SubmitRequest) (*apiv1.SubmitResponse, error) {
	if a.n.client == nil {
		return nil, coded(errNoChain)
	}
	if err := CheckJob(req.Job); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	id, err := a.n.client.Submit(ctx, req.Job, req.SaveTo)
	if err != nil {
		return nil, coded(err)
	}
	return &apiv1.SubmitResponse{Id: id.String()}, nil
}

// List names the jobs, newest first.
func (a api) List(context.Context, *apiv1.ListRequest) (*apiv1.ListResponse, error) {
	out := &apiv1.ListResponse{}
	if a.n.client != nil {
		for _, j := range a.n.client.List() {
			out.Jobs = append(out.Jobs, j.Summary())
		}
	}
	return out, nil
}

func (a api) job(id string) (*job, error) {
	if a.n.client == nil {
		return nil, coded(errNoChain)
	}
	j, err := a.n.client.Find(id)
	return j, coded(err)
}

// Stop releases a job.
func (a api) Stop(_ context.Context, req *apiv1.StopRequest) (*apiv1.StopResponse, error) {
	j, err := a.job(req.Id)
	if err != nil {
		return nil, err
	}
	if rec, _ := j.Watch(); rec.Ended.IsZero() {
		j.Stop()
	}
	return &apiv1.StopResponse{Summary: j.Summary()}, nil
}

// reasonName is an end reason for people and logs.
func reasonName(r runv1.EndReason) string { return string(scheduler.ReasonOf(r)) }

// phaseName is a phase for logs.
func phaseName(p runv1.Phase) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PHASE_"))
}

// faucetWithin bounds a faucet call: a devnet mines in a second.
const faucetWithin = 30 * time.Second
