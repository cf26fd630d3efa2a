package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/proof"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"golang.org/x/sync/errgroup"
)

// maxProving is how many candidates are challenged at once: each spends energy that
// nobody pays.
const maxProving = 4

// challengeAgain is the pause after a provider that had no time.
const challengeAgain = 5 * time.Second

// provable is a query for offers that could serve the job if they prove themselves.
func (j *Job) provable(q market.Query) market.Query {
	if j.msg.Resources.MinEvidence != marketv1.Evidence_EVIDENCE_CHALLENGED {
		return q
	}
	return q.WithoutEvidence()
}

// unproved are offers of the best candidates that lack nothing but evidence: none
// where the job wants no more than their word, or who may not have it. Each is challenged once for a job.
func (j *Job) unproved(q market.Query, may func(souk.NodeKey) bool) (offers []*market.Offer) {
	if j.msg.Resources.MinEvidence != marketv1.Evidence_EVIDENCE_CHALLENGED {
		return nil
	}
	if j.asked == nil {
		j.asked = map[string]bool{}
	}
	for _, c := range market.Candidates(j.with.Book.Match(j.provable(q)), j.msg.Resources, j.msg.Limits.MaxDurationMs) {
		for _, p := range c.Parts {
			name := c.Provider.String() + "/" + p.Class
			if len(offers) < maxProving && !j.asked[name] && may(c.Provider) {
				j.asked[name] = true
				offers = append(offers, c.Offer(p.Class))
			}
		}
	}
	return offers
}

// prove challenges providers, each for one class after the other, and has the book
// looked at again: what they proved is in it. Why one did not is shown with the job.
// One that is slow does not use up the time in which the job must start.
func (j *Job) prove(ctx context.Context, offers []*market.Offer) {
	within := time.Duration(j.msg.Limits.StartWithinMs) * time.Millisecond / 2
	short, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	waiting, enough := context.WithCancel(short) // ends once somebody proved
	defer enough()
	of := map[souk.NodeKey][]*market.Offer{}
	for _, o := range offers {
		of[o.Provider] = append(of[o.Provider], o)
	}
	var g errgroup.Group
	for _, classes := range of {
		g.Go(func() error {
			for _, o := range classes {
				switch err := j.persist(short, waiting, o); {
				case err == nil:
					enough()
				case ctx.Err() == nil:
					j.unconvinced(ctx, o, err)
				}
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	j.post(ctx, bookFilled{})
}

// persist challenges again, until waiting ends, who is challenged by another or was
// challenged often.
func (j *Job) persist(ctx, waiting context.Context, o *market.Offer) error {
	for {
		err := j.challenge(ctx, o)
		no, ok := errors.AsType[*market.Refusal](err)
		passing := ok && (no.Reason == marketv1.DeclineReason_DECLINE_REASON_BUSY || no.Reason == marketv1.DeclineReason_DECLINE_REASON_RATE)
		if !passing || !network.Sleep(waiting, challengeAgain) {
			return err
		}
	}
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
