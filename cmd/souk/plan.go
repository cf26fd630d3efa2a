package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/jobfile"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/payment"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// uncapped stands for "no cap" in a plan: far above any price, far below overflow.
const uncapped = 1_000_000 * souk.AtomsPerToken

// plan asks the daemon what the job would cost. Without an offer that fits, the
// error names the clause that ruled offers out.
func (a *app) plan(ctx context.Context, f *jobfile.File) (*apiv1.PlanResponse, error) {
	capped := f.Capped
	if !capped {
		if err := f.CapAt(uncapped); err != nil {
			return nil, err
		}
		f.Capped = false
	}
	plan, err := a.daemon.Jobs.Plan(ctx, &apiv1.PlanRequest{Job: f.Job})
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return plan, nil
}

// planLine is a plan in JSON.
type planLine struct {
	Event          string            `json:"event,omitempty"` // "plan" before other lines
	Job            plainjson.Value   `json:"job"`
	Query          string            `json:"query"`
	Candidates     []plainjson.Value `json:"candidates"`
	Removals       []plainjson.Value `json:"removals"`
	Total          uint32            `json:"total"`
	AvailableAtoms uint64            `json:"available_atoms"`
}

func newPlanLine(f *jobfile.File, p *apiv1.PlanResponse, event string) planLine {
	l := planLine{event, plainjson.Value{Message: f.Job}, p.Query, []plainjson.Value{}, []plainjson.Value{}, p.Total, p.AvailableAtoms}
	for _, c := range p.Candidates {
		l.Candidates = append(l.Candidates, plainjson.Value{Message: c})
	}
	for _, r := range p.Removals {
		l.Removals = append(l.Removals, plainjson.Value{Message: r})
	}
	return l
}

// showPlan is run --plan: the table or the object, and the exit code of a plan
// that leads nowhere.
func (a *app) showPlan(ctx context.Context, f *jobfile.File, p *apiv1.PlanResponse) error {
	if a.json {
		if err := a.addInputs(ctx, f); err != nil {
			return err
		}
		if err := a.line(newPlanLine(f, p, "")); err != nil {
			return err
		}
	} else if len(p.Candidates) > 0 {
		if err := planTable(a.stdout, f, p); err != nil {
			return err
		}
	}
	return a.noMatch(ctx, p)
}

// noMatch is the error of a plan that leads nowhere; nil for one that does. It
// names what ruled the offers out, or why there are none.
func (a *app) noMatch(ctx context.Context, p *apiv1.PlanResponse) error {
	if len(p.Candidates) > 0 {
		return nil
	}
	why := ruledOut(p.Removals, p.Total)
	if s, err := a.daemon.Node.Status(ctx, &apiv1.StatusRequest{}); err == nil {
		why = emptyBook(s, p.Total, why)
	}
	return &codeError{exitNoMatch, fmt.Errorf("no offer matches: %s", why)}
}

// emptyBook says why no offer came, as far as this node can tell.
func emptyBook(s *apiv1.StatusResponse, total uint32, otherwise string) string {
	ahead := time.Duration(s.ClockAheadMs) * time.Millisecond
	switch {
	case ahead.Abs() > wrongClock && total > 0:
		return otherwise + "; and this machine's clock is " + clockText(s)
	case ahead.Abs() > wrongClock:
		return "this machine's clock is " + clockText(s)
	case total > 0:
		return otherwise
	case s.Peers == 0:
		return "the book is empty: this node has no peer yet (`souk up --bootstrap ADDRESS` names one to begin with)"
	}
	return fmt.Sprintf("the book is empty: none of %s has heard of an offer", counted(s.Peers, "peer"))
}

// candidateDevices are the devices that a job would take, class by class.
func candidateDevices(c *apiv1.Candidate, count uint64) []*apiv1.DeviceClass {
	if len(c.Devices) > 0 {
		return c.Devices
	}
	o := c.Row.GetOffer()
	return []*apiv1.DeviceClass{{Class: o.GetClass(), Count: uint32(count), PriceAtomsPerHour: o.GetPriceAtomsPerHour()}}
}

// planTable lists the candidates, a line for each class of device, and what ruled the
// others out.
func planTable(w io.Writer, f *jobfile.File, p *apiv1.PlanResponse) error {
	devices := uint64(max(1, f.Job.Resources.GpuCount))
	var rows [][]string
	for _, c := range p.Candidates {
		cap := "-"
		if f.Capped {
			cap = money(c.CapAtoms)
		}
		first := []string{short(c.Row.GetProvider()), "", "", estimate(c.EstimateAtoms), cap, fmt.Sprint(c.Row.GetScore()), proofWord(c.Row)}
		for i, d := range candidateDevices(c, devices) {
			row := make([]string, len(first)) // the estimate and the cap are for all classes
			if i == 0 {
				row = first
			}
			row[1], row[2] = fmt.Sprintf("%d×%s", d.Count, d.Class), money(d.PriceAtomsPerHour*uint64(d.Count))
			rows = append(rows, row)
		}
	}
	if err := table(w, "PROVIDER DEVICE PRICE/H ESTIMATE CAP SCORE EVIDENCE", rows); err != nil {
		return err
	}
	if err := lineTable(w, p.Candidates); err != nil {
		return err
	}
	var out []string
	for _, r := range p.Removals {
		if r.Removed > 0 {
			out = append(out, fmt.Sprintf("%s rules out %d", r.Clause, r.Removed))
		}
	}
	if len(out) > 0 {
		fmt.Fprintf(w, "of %d offers, %s\n", p.Total, strings.Join(out, ", "))
	}
	if f.Job.Resources.MinEvidence == marketv1.Evidence_EVIDENCE_CHALLENGED {
		fmt.Fprintf(w, "devices without evidence of your own are challenged before they are ordered: what their provider says is none\n")
	}
	fmt.Fprintf(w, "the estimate is for the longest run, limits.max_duration; the cap is never passed\n")
	return nil
}

// lineTable lists the tariffs that price more than the time of devices, which the
// table above has: each line, and what it is expected to come to.
func lineTable(w io.Writer, candidates []*apiv1.Candidate) error {
	var rows [][]string
	for _, c := range candidates {
		if len(c.Lines) == 1 && c.Lines[0].Unit == payment.UnitDeviceMs {
			continue
		}
		for _, l := range c.Lines {
			use, cost := fmt.Sprint(l.Quantity), estimate(l.Atoms)
			if l.Unknown {
				use, cost = "-", "unit not known to this version"
			}
			rows = append(rows, []string{short(c.Row.GetProvider()), l.Unit, money(l.PriceAtoms), fmt.Sprint(l.Per), use, cost})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return table(w, "PROVIDER UNIT PRICE PER USE ESTIMATE", rows)
}

// estimate shows what is expected; nothing of an amount that cannot be.
func estimate(atoms uint64) string {
	if atoms >= math.MaxInt64 {
		return "-"
	}
	return money(atoms)
}

// hourly is what a candidate is expected to cost for one hour, over all devices. A
// cap is shared out evenly among the devices: it has to cover the dearest for each.
func hourly(job *jobv1.Job, c *apiv1.Candidate) souk.Atoms {
	var price uint64
	count := uint64(max(1, job.Resources.GpuCount))
	for _, d := range candidateDevices(c, count) {
		price = max(price, d.PriceAtomsPerHour*count)
	}
	high, low := bits.Mul64(c.EstimateAtoms, souk.MillisPerHour)
	if ms := job.Limits.MaxDurationMs; high < ms {
		share, rest := bits.Div64(high, low, ms)
		if rest > 0 {
			share++
		}
		price = max(price, share)
	}
	return max(souk.Atoms(price), 1) // who works for nothing is paid an atom at most
}

// decide shows the plan and gets consent, and a price cap where the file has none.
func (a *app) decide(ctx context.Context, f *jobfile.File, p *apiv1.PlanResponse, yes bool) error {
	if err := a.noMatch(ctx, p); err != nil {
		if a.json {
			err = errors.Join(a.line(newPlanLine(f, p, "")), err)
		}
		return err
	}
	if a.json {
		if err := a.line(newPlanLine(f, p, "plan")); err != nil {
			return err
		}
	} else if err := planTable(a.stderr, f, p); err != nil {
		return err
	}
	question := "Run it?"
	if !f.Capped {
		price := hourly(f.Job, p.Candidates[0])
		if err := f.CapAt(price); err != nil {
			return err
		}
		question = fmt.Sprintf("No price.max_per_hour is set. Run it for at most %s per hour and %s in all?",
			price, money(f.Job.Price.MaxTotalAtoms))
	}
	if yes {
		return nil
	}
	return a.confirm(ctx, question)
}

// confirm asks a person. Without an answer nothing happens.
func (a *app) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	// A read of a terminal cannot be called off: on Ctrl-C the process ends under it.
	go func() {
		line, _ := bufio.NewReader(a.stdin).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done():
		a.say("")
		return &codeError{exitInterrupted, nil}
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		case "":
			if !strings.HasSuffix(line, "\n") {
				a.say("")
				return usagef("nobody answered: pass -y to run without asking")
			}
		}
		return &codeError{exitFailed, errors.New("not run: nothing was spent")}
	}
}
