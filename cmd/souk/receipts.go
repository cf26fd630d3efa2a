package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/souk-market/souk/cmd/souk/verify"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/spf13/cobra"
)

func newReceipts(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "receipts [JOB]",
		Short: "List receipts, or export them with proofs",
		Long: `Lists the receipts of a job, or of all jobs. With --json they come with all that a
stranger needs to check them offline: both signatures, the proof of inclusion in this
node's log, the log's checkpoint, the anchor, and the samples that the telemetry root
is over, where this node has them. souk receipt verify reads that.`,
		Example: "  souk receipts 7f3a\n  souk receipts --json 7f3a > receipts.json",
		Args:    exactly("[JOB]"),
		RunE:    onJob(a.receipts),
	}
}

func (a *app) receipts(ctx context.Context, args []string) error {
	job := append(args, "")[0]
	res, err := a.daemon.Log.Receipts(ctx, &apiv1.ReceiptsRequest{Job: job, Proofs: a.json})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		var rs []*runv1.Receipt
		for _, r := range res.Receipts {
			rs = append(rs, r.Receipt)
		}
		return table(w, receiptHeading, receiptRows(rs))
	})
}

const receiptHeading = "RECEIPT LEASE KIND START RAN DUE"

func receiptRows(rs []*runv1.Receipt) (rows [][]string) {
	before := ranBefore{}
	for _, r := range rs {
		kind := "interval"
		if r.GetKind() == 2 {
			kind = "final"
		}
		rows = append(rows, []string{fmt.Sprint(r.GetSeq()), fmt.Sprintf("%.4x", r.GetLease()), kind,
			clock(time.UnixMilli(r.GetStartMs()).UTC().Format(time.RFC3339)),
			usageText(r, before.ran(r)), money(r.GetCumulativeDueAtoms())})
	}
	return rows
}

func newReceipt(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "receipt",
		Short:   "Check receipts offline",
		Long:    `Checks exported receipts. Nothing is asked of a daemon, a peer or a chain.`,
		Example: "  souk receipt verify receipts.json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("receipt: verify is missing: souk receipt verify FILE")
			}
			return words(cmd, args)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "verify FILE",
		Short: "Verify exported receipts offline",
		Long: `Verifies what souk receipts --json wrote: both signatures on each receipt, the chain
of receipts of each lease and its exact arithmetic, inclusion in the log, the
checkpoint's signature, the path to the anchored root, and the telemetry root of each
receipt that the samples are with. FILE may be - for stdin.

That the anchor's transaction is on its chain is not checked here: the transaction's
hash is printed to be looked up.`,
		Example: "  souk receipts --json 7f3a > receipts.json\n  souk receipt verify receipts.json",
		Args:    exactly("FILE"),
		RunE:    body(func(_ context.Context, args []string) error { return a.verifyReceipts(args[0]) }),
	})
	return cmd
}

func (a *app) verifyReceipts(name string) error {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usagef("%w", plainPath(err))
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, verify.MaxBytes+1))
	if err != nil {
		return usagef("%w", plainPath(err))
	}
	rs, err := verify.Decode(b)
	if err != nil {
		return usagef("%s is not what `souk receipts --json` writes: %w", name, err)
	}
	report := verify.Receipts(rs)
	if a.json {
		if err := a.line(report); err != nil {
			return err
		}
	} else if err := printReport(a.stdout, report); err != nil {
		return err
	}
	if len(report.Faults) > 0 {
		return &codeError{exitFailed, fmt.Errorf("%s does not verify: %s", name, counted(len(report.Faults), "fault"))}
	}
	return nil
}

func printReport(w io.Writer, r verify.Report) error {
	for _, f := range r.Faults {
		fmt.Fprintf(w, "fault       %s\n", f)
	}
	if err := pairs(w,
		"receipts", fmt.Sprintf("%d of %s, due %s", r.Receipts, counted(r.Leases, "lease"), r.Due),
		"signatures", fmt.Sprintf("%d by provider and client", r.Signed),
		"telemetry", fmt.Sprintf("%d with the samples that their roots are over", r.Telemetry),
		"log", fmt.Sprintf("%d included", r.Included),
		"anchor", fmt.Sprintf("%d under an anchored root", r.Anchored),
	); err != nil {
		return err
	}
	for _, c := range r.Checkpoints {
		fmt.Fprintf(w, "checkpoint  %s, size %d, root %s\n", c.Origin, c.Size, c.Root)
	}
	for _, n := range r.Anchors {
		fmt.Fprintf(w, "look up     transaction %s on chain %d has root %s (not checked offline)\n", n.Tx, n.ChainID, n.Root)
	}
	return nil
}
