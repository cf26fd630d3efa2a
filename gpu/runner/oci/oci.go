// Package oci runs the jobs that are container images, with an engine that speaks
// the Docker-compatible Engine API: Docker, or Podman.
//
// A container gets its command, its environment, /in read-only, /out writable and
// the leased devices. It has no capability and no network but a proxy to the hosts
// that its job declared, where the owner lets jobs reach hosts. Its root is read-only,
// the engine's own filter of system calls stays on, and where the engine has user
// namespaces it is in one. An engine that could not hold it to that, or that has a
// known hole, is not used: [Engine.Facts] and [Engine.Refusal] say which and why.
package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/egress"
	"github.com/souk-market/souk/gpu/runner/gate"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Config holds what a [Runner] needs. A field without a default is required.
type Config struct {
	Engine     *Engine
	Owner      string              // marks our containers, so that others' are never touched; no job may know it
	Dir        string              // a folder of this runner's own; made if it is missing
	ImageBytes uint64              // what these may take, about; default 50 GiB
	Layouts    Layouts             // reads images by content id; nil: such are not run
	Vendors    gpu.Vendors         // give containers their devices; none: only the processor can be leased
	Gate       string              // this program's path, which has the commands of package gate; empty: containers get no devices
	ByEngine   bool                // the engine gives containers their devices itself, with its hooks, if it can
	Egress     bool                // jobs may reach the hosts that they declare
	Own        func() []netip.Addr // addresses by which others know this machine, which no job reaches; nil: those of its interfaces alone
	Private    bool                // whether registries may be in the network of this machine, and jobs reach its loopback; for tests
	Log        *slog.Logger        // what the engine did oddly; default: discarded
}

// Runner starts containers.
type Runner struct {
	engine     *Engine
	owner      string
	layouts    Layouts
	vendors    gpu.Vendors
	byEngine   bool
	dir        string
	kit        func() (*gate.Kit, error)
	egress     bool
	own        func() []netip.Addr
	private    bool
	filter     profile
	imageBytes uint64
	pulled     *pulledImages
	log        *slog.Logger

	mu   sync.Mutex     // guards live
	live map[string]int // containers that runs of this life have, by name
}

// New checks c. It talks to nobody.
func New(c Config) (*Runner, error) {
	switch {
	case c.Engine == nil:
		return nil, errors.New("container runner: no engine")
	case c.Dir == "":
		return nil, errors.New("container runner: no folder")
	case !ownerForm.MatchString(c.Owner):
		return nil, fmt.Errorf("container runner: %q does not mark an owner", c.Owner)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(c.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("container runner: %w", err)
	}
	filter, err := writeProfile(dir)
	if err != nil {
		return nil, fmt.Errorf("container runner: %w", err)
	}
	return &Runner{engine: c.Engine, owner: c.Owner, layouts: c.Layouts, vendors: c.Vendors, byEngine: c.ByEngine, dir: dir, kit: kitOf(c.Gate, dir),
		egress: c.Egress, own: c.Own, private: c.Private, filter: filter, imageBytes: cmp.Or(c.ImageBytes, 50<<30),
		pulled: readPulled(filepath.Join(dir, "images.json")), log: c.Log, live: map[string]int{}}, nil
}

var (
	ownerForm    = regexp.MustCompile(`^[0-9a-f]{16,64}$`)
	imageForm    = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9._:/-]{0,254}@sha256:[0-9a-f]{64}$`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Kind is RUNNER_OCI.
func (r *Runner) Kind() marketv1.Runner { return marketv1.Runner_RUNNER_OCI }

// Plan implements [runner.Runner]. A job's arguments are the whole command, and
// take the place of the image's own; without any the image's is run.
func (r *Runner) Plan(job *jobv1.Job, dir string) (runner.Plan, error) {
	cid, byCID := runner.ImageCID(job.GetImage())
	switch {
	case job.GetWasm() != "":
		return runner.Plan{}, &runner.UnfitError{Unsupported: "wasm"}
	case job.GetImage() == "":
		return runner.Plan{}, &runner.UnfitError{Detail: "the job has no image"}
	case byCID && r.layouts == nil:
		return runner.Plan{}, &runner.UnfitError{Unsupported: "image-ipfs"}
	case !byCID && !imageForm.MatchString(job.Image):
		return runner.Plan{}, &runner.UnfitError{Detail: "the image is not named by its digest"}
	case job.GetShmBytes() > job.GetResources().GetMemoryBytes():
		return runner.Plan{}, &runner.UnfitError{Detail: "its /dev/shm is larger than its memory"}
	}
	if err := checkCommand(job); err != nil {
		return runner.Plan{}, &runner.UnfitError{Detail: err.Error()}
	}
	if job.GetNetwork() != nil && !r.egress {
		return runner.Plan{}, &runner.UnfitError{Unsupported: "network", Detail: "the owner of this machine lets no job reach hosts"}
	}
	if _, err := egress.Parse(job.GetNetwork().GetHosts()); job.GetNetwork() != nil && err != nil {
		return runner.Plan{}, &runner.UnfitError{Detail: "network: " + err.Error()}
	}
	p := runner.FolderPlan(job, runner.Program{Image: job.Image}, dir)
	if byCID {
		p.Stage = append([]runner.Staged{{CID: cid}}, p.Stage...)
	}
	return p, nil
}

// checkCommand refuses what an engine would take for something else: a variable
// without a value is one that Podman takes from its own environment.
func checkCommand(job *jobv1.Job) error {
	for _, a := range job.Args {
		if strings.ContainsRune(a, 0) {
			return errors.New("an argument holds a zero byte")
		}
	}
	if len(job.Args) > 0 && job.Args[0] == "" {
		return errors.New("the command is empty")
	}
	for _, v := range job.Env {
		if !variableForm.MatchString(v.GetName()) {
			return fmt.Errorf("%.40q is not a variable's name", v.GetName())
		}
		if strings.ContainsRune(v.GetValue(), 0) {
			return fmt.Errorf("the value of %.40s holds a zero byte", v.GetName())
		}
	}
	return nil
}

// Start implements [runner.Runner]. The image must be there: see [Runner.Pull].
func (r *Runner) Start(ctx context.Context, s runner.Spec) (runner.Run, error) {
	u, err := r.start(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("start lease %s: %w", s.Lease.Short(), err)
	}
	return u, nil
}

// startWithin bounds the making and starting of a container whose image is there.
const startWithin = 2 * time.Minute

func (r *Runner) start(ctx context.Context, s runner.Spec) (*run, error) {
	s, err := checked(s)
	if err != nil {
		return nil, err
	}
	facts, err := r.engine.ready()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	img, err := r.engine.image(ctx, s.Program.Image)
	if err != nil {
		return nil, err
	}
	return r.begin(ctx, s, facts, img)
}

// begin starts a run that was checked, of an image that is there.
func (r *Runner) begin(ctx context.Context, s runner.Spec, facts Facts, img image) (*run, error) {
	failed := true
	u := newRun(r, s)
	if err := img.runsOn(facts); err != nil {
		return u.endedAtStart(err), nil
	}
	who := identityOf(facts, hostUser(), s.Lease.Digest)
	if err := who.admit(s.In, s.Out); err != nil {
		return nil, err
	}
	held, err := r.hold(ctx, s, facts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if failed {
			held.release()
		}
	}()
	c, err := settings(s, facts, img, who, r.owner)
	if err != nil {
		return u.endedAtStart(err), nil
	}
	if err := held.apply(&c, img, s.Env); err != nil {
		return u.endedAtStart(err), nil
	}
	u.held = held
	c.HostConfig.SecurityOpt = append(c.HostConfig.SecurityOpt, r.filter.options(facts)...)
	r.began(u.name)
	if err = u.create(ctx, c); err == nil {
		if err = u.launch(ctx); err == nil {
			failed = false
			return u, nil
		}
		u.destroy()
	}
	r.ended(u.name)
	if invalid := asInvalid(err); invalid != nil && ctx.Err() == nil {
		return u.endedAtStart(invalid), nil
	}
	return nil, err
}

// checked refuses a run that lacks a bound, and gives its folders and its image the
// names that the engine knows.
func checked(s runner.Spec) (runner.Spec, error) {
	var err error
	switch {
	case s.Memory == 0 || s.Disk == 0 || s.Duration <= 0:
		return s, errors.New("memory, disk or duration is missing")
	case s.Program.Image == "" || s.Out == "":
		return s, errors.New("no image or no folder for its outputs")
	}
	for _, p := range []*string{&s.In, &s.Out} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return s, err
		}
		if strings.ContainsAny(*p, ",:") {
			return s, fmt.Errorf("%s: engines take a comma and a colon in the path of a folder for something else: move the home of this node", *p)
		}
	}
	s.Program.Image, err = fullName(s.Program.Image)
	return s, err
}
