// Command soak runs the long forms of souk's tests for as long as it is given:
// crashes of real processes, simulated markets, damaged disks, misbehaving peers
// and every fuzz target, one after another, each for its share of the time.
//
// It ends with a table of attempts and failures. Each attempt has a seed; each
// failure is listed with the command that plays it again, and with its output
// below bin/soak.
//
//	go run ./integration/soak -budget 2h
//	go run ./integration/soak -budget 10m -only crash -seed 1000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	budget := flags.Duration("budget", 2*time.Hour, "time for all of it; what is under way when it ends is finished")
	only := flags.String("only", "", "run the forms whose name matches this expression")
	seed := flags.Uint64("seed", 1, "the first seed of each form")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	match, err := regexp.Compile(*only)
	if err != nil || *budget <= 0 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "soak: -only must be an expression, -budget a duration above zero such as 30m, and nothing may follow the flags")
		return 2
	}
	b, err := newBuilds(stdout)
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
		return 1
	}
	defer b.close()
	all, err := b.forms(ctx, match)
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
		return 1
	}
	if len(all) == 0 {
		fmt.Fprintf(stderr, "soak: no form matches %q\n", *only)
		return 2
	}
	results := b.soak(ctx, all, *budget, *seed)
	if !summary(stdout, results) || ctx.Err() != nil {
		return 1
	}
	return 0
}

// soak runs each form for its share of what is left, so that one that ends early
// leaves its time to the others.
func (b *builds) soak(ctx context.Context, all []form, budget time.Duration, seed uint64) (results []result) {
	end := time.Now().Add(budget)
	shares := 0
	for _, f := range all {
		shares += f.share
	}
	for _, f := range all {
		if ctx.Err() != nil {
			break
		}
		part := time.Until(end) * time.Duration(f.share) / time.Duration(shares)
		shares -= f.share
		results = append(results, b.run(ctx, f, part, seed))
	}
	return results
}

// summary prints the table, and tells whether nothing failed.
func summary(w io.Writer, results []result) bool {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FORM\tATTEMPTS\tFAILED\tTIME\tSEEDS")
	clean := true
	for _, r := range results {
		seeds := "none"
		if r.attempts > 0 {
			seeds = fmt.Sprintf("%d to %d", r.seed, r.seed+r.attempts-1)
		}
		if r.form.fuzz {
			seeds = "found by coverage"
		}
		fmt.Fprintf(t, "%s\t%d %s%s\t%d\t%s\t%s\n", r.form.name, r.attempts, r.form.unit, r.short(), len(r.failures), r.took.Round(time.Second), seeds)
		clean = clean && len(r.failures) == 0
	}
	t.Flush()
	for _, r := range results {
		for _, f := range r.failures {
			fmt.Fprintf(w, "\nFAILED %s\n  again:  %s\n  output: %s\n", r.form.name, f.again, f.output)
		}
	}
	return clean
}

// short says how far a form stayed behind what it is meant to reach.
func (r result) short() string {
	switch {
	case r.attempts == 0:
		return ": out of time"
	case r.attempts < r.form.wanted:
		return fmt.Sprintf(" of %d: out of time", r.form.wanted)
	}
	return ""
}
