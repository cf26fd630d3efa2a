package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/jobfile"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Lines of --json while a job is followed. The last line has no event.
type (
	stateLine struct {
		Event     string `json:"event"` // "state"
		Job       string `json:"job"`
		State     string `json:"state"`
		Provider  string `json:"provider"`
		PaidAtoms uint64 `json:"paid_atoms"`
		Detail    string `json:"detail,omitempty"` // what staging is about
	}
	receiptLine struct {
		Event              string `json:"event"` // "receipt"
		Seq                uint64 `json:"seq"`
		DeviceMilliseconds uint64 `json:"device_milliseconds"`
		DueAtoms           uint64 `json:"due_atoms"`
		Usage              []used `json:"usage,omitempty"` // so far, by the lines of the tariff
	}
	used struct {
		Unit     string `json:"unit"`
		Quantity uint64 `json:"quantity"`
		DueAtoms uint64 `json:"due_atoms"`
	}
	declineLine struct {
		Event     string `json:"event"` // "decline"
		Provider  string `json:"provider"`
		Reason    string `json:"reason"`
		Shortfall uint64 `json:"shortfall"`
		Detail    string `json:"detail"`
	}
)

// follower shows one job to a person or a script.
type follower struct {
	*app
	last    *apiv1.JobSummary
	said    time.Time // when the cost was last shown
	saidFor int
	before  ranBefore
}

// follow shows a job until it ends, and says how it ended; or, when ctx ends
// first, how to return to it. The outputs of file,
// which is nil for a job submitted earlier, are where it says by then.
func (a *app) follow(ctx context.Context, id string, file *jobfile.File) error {
	end, err := a.watch(ctx, id)
	if err != nil && ctx.Err() != nil {
		a.say("\nthe job runs on: souk logs -f %s follows it again, souk stop %s ends it", short(id), short(id))
	}
	if err != nil {
		return err
	}
	return errors.Join(a.finish(ctx, end), a.collect(end, file))
}

// watch shows a job until it ends. When ctx ends first it returns, and the job runs
// on.
func (a *app) watch(ctx context.Context, id string) (*apiv1.JobSummary, error) {
	f := &follower{app: a, before: ranBefore{}}
	err := f.receive(ctx, id)
	if f.last != nil {
		id = f.last.Job
	}
	switch {
	case daemon.Ended(f.last):
		return f.last, nil
	case ctx.Err() != nil:
		return nil, &codeError{exitInterrupted, nil}
	case err != nil && f.last == nil:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("lost sight of job %s, which goes on with its daemon (souk logs -f %s): %w", short(id), short(id), err)
	}
	return nil, fmt.Errorf("the daemon stopped telling of job %s (souk logs -f %s)", short(id), short(id))
}

// receive shows news until the daemon has no more.
func (f *follower) receive(ctx context.Context, id string) error {
	stream, err := f.daemon.Jobs.Follow(ctx, &apiv1.FollowRequest{Id: id, Logs: true})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if err := f.news(stream.Msg()); err != nil {
			return err
		}
	}
	return stream.Err()
}

func (f *follower) news(m *apiv1.FollowResponse) error {
	switch e := m.Event.(type) {
	case *apiv1.FollowResponse_Summary:
		before := f.last
		f.last = e.Summary
		if before == nil || before.State != e.Summary.State || before.Provider != e.Summary.Provider ||
			(e.Summary.State == "staging" || e.Summary.State == "running") && before.Detail != e.Summary.Detail && e.Summary.Detail != "" {
			return f.state(e.Summary)
		}
	case *apiv1.FollowResponse_Log:
		return f.jobOutput(e.Log)
	case *apiv1.FollowResponse_Receipt:
		return f.receipt(e.Receipt)
	case *apiv1.FollowResponse_Decline:
		d := e.Decline
		if f.json {
			return f.line(declineLine{"decline", d.Provider, d.Reason, d.Shortfall, d.Detail})
		}
		f.say("declined by %s: %s", short(d.Provider), declineText(d))
	}
	return nil
}

func (f *follower) state(s *apiv1.JobSummary) error {
	if f.json {
		line := stateLine{"state", s.Job, s.State, s.Provider, s.PaidAtoms, ""}
		if s.State == "staging" || s.State == "running" {
			line.Detail = s.Detail
		}
		return f.line(line)
	}
	line := s.State
	if s.Provider != "" {
		line += " at " + short(s.Provider)
	}
	switch {
	case s.State == "running" && s.Detail != "":
		line += ": " + s.Detail
	case s.State == "running" && len(s.Devices) > 1:
		line += " on " + devicesText(s.Devices)
	case s.State == "running":
		line += " for " + money(s.PriceAtomsPerHour) + "/h a device"
	case (s.State == "paused" || s.State == "staging") && s.Detail != "":
		line += ": " + s.Detail
	}
	if s.PaidAtoms > 0 {
		line += ", paid " + money(s.PaidAtoms) + " of at most " + money(s.ReserveAtoms)
	}
	f.say("%s", line)
	return nil
}

// receipt shows each of the first receipts, then one a minute: a day's job pays
// thousands of times.
func (f *follower) receipt(r *runv1.Receipt) error {
	ran := f.before.ran(r)
	if f.json {
		line := receiptLine{"receipt", r.Seq, totalRan(ran), r.CumulativeDueAtoms, nil}
		for _, l := range r.Usage {
			line.Usage = append(line.Usage, used{l.Unit, l.Quantity, l.DueAtoms})
		}
		return f.line(line)
	}
	if f.saidFor >= 20 && time.Since(f.said) < time.Minute && r.Kind == 1 {
		return nil
	}
	f.said, f.saidFor = time.Now(), f.saidFor+1
	word := "receipt"
	if r.Kind == 2 {
		word = "last receipt"
	}
	f.say("%s %d: %s, %s so far", word, r.Seq, usageText(r, ran), money(r.CumulativeDueAtoms))
	return nil
}

// finish says how the job ended: in words, in JSON, and by the exit code.
func (a *app) finish(ctx context.Context, s *apiv1.JobSummary) error {
	fault := daemon.FaultOf(s)
	code := exitFailed
	if f, ok := errors.AsType[*daemon.Fault](fault); ok {
		switch {
		case f.Job:
			code = exitJob
		case f.State == "no-match":
			code = exitNoMatch
			fault = errors.New(a.whyNot(ctx, s, f))
		case f.State == "unpaid":
			code = exitPayment
		}
	}
	if a.json {
		if err := a.line(daemon.ResultOf(s)); err != nil {
			return err
		}
	} else if fault == nil {
		a.say("done in %s: %s, paid %s", took(s), counted(s.Receipts, "receipt"), money(s.PaidAtoms))
		for _, name := range slices.Sorted(maps.Keys(s.Outputs)) {
			a.say("output /%s is %s (souk get %s DIR)", name, s.Outputs[name], short(s.Job))
		}
		if s.Detail != "" {
			a.say("%s", s.Detail)
		}
	}
	if fault == nil {
		return nil
	}
	return &codeError{code, fault}
}

// collect tells where the daemon wrote the outputs of an ended job, and whether
// one that its file wants is missing.
func (a *app) collect(s *apiv1.JobSummary, file *jobfile.File) error {
	if file == nil || s.State != "done" {
		return nil
	}
	for i, out := range file.Job.Outputs {
		to := file.SaveTo[i]
		if to == "" {
			continue
		}
		if _, err := os.Lstat(to); err != nil {
			return fmt.Errorf("output %s is not in %s: %s", out.From, to, s.Detail)
		}
		a.say("output %s is in %s", out.From, to)
	}
	return nil
}

// whyNot is what ruled offers out, or who declined, by how much.
func (a *app) whyNot(ctx context.Context, s *apiv1.JobSummary, f *daemon.Fault) string {
	all, err := a.daemon.Jobs.Get(ctx, &apiv1.GetRequest{Id: s.Job})
	if err != nil {
		return f.Reason
	}
	var why []string
	for _, attempt := range all.Attempts {
		for _, d := range attempt.Declines {
			if line := fmt.Sprintf("%s declined, %s", short(d.Provider), declineText(d)); !slices.Contains(why, line) {
				why = append(why, line)
			}
		}
	}
	if len(why) == 0 && len(all.Removals) > 0 {
		why = append(why, ruledOut(all.Removals, all.Removals[0].Removed+all.Removals[0].Left))
	}
	if len(why) == 0 {
		return f.Reason
	}
	return "no offer matches: " + strings.Join(why, "; ")
}

func took(s *apiv1.JobSummary) time.Duration {
	begin, err := time.Parse(time.RFC3339, s.Started)
	end, err2 := time.Parse(time.RFC3339, s.Ended)
	if err != nil || err2 != nil {
		return 0
	}
	return end.Sub(begin)
}
