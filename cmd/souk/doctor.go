package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/daemon"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

const doctorLong = `Checks what souk needs of this machine, one line each: ok, warn or fail, and below a
line that is not ok, what to do. Without a daemon it checks the home, the keys, the
settings, the disk, the ports, the chain, the container engine and the GPUs; with one
also who reaches it, its peers and its clock. Exit code 1 when a line says fail.

With --gpu it also starts a container on each GPU that is well, as a job
would be started, in an image that has nothing in it: it looks at the device from
inside, starts CUDA, computes nothing, and is gone after a few seconds.`

func newDoctor(a *app) *cobra.Command {
	var try bool
	var to string
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Check this machine, and say what to mend",
		Long:    doctorLong,
		Example: "  souk doctor\n  souk doctor --json\n  souk doctor --gpu --report doctor.json",
		Args:    exactly(),
	}
	cmd.RunE = body(func(ctx context.Context, _ []string) error {
		if cmd.Flags().Changed("report") {
			if err := checkReport(to); err != nil {
				return usagef("--report: %w", err)
			}
		}
		return a.doctor(ctx, try, to)
	})
	cmd.Flags().BoolVar(&try, "gpu", false, "start a container on each GPU")
	cmd.Flags().StringVar(&to, "report", "", "also write what was found to this file, as JSON")
	return cmd
}

// checkReport refuses the name of a file that cannot be written.
func checkReport(name string) error {
	if name == "" {
		return errors.New("no file is named")
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder", name)
	}
	if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s", filepath.Dir(name))
	}
	return nil
}

// How a check can end.
const (
	checkOK   = "ok"
	checkWarn = "warn" // it works, but not all of it
	checkFail = "fail"
)

// finding is what one check found.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`  // ok, warn or fail
	Detail string `json:"detail"` // one line for people
	Fix    string `json:"fix,omitempty"`
}

func fine(format string, args ...any) finding {
	return finding{State: checkOK, Detail: fmt.Sprintf(format, args...)}
}

func warn(fix, format string, args ...any) finding {
	return finding{State: checkWarn, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(fix, format string, args ...any) finding {
	return finding{State: checkFail, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

// patient is what the checks look at.
type patient struct {
	app    *app
	config config
	status *apiv1.StatusResponse // nil: no daemon runs
}

// doctor checks all, with a container on each GPU if try says so, and also writes what
// it found to a file, if one is named.
func (a *app) doctor(ctx context.Context, try bool, to string) error {
	p := patient{app: a}
	var found []finding
	add := func(name string, all ...finding) {
		for _, f := range all {
			f.Check = name
			found = append(found, f)
		}
	}
	add("home", p.home())
	add("keys", p.keys())
	add("settings", p.settings())
	add("daemon", p.daemon(ctx))
	add("disk", p.disk())
	add("ports", p.ports(ctx))
	add("chain", p.chain(ctx))
	add("engine", p.engine(ctx))
	add("gpu", p.gpus(ctx)...)
	if try {
		add("trial", p.trials(ctx)...)
	}
	if p.status != nil {
		add("reach", p.reach())
		add("peers", p.peers())
		add("clock", p.clock())
	}
	return a.report(found, to)
}

// report prints what was found, writes it to a file if one is named, and fails if
// anything did.
func (a *app) report(found []finding, to string) error {
	var failed int
	for _, f := range found {
		if f.State == checkFail {
			failed++
		}
	}
	all := map[string]any{"checks": found, "failed": failed}
	if to != "" {
		text, err := json.MarshalIndent(all, "", "  ")
		if err == nil {
			err = os.WriteFile(to, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("doctor: report: %w", err)
		}
	}
	if a.json {
		if err := a.line(all); err != nil {
			return err
		}
	} else {
		printFindings(a.stdout, found)
	}
	if failed > 0 {
		return &souk.Error{Code: souk.CodeState, Err: fmt.Errorf("doctor: %s", counted(failed, "check")+" failed")}
	}
	return nil
}

func printFindings(w io.Writer, found []finding) {
	for _, f := range found {
		fmt.Fprintf(w, "%-4s  %-8s  %s\n", f.State, f.Check, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(w, "%16s→ %s\n", "", f.Fix)
		}
	}
}

// daemon asks whether one runs, for the checks that follow.
func (p *patient) daemon(ctx context.Context) finding {
	s, err := p.app.daemon.Node.Status(ctx, &apiv1.StatusRequest{})
	switch {
	case errors.Is(err, daemon.ErrUnreachable):
		return warn("souk up", "none runs in this home")
	case err != nil:
		return fail("look at what `souk up` printed, and start it again", "it answers with an error: %v", err)
	case s.ReadOnly != "":
		p.status = s
		return fail("", "%s", s.ReadOnly)
	}
	p.status = s
	return fine("runs as %s since %s", short(s.Peer), s.Started)
}
