// Command device tries souk on a machine with an NVIDIA card, in nine stages, and writes
// down what each came to: report.jsonl, an object a stage, and report.md, a page.
//
// It is made for a bare machine without a network, from a bundle that brings all it
// needs but the driver. Each stage is a process of its own with a limit of time, so that
// a driver that hangs costs that stage and no other. What cannot be tried is "cannot",
// with the reason; nothing is asked of the person who started it. Over stand-ins of the
// driver's libraries it is a dry run, and its report begins with that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Words that make this program another one.
const (
	wordStage = "stage" // a stage, by its name
	wordJob   = "job"   // what runs on the card, by its name
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// site is where a run takes place. All paths are absolute.
type site struct {
	Bundle string // bin/ with the programs, lib/ with their libraries
	Out    string // the report and what belongs to it
	Work   string // all else; short, since sockets lie in it; removed in the end
	Dry    bool   // the driver's libraries are stand-ins
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 1 && args[0] == wordJob {
		return job(args[1], args[2:], stdout, stderr)
	}
	flags := flag.NewFlagSet("device", flag.ContinueOnError)
	flags.SetOutput(stderr)
	bundle := flags.String("bundle", ".", "the folder of the unpacked bundle")
	out := flags.String("out", "device-report", "where the report goes")
	work := flags.String("work", "", "for one stage: the folder of the run")
	stage := flags.String(wordStage, "", "run one stage alone, as the run does")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	s, err := newSite(*bundle, *out, *work)
	if err == nil && *stage != "" {
		return stageMain(ctx, s, *stage, stdout)
	}
	if err == nil {
		err = all(ctx, s, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "device:", err)
		return 1
	}
	return 0
}

// newSite makes the folders that are not there.
func newSite(bundle, out, work string) (s site, err error) {
	for _, p := range []struct {
		to   *string
		from string
	}{{&s.Bundle, bundle}, {&s.Out, out}} {
		if *p.to, err = filepath.Abs(p.from); err != nil {
			return s, err
		}
	}
	for _, name := range standIns() {
		s.Dry = s.Dry || os.Getenv(name) != ""
	}
	if s.Work = work; work == "" {
		if s.Work, err = os.MkdirTemp("", "souk-dev-"); err != nil {
			return s, err
		}
	}
	return s, os.MkdirAll(s.Out, 0o755)
}

// standIns are the variables that put another library in place of the driver's.
func standIns() []string { return []string{"SOUK_NVML_LIBRARY", "SOUK_CUDA_LIBRARY"} }

// program is the path of a program of the bundle.
func (s site) program(name string) string { return filepath.Join(s.Bundle, "bin", name) }

// all runs every stage in turn and writes the report after each: a machine that is
// taken away has told what it knew.
func all(ctx context.Context, s site, stdout io.Writer) (err error) {
	defer func() { err = errors.Join(err, endEngine(s), os.RemoveAll(s.Work)) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r := report{dry: s.Dry}
	for i, st := range stages() {
		if ctx.Err() != nil {
			return ctx.Err() // what is left of the time is for removing what was made
		}
		if s.Dry {
			st.within *= 3 // of a test, beside others on a small machine
		}
		o := runStage(ctx, []string{self, "-bundle", s.Bundle, "-out", s.Out, "-work", s.Work, "-" + wordStage, st.name}, i, st)
		r.all = append(r.all, o)
		fmt.Fprintf(stdout, "%d %-10s %-8s %5.1f s %s\n", i, o.Name, o.Status, o.Seconds, first(o.Errors))
		if err := r.write(s.Out); err != nil {
			return err
		}
	}
	return nil
}
