package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/market"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
	"google.golang.org/protobuf/proto"
)

// app is what every command shares: the streams, the global flags and what
// follows from them.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	environ        func() []string  // NAME=VALUE each
	now            func() time.Time // the machine's clock

	home     string
	logLevel string
	logJSON  bool
	json     bool

	log    *slog.Logger
	daemon *daemon.Client
}

const rootLong = `souk is a peer-to-peer market for compute: owners sell idle devices, and whoever
has work gets a result, a bill and a proof. Nobody stands in the middle.

See it whole on this machine, with nothing configured:

  souk demo

Sell this machine's devices:

  souk init
  souk up --provide --price CPU=0.05

Run a job on somebody else's:

  souk up &
  souk run job.yaml

Exit codes: 0 done, 1 failed, 2 wrong usage or bad file, 3 no offer matches,
4 payment refused or short of funds, 5 daemon not reachable, 6 the job itself
failed, 130 interrupted. With --json a command prints one JSON object, or one
per line where it follows something. Each global flag has an environment
variable: SOUK_HOME, SOUK_LOG_LEVEL, SOUK_LOG_JSON, SOUK_JSON.`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:               "souk",
		Short:             "A peer-to-peer market for compute",
		Long:              rootLong,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              words,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.setup(cmd) },
	}
	f := root.PersistentFlags()
	f.StringVar(&a.home, "home", "", "where keys, ledger and files are (default $XDG_DATA_HOME/souk)")
	f.StringVar(&a.logLevel, "log-level", "info", "what is logged to stderr: debug, info, warn or error")
	f.BoolVar(&a.logJSON, "log-json", false, "log as JSON")
	f.BoolVar(&a.json, "json", false, "print JSON on stdout")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp(root))
	root.AddCommand(
		newDemo(a), newInit(a), newUp(a), newStatus(a), newDoctor(a), newGPUs(a), newReclaim(a), newDashboard(a), newOffers(a), newChallenge(a),
		newRun(a), newJobs(a), newJob(a), newLogs(a), newStop(a), newGet(a), newAdd(a), newCat(a),
		newWallet(a), newReceipts(a), newReceipt(a), newAnchors(a),
	)
	return root
}

// setup fills what flags leave open: environment, home, log, client.
func (a *app) setup(cmd *cobra.Command) error {
	if err := a.environment(cmd.Root().PersistentFlags()); err != nil {
		return err
	}
	var err error
	if a.home, err = homeDir(a.home, a.env); err != nil {
		return err
	}
	if info, err := os.Stat(a.home); err == nil && !info.IsDir() {
		return usagef("%s: %s is a file, not a folder", said(cmd, "home"), a.home)
	}
	var level slog.Level
	levels := []string{"debug", "info", "warn", "error"}
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil || !slices.Contains(levels, a.logLevel) {
		return usagef("%s: %q is not debug, info, warn or error%s", said(cmd, "log-level"), a.logLevel, hint(a.logLevel, levels, ""))
	}
	options := &slog.HandlerOptions{Level: level}
	a.log = slog.New(slog.NewTextHandler(a.stderr, options))
	if a.logJSON {
		a.log = slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	a.daemon = daemon.New(a.home, a.log)
	return nil
}

// environment gives the flags that were not given the value of their variable.
// A variable with the name of none, but near one, was meant for souk.
func (a *app) environment(flags *pflag.FlagSet) (err error) {
	known := []string{"PASSWORD", "PASSWORD_FILE"}
	flags.VisitAll(func(f *pflag.Flag) {
		name := variable(f.Name)
		known = append(known, strings.TrimPrefix(name, "SOUK_"))
		if value := a.env(name); value != "" && !f.Changed && err == nil {
			if bad := f.Value.Set(value); bad != nil {
				err = usagef("%s: %q is not %s", name, value, kindOf(f))
			}
		}
	})
	for _, variable := range a.environ() {
		name, value, _ := strings.Cut(variable, "=")
		name, ours := strings.CutPrefix(name, "SOUK_")
		if near := market.Nearest(name, known); ours && value != "" && near != "" && !slices.Contains(known, name) && err == nil {
			err = usagef("SOUK_%s is no variable of souk; did you mean SOUK_%s?", name, near)
		}
	}
	return err
}

// variable is the name that a global flag has in the environment.
func variable(flag string) string {
	return "SOUK_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// said is how a global flag was given: by itself or by its variable.
func said(cmd *cobra.Command, flag string) string {
	if cmd.Flags().Changed(flag) {
		return "--" + flag
	}
	return variable(flag)
}

func homeDir(flag string, env func(string) string) (string, error) {
	dir := flag
	if dir == "" {
		base := env("XDG_DATA_HOME")
		if base == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return "", usagef("no home: set SOUK_HOME or --home: %w", err)
			}
			base = filepath.Join(user, ".local", "share")
		}
		dir = filepath.Join(base, "souk")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("home: %w", err)
	}
	return abs, nil
}

// words refuses what is not a command, and names the nearest that is.
func words(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	if len(known) == 0 {
		return misusef(cmd, "%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return misusef(cmd, "%q is not a command of %s%s", args[0], cmd.CommandPath(), hint(args[0], known, ""))
}

// exactly wants one argument for each name; those in brackets may be missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return misusef(cmd, "%s: %q is one argument too many", cmd.CommandPath(), args[len(names)])
		}
		for _, missing := range names[len(args):] {
			if !strings.HasPrefix(missing, "[") {
				return misusef(cmd, "%s: %s is missing", cmd.CommandPath(), missing)
			}
		}
		return nil
	}
}

// flagError says in plain words what is wrong with a flag, and names the one
// nearest to one that does not exist.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return misusef(cmd, "%s: --%s: %q is not %s", cmd.CommandPath(), e.GetFlag().Name, e.GetValue(), kindOf(e.GetFlag()))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return misusef(cmd, "%s: --%s needs a value: %s", cmd.CommandPath(), e.GetFlag().Name, e.GetFlag().Usage)
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	switch {
	case !ok:
		return misusef(cmd, "%s: %w", cmd.CommandPath(), err)
	case unknown.GetSpecifiedShortnames() != "":
		return misusef(cmd, "%s: unknown flag: -%s", cmd.CommandPath(), unknown.GetSpecifiedName())
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	return misusef(cmd, "%s: unknown flag: --%s%s", cmd.CommandPath(), unknown.GetSpecifiedName(),
		hint(unknown.GetSpecifiedName(), known, "--"))
}

// kindOf is what the value of a flag should be.
func kindOf(f *pflag.Flag) string {
	switch kind := f.Value.Type(); kind {
	case "bool":
		return "true or false"
	case "uint32", "uint64":
		return "a whole number from 0"
	case "stringSlice":
		return "a list with commas between, such as a,b"
	default:
		return "a " + kind
	}
}

func hint(word string, known []string, prefix string) string {
	if n := market.Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %s%s?", prefix, n)
	}
	return ""
}

func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show what a command does, with its flags and examples",
		Example: "  souk help run\n  souk help wallet deposit",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 && !cmd.HasSubCommands() {
				cmd, rest = root, args
			}
			if err := words(cmd, rest); err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// show prints the result: m as JSON with --json, else what people prints.
func (a *app) show(m proto.Message, people func(w io.Writer) error) error {
	if a.json {
		return a.line(plainjson.Value{Message: m})
	}
	return people(a.stdout)
}

// line prints v as one line of JSON on stdout.
func (a *app) line(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false) // a query has < and > in it, and nobody puts this into a page
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}

// say tells people something on stderr.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// terminal tells whether stream is one that a person sits at.
func terminal(stream any) (fd int, ok bool) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// prompt asks for a password on the terminal; nil where there is none. When ctx
// ends first, the terminal shows again what is typed.
func (a *app) prompt(ctx context.Context) func(string) (string, error) {
	fd, ok := terminal(a.stdin)
	if !ok {
		return nil
	}
	return func(label string) (string, error) {
		before, err := term.GetState(fd)
		if err != nil {
			return "", err
		}
		fmt.Fprint(a.stderr, label)
		defer fmt.Fprintln(a.stderr)
		typed := make(chan string, 1)
		failed := make(chan error, 1)
		// A read of a terminal cannot be called off: on Ctrl-C the process ends under it.
		go func() {
			b, err := term.ReadPassword(fd)
			if err != nil {
				failed <- err
				return
			}
			typed <- string(b)
		}()
		select {
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), term.Restore(fd, before))
		case err := <-failed:
			return "", err
		case text := <-typed:
			return text, nil
		}
	}
}

// asker is the shape of a command's body.
type asker func(ctx context.Context, args []string) error

func body(f asker) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return f(cmd.Context(), args) }
}
