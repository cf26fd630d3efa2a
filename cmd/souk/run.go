package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/jobfile"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const runLong = `Runs a job at a provider: shows a priced plan, asks, then follows phases, output
and cost until the outputs are back. Nothing is spent before you say yes. Ctrl-C
leaves the job running and says how to return.

The job is a file (docs: the job file of INTERFACES.md), or a WebAssembly module
with its arguments after --, or an image, by digest, tag or content id, with the whole
command after --; without one the image's own is run. Flags say what the file says, in the same
words, and win over it.`

const runExample = `  souk run job.yaml
  souk run --plan job.yaml
  souk run -y --max-price 0.50 --in ./data --out ./result train.wasm -- --epochs 5
  souk run --max-price 0.50 docker.io/library/python:3.12-slim -- python -c 'print(6*7)'
  souk run -y --detach job.yaml`

// runFlags are the flags of run beside those that stand for keys of the file.
type runFlags struct {
	yes, plan, detach bool
	env, in           []string
	out               string
}

// keyFlags are the flags that stand for a key of the job file.
var keyFlags = []struct{ flag, key, usage string }{
	{"name", "name", "the job's name"},
	{"image", "image", "the image to run, by digest or tag, or ipfs:// and a content id"},
	{"cpu", "cpu", "processor cores, such as 2 or 0.5"},
	{"memory", "memory", "host memory, such as 4GB"},
	{"disk", "disk", "scratch disk, such as 10GB"},
	{"gpu", "gpu.count", "GPUs; 0 means that the processor is enough"},
	{"vram", "gpu.vram", "memory of one GPU, such as 24GB.. or 16GB..48GB"},
	{"model", "gpu.model", "accepted device classes, such as RTX_4090,L40S"},
	{"isolation", "isolation", "any, wasm, gvisor or oci"},
	{"max-price", "price.max_per_hour", "the most for one hour, in tokens"},
	{"max-total", "price.max_total", "the most in all, in tokens"},
	{"pay-every", "price.pay_every", "time between payments, such as 10s"},
	{"start-within", "limits.start_within", "how long to look for a provider, such as 5m"},
	{"max-duration", "limits.max_duration", "the longest run, such as 6h"},
}

func newRun(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:     "run FILE | run [flags] IMAGE_OR_WASM -- ARG…",
		Short:   "Run a job: plan, confirm, follow",
		Long:    runLong,
		Example: runExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := readJob(cmd, args)
			if err != nil {
				return err
			}
			if err := f.apply(cmd.Flags(), spec); err != nil {
				return err
			}
			return a.run(cmd.Context(), spec, f)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fs.BoolVar(&f.plan, "plan", false, "stop after the plan; nothing is spent")
	fs.BoolVar(&f.detach, "detach", false, "submit and return at once")
	fs.StringArrayVar(&f.in, "in", nil, "a path or content id for /in, or FROM:TO with TO below /in (repeatable)")
	fs.StringVar(&f.out, "out", "", "where /out is written when the job has ended")
	fs.StringArrayVar(&f.env, "env", nil, "a variable, NAME=VALUE (repeatable)")
	for _, k := range keyFlags {
		fs.String(k.flag, "", k.usage)
	}
	return cmd
}

// readJob reads the file, or starts a job from the module or image named.
func readJob(cmd *cobra.Command, args []string) (*jobfile.Spec, error) {
	dash := cmd.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	}
	if dash == 0 {
		return nil, misusef(cmd, "run: FILE is missing: a job file, or a module or image with its arguments after --")
	}
	if dash > 1 {
		return nil, misusef(cmd, "run: %q is one argument too many: the job's own come after --", args[1])
	}
	name, rest := args[0], args[dash:]
	if name == "" {
		return nil, misusef(cmd, "run: FILE is empty: a job file, or a module or image with its arguments after --")
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	kind, src, err := recognise(name)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		spec := jobfile.New(dir)
		if err := spec.Set(kind, name); err != nil {
			return nil, usagef("%s: %w", name, err)
		}
		spec.SetArgs(rest)
		return spec, nil
	}
	if len(rest) > 0 {
		return nil, usagef("run: %s is a job file, which holds its own arguments: %q has no place", name, rest[0])
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	spec, err := jobfile.Parse(src, name, filepath.Dir(abs))
	if err != nil {
		return nil, &souk.Error{Code: souk.CodeInvalid, Err: err}
	}
	return spec, nil
}

// apply gives the spec what flags say.
func (f *runFlags) apply(flags *pflag.FlagSet, spec *jobfile.Spec) error {
	for _, k := range keyFlags {
		if fl := flags.Lookup(k.flag); fl.Changed {
			if err := spec.Set(k.key, fl.Value.String()); err != nil {
				return usagef("--%s: %w", k.flag, err)
			}
		}
	}
	for _, e := range f.env {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			return usagef("--env %q is not NAME=VALUE", e)
		}
		if err := spec.SetEnv(name, value); err != nil {
			return usagef("--env: %w", err)
		}
	}
	for _, in := range f.in {
		from, to := in, "/in"
		if i := strings.LastIndex(in, ":/in"); i > 0 {
			from, to = in[:i], in[i+1:]
		}
		abs, err := absolute(from)
		if err != nil {
			return usagef("--in: %w", err)
		}
		if err := spec.AddIn(abs, to); err != nil {
			return usagef("--in: %w", err)
		}
		if _, err := os.Stat(abs); filepath.IsAbs(abs) && err != nil {
			return usagef("--in: %w", plainPath(err))
		}
	}
	if !flags.Changed("out") {
		return nil
	}
	abs, err := absolute(f.out)
	if err == nil {
		_, err = fresh(abs)
	}
	if err != nil {
		return usagef("--out: %w", err)
	}
	if err := spec.AddOut("/out", abs); err != nil {
		return usagef("--out: %w", err)
	}
	return nil
}

// absolute makes a path of a flag absolute: it is relative to where the command
// was started, not to the job file. Content ids and addresses stay.
func absolute(p string) (string, error) {
	if p == "" {
		return "", errors.New("is empty: name a path")
	}
	if _, err := cid.Decode(p); err == nil || strings.Contains(p, "://") {
		return p, nil
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", fmt.Errorf("path %s: %w", p, err)
	}
	return abs, nil
}

// run takes a job from its file to its end.
func (a *app) run(ctx context.Context, spec *jobfile.Spec, f runFlags) error {
	file, err := spec.Build(a.now(), newNonce())
	if err != nil {
		return flagFault(err)
	}
	if err := checkPaths(file); err != nil {
		return err
	}
	if !file.Capped && (f.yes || f.detach) {
		return usagef("no price cap: set price.max_per_hour in the file, or --max-price")
	}
	if err := a.addModule(ctx, file); err != nil {
		return err
	}
	if err := a.fixImage(ctx, file); err != nil {
		return err
	}
	plan, err := a.plan(ctx, file)
	if err != nil {
		return err
	}
	if f.plan {
		return a.showPlan(ctx, file, plan)
	}
	if err := a.decide(ctx, file, plan, f.yes); err != nil {
		return err
	}
	if err := a.addInputs(ctx, file); err != nil {
		return err
	}
	res, err := a.daemon.Jobs.Submit(ctx, &apiv1.SubmitRequest{Job: file.Job, SaveTo: file.SaveTo})
	if err != nil {
		return err
	}
	if f.detach {
		return a.detached(ctx, res.Id)
	}
	a.say("job %s", res.Id)
	return a.follow(ctx, res.Id, file)
}

// flagFault is wrong usage. A fault of what a flag said names the flag.
func flagFault(err error) error {
	if e, ok := errors.AsType[*jobfile.KeyError](err); ok {
		for _, k := range keyFlags {
			if group, _, _ := strings.Cut(k.key, "."); k.key == e.Key || group == e.Key {
				return usagef("--%s: %w", k.flag, e.Err)
			}
		}
	}
	return &souk.Error{Code: souk.CodeInvalid, Err: err}
}

// newNonce makes two jobs from one file two jobs.
func newNonce() (nonce [16]byte) {
	rand.Read(nonce[:]) // never fails, by its documentation
	return nonce
}

// checkPaths looks at the files that a job names, before anything is sent.
func checkPaths(f *jobfile.File) error {
	fault := func(key string, err error) error { return &souk.Error{Code: souk.CodeInvalid, Err: f.Fault(key, err)} }
	if f.Wasm != "" {
		if err := checkModule(f.Wasm); err != nil {
			return fault("wasm", err)
		}
	}
	for i, in := range f.Inputs {
		if !filepath.IsAbs(in.From) {
			continue
		}
		if _, err := os.Stat(in.From); err != nil {
			return fault(fmt.Sprintf("data.in[%d].from", i), plainPath(err))
		}
	}
	for i, to := range f.SaveTo {
		if to == "" {
			continue
		}
		if _, err := fresh(to); err != nil {
			return fault(fmt.Sprintf("data.out[%d].to", i), err)
		}
	}
	return nil
}

// plainPath says of a file's error what people need: the path and the cause.
func plainPath(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", at.Path, at.Err)
	}
	return err
}

// addModule puts the module into the store and its id into the job.
func (a *app) addModule(ctx context.Context, f *jobfile.File) error {
	if f.Wasm == "" {
		return nil
	}
	res, err := a.daemon.Files.Add(ctx, &apiv1.AddRequest{Path: f.Wasm})
	if err != nil {
		return fmt.Errorf("add %s: %w", f.Wasm, err)
	}
	f.Job.Wasm = res.Cid
	return nil
}

// addInputs puts the inputs into the store and their id into the job. It comes
// after consent: there may be much of them, and a plan does not need them.
func (a *app) addInputs(ctx context.Context, f *jobfile.File) error {
	if len(f.Inputs) == 0 {
		return nil
	}
	req := &apiv1.AddRequest{}
	for _, in := range f.Inputs {
		name := in.Name
		if info, err := os.Stat(in.From); name == "" && err == nil && info.Mode().IsRegular() {
			name = path.Base(filepath.ToSlash(in.From)) // a file goes into /in under its own name
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return usagef("data.in: %w", err)
		}
		req.Entries = append(req.Entries, &apiv1.AddEntry{From: in.From, Name: name})
	}
	res, err := a.daemon.Files.Add(ctx, req)
	if err != nil {
		return fmt.Errorf("add inputs: %w", err)
	}
	f.Job.Input = res.Cid
	return nil
}

// detached says how a job stands right after it was submitted.
func (a *app) detached(ctx context.Context, id string) error {
	if !a.json {
		fmt.Fprintln(a.stdout, id)
		a.say("souk logs -f %s follows it, souk job %s shows it, souk stop %s ends it", short(id), short(id), short(id))
		return nil
	}
	res, err := a.daemon.Jobs.Get(ctx, &apiv1.GetRequest{Id: id})
	if err != nil {
		return err
	}
	return a.line(daemon.ResultOf(res.Summary))
}
