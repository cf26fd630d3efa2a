package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/market"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/spf13/cobra"
)

const offersLong = `Lists the offers this node knows. A query is clauses with spaces between; all
must hold:

  model=RTX_4090,L40S vram>=24GB compute_cap>=8.9 count>=1 price<=0.60 region=EU
  evidence>=challenged runner=oci order=price,-score limit=20

What can be asked: FIELDS.
slice=1g.10gb keeps the slices of that profile, slice=whole devices that are none.
together=3 keeps the offers of providers that have 3 devices free in all of them.
EVIDENCE is what a challenge by this node came to in the last day, and how long ago:
souk challenge says what it cannot show. What a provider says of itself is none.
Prices are tokens for one device and hour. With --explain each clause is listed
with the offers that it alone removes, those left after it and the clauses
before it, and those that would be left without it.`

func newOffers(a *app) *cobra.Command {
	var watch, explain bool
	cmd := &cobra.Command{
		Use:   "offers [QUERY]",
		Short: "The market as this node sees it",
		Long:  strings.Replace(offersLong, "FIELDS", strings.Join(market.Fields(), ", "), 1),
		Example: `  souk offers
  souk offers 'vram>=24GB price<=0.60 order=price'
  souk offers --explain 'model=L40S region=EU'
  souk offers --watch --json`,
		RunE: body(func(ctx context.Context, args []string) error {
			query := strings.Join(args, " ")
			if _, err := market.ParseQuery(query); err != nil {
				return usagef("query: %w", err)
			}
			if watch && explain {
				return usagef("--watch and --explain do not go together")
			}
			if watch {
				return a.watchOffers(ctx, query)
			}
			return a.offers(ctx, query, explain)
		}),
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "follow changes until interrupted")
	cmd.Flags().BoolVar(&explain, "explain", false, "say what each clause removes")
	return cmd
}

func (a *app) offers(ctx context.Context, query string, explain bool) error {
	res, err := a.daemon.Market.Offers(ctx, &apiv1.OffersRequest{Query: query, Explain: explain})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		var rows [][]string
		for _, r := range res.Offers {
			rows = append(rows, offerRow(r))
		}
		if err := table(w, offerHeading, rows); err != nil {
			return err
		}
		if explain {
			fmt.Fprintln(w)
			if err := removals(w, res.Removals); err != nil {
				return err
			}
		}
		a.say("%d of %d offers", len(res.Offers), res.Total)
		if res.Total == 0 {
			if s, err := a.daemon.Node.Status(ctx, &apiv1.StatusRequest{}); err == nil {
				a.say("%s", emptyBook(s, 0, ""))
			}
		}
		return nil
	})
}

func (a *app) watchOffers(ctx context.Context, query string) error {
	stream, err := a.daemon.Market.WatchOffers(ctx, &apiv1.WatchOffersRequest{Query: query})
	if err != nil {
		return err
	}
	defer stream.Close()
	if !a.json {
		fmt.Fprintln(a.stdout, "CHANGE  PROVIDER  CLASS  FREE  PRICE/H  REGION")
	}
	for stream.Receive() {
		change := stream.Msg()
		if a.json {
			if err := a.line(plainjson.Value{Message: change}); err != nil {
				return err
			}
			continue
		}
		word := "offer"
		if change.Ended {
			word = "ended"
		}
		o := change.Offer.GetOffer()
		fmt.Fprintf(a.stdout, "%-6s  %s  %s  %d/%d  %s  %s\n", word, short(change.Offer.GetProvider()), o.GetClass(),
			o.GetFree(), o.GetCount(), money(o.GetPriceAtomsPerHour()), dash(o.GetRegion()))
	}
	if err := stream.Err(); err != nil && ctx.Err() == nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New("the daemon ended the watch")
}

const offerHeading = "PROVIDER CLASS FREE MEMORY SLICE CC PRICE/H REGION RUNNERS EVIDENCE SCORE"

func offerRow(r *apiv1.OfferRow) []string {
	o := r.Offer
	var runners []string
	for _, x := range o.GetRunners() {
		runners = append(runners, plainjson.Word(x))
	}
	return []string{short(r.Provider), o.GetClass(), fmt.Sprintf("%d/%d", o.GetFree(), o.GetCount()),
		souk.FormatSize(o.GetMemoryBytes()), dash(market.SliceOf(o.GetClass())), capability(o.GetComputeCap()), money(o.GetPriceAtomsPerHour()), dash(o.GetRegion()),
		dash(strings.Join(runners, ",")), proofWord(r), fmt.Sprint(r.Score)}
}

// proofWord is what is known of an offer's devices, and since when.
func proofWord(r *apiv1.OfferRow) string {
	p := r.Proof
	at, err := time.Parse(time.RFC3339, p.GetAt())
	if err != nil && r.Offer.GetEvidence() > marketv1.Evidence_EVIDENCE_NONE {
		return "says " + evidence(r.Offer.GetEvidence())
	} else if err != nil {
		return "none"
	}
	word := "challenged"
	if !p.Proved {
		word = "failed"
	} else if p.Backend == "reference" {
		word = "challenged (processor)"
	} else if p.MemoryBytes < r.Offer.GetMemoryBytes()/2 {
		word = "challenged (part)"
	}
	return fmt.Sprintf("%s %s ago", word, max(0, time.Since(at)).Truncate(time.Minute))
}

func removals(w io.Writer, rs []*apiv1.Removal) error {
	var rows [][]string
	for _, r := range rs {
		rows = append(rows, []string{r.Clause, fmt.Sprint(r.Removed), fmt.Sprint(r.Left), fmt.Sprint(r.Without)})
	}
	return table(w, "CLAUSE REMOVES LEFT WITHOUT", rows)
}

// ruledOut names the clause that stands between a query and the book: the one
// without which most offers would be left, or else the one that removes most.
func ruledOut(rs []*apiv1.Removal, total uint32) string {
	if total == 0 {
		return "the book is empty: no provider's offer has reached this node"
	}
	var best *apiv1.Removal
	for _, r := range rs {
		if r.Removed > 0 && (best == nil || r.Without > best.Without || r.Without == best.Without && r.Removed > best.Removed) {
			best = r
		}
	}
	if best == nil {
		return fmt.Sprintf("none of %d offers is left", total)
	}
	line := fmt.Sprintf("%s rules out %d of %d offers", best.Clause, best.Removed, total)
	if best.Without > 0 {
		return fmt.Sprintf("%s; without it %d would match", line, best.Without)
	}
	return line + "; other clauses rule out the rest (`souk offers --explain` shows each)"
}
