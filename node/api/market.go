package api

import (
	"context"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/offers"
	"github.com/souk-market/souk/node/proof"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
)

// offerBook is what the services ask of the book.
type offerBook interface {
	Match(q market.Query) []*market.Offer
	Explain(q market.Query) []market.Removal
	Offers() []*market.Offer
	Len() int
}

// bookWatch is a book whose changes can be followed.
type bookWatch interface {
	Watch(ctx context.Context) (<-chan offers.Change, error)
}

// scores is what this node knows of providers by its own dealings.
type scores interface {
	Score(provider souk.NodeKey) uint32
}

// marketService answers souk.api.v1.Market.
type marketService struct {
	book    offerBook
	changes bookWatch
	scores  scores
	proofs  proofs
}

// row shows an offer with what this node knows of its provider and its devices.
func (s *marketService) row(o *market.Offer) *apiv1.OfferRow {
	return provedRow(o, s.scores, s.proofs)
}

// provedRow shows an offer with what this node's own challenge of it came to.
func provedRow(o *market.Offer, s scores, p proofs) *apiv1.OfferRow {
	row := offerRow(o, s)
	if e := p.Own(o.Provider, o.Class); e != nil && time.Since(e.At) < proof.Fresh {
		row.Proof = proofRow(e)
	}
	return row
}

// offerRow shows an offer with what this node knows of its provider.
func offerRow(o *market.Offer, s scores) *apiv1.OfferRow {
	row := &apiv1.OfferRow{Provider: o.Provider.String(), Offer: o.Offer, Score: s.Score(o.Provider)}
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
func (s *marketService) Offers(_ context.Context, req *apiv1.OffersRequest) (*apiv1.OffersResponse, error) {
	q, err := market.ParseQuery(req.Query)
	if err != nil {
		return nil, coded(err)
	}
	out := &apiv1.OffersResponse{Total: uint32(s.book.Len())}
	for _, o := range s.book.Match(q) {
		out.Offers = append(out.Offers, s.row(o))
	}
	if req.Explain {
		out.Removals = removalRows(s.book.Explain(q))
	}
	return out, nil
}

// WatchOffers answers a query, then follows the book's changes.
func (s *marketService) WatchOffers(ctx context.Context, req *apiv1.WatchOffersRequest, out *connect.ServerStream[apiv1.WatchOffersResponse]) error {
	q, err := market.ParseQuery(req.Query)
	if err != nil {
		return coded(err)
	}
	changes, err := s.changes.Watch(ctx)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	for _, o := range s.book.Match(q) {
		if err := out.Send(&apiv1.WatchOffersResponse{Offer: s.row(o)}); err != nil {
			return err
		}
	}
	for c := range changes {
		if !c.Ended && !slices.Contains(s.book.Match(q), c.Offer) {
			continue
		}
		if err := out.Send(&apiv1.WatchOffersResponse{Offer: s.row(c.Offer), Ended: c.Ended}); err != nil {
			return err
		}
	}
	return nil
}
