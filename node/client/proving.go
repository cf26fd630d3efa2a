package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/proof"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"golang.org/x/sync/errgroup"
)

// maxProving is how many candidates are challenged at once: each spends energy that
// nobody pays.
const maxProving = 4

// provable is a query for offers that could serve the job if they prove themselves.
func (j *Job) provable(q market.Query) market.Query {
	if j.msg.Resources.MinEvidence != marketv1.Evidence_EVIDENCE_CHALLENGED {
		return q
	}
	return q.WithoutEvidence()
}

// unproved are offers of the best candidates that lack nothing but evidence: none
// where the job wants no more than their word. Each is challenged once for a job.
func (j *Job) unproved(q market.Query) (offers []*market.Offer) {
	if j.msg.Resources.MinEvidence != marketv1.Evidence_EVIDENCE_CHALLENGED {
		return nil
	}
	if j.proved == nil {
		j.proved = map[string]bool{}
	}
	for _, c := range market.Candidates(j.with.Book.Match(j.provable(q)), j.msg.Resources, j.msg.Limits.MaxDurationMs) {
		for _, p := range c.Parts {
			name := c.Provider.String() + "/" + p.Class
			if len(offers) < maxProving && !j.proved[name] && !j.dealer.isSelf(c.Provider) {
				j.proved[name] = true
				offers = append(offers, c.Offer(p.Class))
			}
		}
	}
	return offers
}

// prove challenges providers, and has the book looked at again: what they proved is in
// it. Why one did not is shown with the job.
func (j *Job) prove(ctx context.Context, offers []*market.Offer) {
	var g errgroup.Group
	for _, o := range offers {
		g.Go(func() error {
			if err := j.challenge(ctx, o); err != nil && ctx.Err() == nil {
				j.unconvinced(ctx, o, err)
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	j.post(ctx, bookFilled{})
}

// challenge has an offer's devices prove themselves; nil where they did.
func (j *Job) challenge(ctx context.Context, o *market.Offer) error {
	e, err := j.with.Proofs.Challenge(ctx, o, proof.PlanFor(o, 0, 0), func(string) {})
	switch {
	case err != nil:
		return err
	case !e.Proved():
		return fmt.Errorf("not proved: %s", e.Fault)
	}
	return nil
}

// unconvinced shows why a provider is not asked.
func (j *Job) unconvinced(ctx context.Context, o *market.Offer, why error) {
	p, err := network.PeerID(o.Provider)
	if err != nil {
		return
	}
	refusal, ok := errors.AsType[*market.Refusal](why)
	if !ok {
		refusal = &market.Refusal{Reason: marketv1.DeclineReason_DECLINE_REASON_EVIDENCE, Detail: network.Clip(why.Error(), 200)}
	}
	j.declined(ctx, p, refusal)
}
