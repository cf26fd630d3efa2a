package market

import (
	"cmp"
	"slices"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Candidate is what one provider could lease for a request, as far as its offers
// tell.
type Candidate struct {
	Provider souk.NodeKey
	Offers   []*Offer // those that fit, at least one
	Parts    []Part   // the devices that would be taken: of one offer, or of several where the request is mixed
}

// Candidates makes of offers that match a request, as [RequestQuery] asks for them,
// what could be leased. Each offer is one candidate, in their order; of a mixed
// request it is each provider, and the one at which the longest run is expected to
// cost least comes first.
func Candidates(offers []*Offer, r *marketv1.Resources, durationMs uint64) []Candidate {
	if !r.GetMixed() {
		all := make([]Candidate, len(offers))
		for i, o := range offers {
			all[i] = Candidate{o.Provider, offers[i : i+1 : i+1], []Part{o.part(Devices(r))}}
		}
		return all
	}
	var all []Candidate
	places := map[souk.NodeKey]int{}
	for _, o := range offers {
		i, known := places[o.Provider]
		if !known {
			i = len(all)
			places[o.Provider] = i
			all = append(all, Candidate{Provider: o.Provider})
		}
		all[i].Offers = append(all[i].Offers, o)
		all[i].Parts = append(all[i].Parts, o.part(int(o.Free)))
	}
	kept, costs := all[:0], map[souk.NodeKey]souk.Atoms{}
	for _, c := range all {
		enough := false
		if c.Parts, enough = Cheapest(c.Parts, Devices(r), durationMs); enough {
			kept = append(kept, c)
			costs[c.Provider] = c.Cost(durationMs)
		}
	}
	slices.SortStableFunc(kept, func(a, b Candidate) int { return cmp.Compare(costs[a.Provider], costs[b.Provider]) })
	return kept
}

// part is so many devices of an offer.
func (o *Offer) part(count int) Part {
	var lines payment.Tariff
	for _, l := range o.Tariff {
		if l.GetUnit() != payment.UnitDeviceMs {
			lines = append(lines, payment.Line{Unit: l.GetUnit(), Price: l.GetPriceAtoms(), Per: l.GetPer()})
		}
	}
	return Part{o.Class, count, o.PriceAtomsPerHour, lines}
}

// Offer is the candidate's offer of a class; nil without one.
func (c *Candidate) Offer(class string) *Offer { return offerOfClass(c.Offers, class) }

func offerOfClass(offers []*Offer, class string) *Offer {
	for _, o := range offers {
		if o.Class == class {
			return o
		}
	}
	return nil
}

// Lines is what the candidate's devices cost, as posted. Units of a later version
// may be among them.
func (c *Candidate) Lines() payment.Tariff {
	if len(c.Parts) == 1 {
		return c.Offer(c.Parts[0].Class).Lines()
	}
	return Quote(c.Parts...)
}

// Classes counts the devices that would be taken as a lease's terms do: a single
// class has no name there.
func (c *Candidate) Classes() []payment.ClassCount { return classesOf(c.Parts) }

// Cost is what so many milliseconds on the candidate's devices are expected to cost.
func (c *Candidate) Cost(durationMs uint64) souk.Atoms {
	return UsageOn(c.Classes(), durationMs).Cost(c.Lines())
}
