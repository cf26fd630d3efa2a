package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/spf13/cobra"
)

func newJobs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "jobs",
		Short:   "List jobs, newest first",
		Long:    `Lists the jobs of this node, newest first: where each stands and what it has cost.`,
		Example: "  souk jobs\n  souk jobs --json",
		Args:    exactly(),
		RunE:    body(a.jobs),
	}
}

func (a *app) jobs(ctx context.Context, _ []string) error {
	res, err := a.daemon.Jobs.List(ctx, &apiv1.ListRequest{})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		var rows [][]string
		for _, j := range res.Jobs {
			rows = append(rows, []string{short(j.Job), j.Name, j.State, dash(short(j.Provider)), money(j.PaidAtoms),
				fmt.Sprint(j.Receipts), clock(j.Started), clock(j.Ended), dash(j.Reason)})
		}
		return table(w, "JOB NAME STATE PROVIDER PAID RECEIPTS STARTED ENDED REASON", rows)
	})
}

// isJobID tells whether s can be a job's id or the beginning of one.
func isJobID(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// onJob is a body whose first argument, if there is one, is a job's id.
func onJob(f asker) func(*cobra.Command, []string) error {
	return body(func(ctx context.Context, args []string) error {
		if len(args) > 0 && !isJobID(args[0]) {
			return usagef("%q is not a job's id or the beginning of one: hex digits in small letters, such as 7f3a", args[0])
		}
		return f(ctx, args)
	})
}

func newJob(a *app) *cobra.Command {
	var metrics bool
	cmd := &cobra.Command{
		Use:   "job ID",
		Short: "All of one job: attempts, lease, receipts, reasons",
		Long: `Shows all that is known of a job: where it stands, each attempt with the refusals
it met, its receipts, its outputs. ID may be any unique beginning of the id.

With --metrics it shows what the leased devices measure, each second until the job
ends: use, memory, power, temperature, clocks, the energy used since the first
sample, Xids. What a device cannot tell is a dash. On a terminal the table is drawn
anew; elsewhere the last one is printed; with --json each sample is an object.`,
		Example: "  souk job 7f3a\n  souk job 7f3a --json\n  souk job 7f3a --metrics",
		Args:    exactly("ID"),
		RunE: onJob(func(ctx context.Context, args []string) error {
			if metrics {
				return a.metrics(ctx, args[0])
			}
			return a.job(ctx, args)
		}),
	}
	cmd.Flags().BoolVar(&metrics, "metrics", false, "show what the devices measure until the job ends")
	return cmd
}

func (a *app) job(ctx context.Context, args []string) error {
	res, err := a.daemon.Jobs.Get(ctx, &apiv1.GetRequest{Id: args[0]})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error { return printJob(w, res) })
}

func printJob(w io.Writer, res *apiv1.GetResponse) error {
	s := res.Summary
	if err := pairs(w,
		"job", s.GetJob(),
		"name", s.GetName(),
		"state", s.GetState(),
		"reason", strings.TrimSuffix(s.GetReason()+": "+s.GetDetail(), ": "),
		"exit code", exitCodeText(s),
		"provider", s.GetProvider(),
		"lease", s.GetLease(),
		"devices", devicesText(s.GetDevices()),
		"price", priceText(s),
		"paid", money(s.GetPaidAtoms())+" of at most "+money(s.GetReserveAtoms()),
		"started", s.GetStarted(),
		"ended", s.GetEnded(),
	); err != nil {
		return err
	}
	for name, cid := range s.GetOutputs() {
		fmt.Fprintf(w, "output %s  %s\n", name, cid)
	}
	if len(res.Attempts) > 0 {
		var rows [][]string
		for i, t := range res.Attempts {
			rows = append(rows, []string{fmt.Sprint(i + 1), dash(short(t.Provider)), dash(short(t.Lease)), dash(devicesText(t.Devices)), dash(t.Reason),
				money(t.PaidAtoms), clock(t.Started), clock(t.Ended)})
		}
		fmt.Fprintln(w)
		if err := table(w, "ATTEMPT PROVIDER LEASE DEVICES REASON PAID STARTED ENDED", rows); err != nil {
			return err
		}
		for _, t := range res.Attempts {
			for _, d := range t.Declines {
				fmt.Fprintf(w, "declined by %s: %s\n", short(d.Provider), declineText(d))
			}
		}
	}
	if len(res.Receipts) > 0 {
		fmt.Fprintln(w)
		if err := table(w, receiptHeading, receiptRows(res.Receipts)); err != nil {
			return err
		}
	}
	if len(res.Removals) > 0 {
		fmt.Fprintln(w)
		return removals(w, res.Removals)
	}
	return nil
}

// priceText is the price of one device; nothing where classes have prices of their own.
func priceText(s *apiv1.JobSummary) string {
	if len(s.GetDevices()) > 1 {
		return ""
	}
	return money(s.GetPriceAtomsPerHour()) + "/h a device"
}

// devicesText is what was leased, class by class, with the price of one device where
// it differs: "2×RTX_4090 at 0.4/h, 1×L40S at 0.9/h".
func devicesText(classes []*apiv1.DeviceClass) string {
	var text []string
	for _, d := range classes {
		t := fmt.Sprintf("%d×%s", d.Count, d.Class)
		if len(classes) > 1 {
			t += " at " + money(d.PriceAtomsPerHour) + "/h"
		}
		text = append(text, t)
	}
	return strings.Join(text, ", ")
}

func exitCodeText(s *apiv1.JobSummary) string {
	if s.GetState() == "done" || s.GetState() == "failed" {
		return fmt.Sprint(s.GetExitCode())
	}
	return ""
}

func declineText(d *apiv1.Decline) string {
	if d.Detail == "" || strings.HasPrefix(d.Detail, d.Reason) {
		return d.Reason + strings.TrimPrefix(d.Detail, d.Reason)
	}
	return d.Reason + ": " + d.Detail
}

func newLogs(a *app) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [-f] ID",
		Short: "Output of a job",
		Long: `Prints what a job wrote: its standard output to stdout, its standard error to
stderr. With -f it goes on until the job ends, and exits as run does.`,
		Example: "  souk logs 7f3a\n  souk logs -f 7f3a",
		Args:    exactly("ID"),
		RunE: onJob(func(ctx context.Context, args []string) error {
			if follow {
				return a.follow(ctx, args[0], nil)
			}
			return a.logs(ctx, args[0])
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "follow until the job ends")
	return cmd
}

func (a *app) logs(ctx context.Context, id string) error {
	stream, err := a.daemon.Jobs.Follow(ctx, &apiv1.FollowRequest{Id: id, Logs: true, Once: true})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if l := stream.Msg().GetLog(); l != nil {
			if err := a.jobOutput(l); err != nil {
				return err
			}
		}
	}
	return stream.Err()
}

// logLine is a piece of a job's output in JSON.
type logLine struct {
	Event  string `json:"event"` // "log"
	Stream string `json:"stream"`
	Offset uint64 `json:"offset"`
	Text   string `json:"text"`
}

// jobOutput passes on what a job wrote, stream by stream.
func (a *app) jobOutput(l *runv1.Log) error {
	if a.json {
		return a.line(logLine{"log", plainjson.Word(l.Stream), l.Offset, string(l.Data)})
	}
	w := a.stdout
	if l.Stream == runv1.LogStream_LOG_STREAM_STDERR {
		w = a.stderr
	}
	_, err := w.Write(l.Data)
	return err
}

func newStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "stop ID",
		Short: "Release a job",
		Long: `Ends a job early: its provider stops it, is paid for what ran, and the rest of the
reserve is free again. What the job had written comes back as its outputs.`,
		Example: "  souk stop 7f3a",
		Args:    exactly("ID"),
		RunE: onJob(func(ctx context.Context, args []string) error {
			res, err := a.daemon.Jobs.Stop(ctx, &apiv1.StopRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.line(daemon.ResultOf(res.Summary))
			}
			a.say("job %s is %s; paid %s", short(res.Summary.GetJob()), res.Summary.GetState(), money(res.Summary.GetPaidAtoms()))
			return nil
		}),
	}
}
