package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/client"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/proof"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	challengev1 "github.com/souk-market/souk/proto/souk/challenge/v1"
)

// proofs challenges providers, and knows what came of it.
type proofs interface {
	Challenge(ctx context.Context, o *market.Offer, plan proof.Plan, progress func(step string)) (*proof.Evidence, error)
	Own(provider souk.NodeKey, class string) *proof.Evidence
}

// errOneOffer asks for a class or a longer id.
var errOneOffer = errors.New("more than one offer is meant")

// Challenge has a provider prove its idle devices of a class.
func (s *marketService) Challenge(ctx context.Context, req *apiv1.ChallengeRequest, out *connect.ServerStream[apiv1.ChallengeResponse]) error {
	o, err := s.offerOf(req.Provider, req.Class)
	if err != nil {
		return coded(err)
	}
	plan := proof.PlanFor(o, req.Size, req.Rounds)
	if err := (challenge.Challenge{Devices: []string{o.Class}, Arithmetic: plan.Arithmetic, Size: plan.Size, Rounds: plan.Rounds}).Validate(); err != nil {
		return coded(&souk.Error{Code: souk.CodeInvalid, Err: err})
	}
	var sent error
	e, err := s.proofs.Challenge(ctx, o, plan, func(step string) {
		sent = errors.Join(sent, out.Send(&apiv1.ChallengeResponse{Step: step}))
	})
	if e != nil {
		return errors.Join(sent, out.Send(&apiv1.ChallengeResponse{Step: "done", Proof: proofRow(e)}))
	}
	if refused, ok := errors.AsType[*market.Refusal](err); ok {
		return coded(&souk.Error{Code: souk.CodeExhausted, Err: fmt.Errorf("the provider does not answer now: %w", refused), Fix: "nothing is known of its devices by that; ask again later"})
	}
	return coded(err)
}

// offerOf is the one live offer of a provider, whose id begins so, and class.
func (s *marketService) offerOf(provider, class string) (found *market.Offer, err error) {
	var classes []string
	for _, o := range s.book.Offers() {
		p, err := network.PeerID(o.Provider)
		if err != nil || provider == "" || !strings.HasPrefix(p.String(), provider) || class != "" && o.Class != class {
			continue
		}
		classes = append(classes, o.Class)
		if found != nil && found.Provider != o.Provider {
			return nil, &souk.Error{Code: souk.CodeInvalid, Err: errOneOffer, Fix: "more than one provider's id begins so: give more of it"}
		}
		found = o
	}
	switch {
	case found == nil:
		return nil, &souk.Error{Code: souk.CodeNotFound, Err: errors.New("no such offer"), Fix: "souk offers lists providers and classes"}
	case len(classes) > 1:
		slices.Sort(classes)
		return nil, &souk.Error{Code: souk.CodeInvalid, Err: errOneOffer, Fix: "choose a class: " + strings.Join(classes, ", ")}
	}
	return found, nil
}

// proofRow shows evidence.
func proofRow(e *proof.Evidence) *apiv1.Proof {
	terms := challenge.Challenge{Size: e.Size, Rounds: e.Rounds}
	row := &apiv1.Proof{Class: e.Class, Devices: e.Devices, Backend: e.Backend,
		Arithmetic: "int8", Size: e.Size, Rounds: e.Rounds, MemoryBytes: terms.MemoryBytes(), CommitUs: e.CommitUs, RecallUs: e.RecallUs,
		Tiles: e.Tiles, Judged: e.Judged, Proved: e.Proved(), Fault: e.Fault, At: client.Stamp(e.At)}
	if e.Arithmetic == challengev1.Arithmetic_ARITHMETIC_HALF {
		row.Arithmetic = "half"
	}
	row.Provider, row.Challenger = peerName(e.Provider), peerName(e.Challenger)
	return row
}

// peerName is a key as people see it.
func peerName(key souk.NodeKey) string {
	p, err := network.PeerID(key)
	if err != nil {
		return key.String()
	}
	return p.String()
}
