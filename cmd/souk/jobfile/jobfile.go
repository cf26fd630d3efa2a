// Package jobfile reads the job file of INTERFACES into the message that a
// provider sees.
//
// Reading is pure: it looks at no file but the one it is given, no clock and no
// network, so a fault in a file is found before anything else happens. Whatever
// is not exactly right is an error with its place, and what this version of
// souk cannot do is an error that says so, never a silence.
package jobfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/souk-market/souk/gpu/runner"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// ErrUnavailable is wrapped by errors about what the job file may say and this
// version cannot do.
var ErrUnavailable = errors.New("is not available in this version of souk")

// Spec is a job file as it was written, before its parts are checked against
// each other. [Parse] and [Spec.Set] fill it; [Spec.Build] ends it.
type Spec struct {
	name, wasm, image string
	shell             string   // run as a string; an image only
	args              []string // run as a list
	env               map[string]string
	resources         *marketv1.Resources
	shm               uint64 // bytes of /dev/shm; 0: nothing was said
	gpu               bool   // whether anything of gpu was said
	in, out           []place
	outSet            bool // out: [] means that nothing comes back
	isolation         string
	price             jobv1.Price
	limits            jobv1.Limits
	retry             jobv1.Retry
	hosts             []string         // network: declared; nil: none
	reclaim           *leasev1.Reclaim // nil: a lease that nobody may end before its time
	retrySet          bool             // whether retry.max was said
	paySet            bool             // whether price.pay_every was said
	dir               string
	at                map[string]yamlfile.Value // where a key was, for errors between keys
}

// place is a path on this machine and one in the job.
type place struct{ here, there string }

// File is a job that is ready but for its content ids and the digest of its image.
type File struct {
	// Job is the message; Wasm and Input in it are empty where a path names them.
	Job *jobv1.Job
	// Wasm is the absolute path of the module; empty when Job.Wasm names it, or for an image.
	Wasm string
	// Tag is an image whose digest is not known yet; Job.Image is empty then.
	Tag string
	// Inputs appear under /in.
	Inputs []Input
	// SaveTo is where each of Job.Outputs is written, absolute; empty where it stays in the store.
	SaveTo []string
	// Capped is false when no price cap was given: Job.Price is zero then.
	Capped bool

	spec *Spec
}

// Fault gives err, about the value of a key such as wasm or data.in[0].from, its
// place in the file; or the key's name, if a flag said it.
func (f *File) Fault(key string, err error) error { return f.spec.errorf(key, "%w", err) }

// Input is one thing that appears under /in.
type Input struct {
	From string // an absolute path, or a content id
	Name string // slash-separated path below /in; empty puts a folder's entries into /in, a file under its own name
}

// The defaults of INTERFACES.
const (
	defaultPayEvery    = 10 * time.Second
	defaultStartWithin = 5 * time.Minute
	defaultMaxDuration = time.Hour
	defaultHoldPaused  = 30 * time.Second
	defaultCPUMilli    = 1000
	defaultMemory      = 512e6
	defaultDisk        = 1e9
	defaultRetries     = 3 // where causes are named; none without
)

// maxWasmMemory is what a module with 32-bit addresses can have.
const maxWasmMemory = 4 << 30

// New is a job with the defaults alone. Relative paths given to it are below
// dir, which must be absolute.
func New(dir string) *Spec {
	return &Spec{
		dir:       dir,
		env:       make(map[string]string),
		at:        make(map[string]yamlfile.Value),
		isolation: "any",
		resources: &marketv1.Resources{
			CpuMilli:    defaultCPUMilli,
			MemoryBytes: defaultMemory,
			DiskBytes:   defaultDisk,
			MinEvidence: marketv1.Evidence_EVIDENCE_NONE,
		},
		price: jobv1.Price{PayEveryMs: millis(defaultPayEvery)},
		limits: jobv1.Limits{
			StartWithinMs: millis(defaultStartWithin),
			MaxDurationMs: millis(defaultMaxDuration),
			HoldPausedMs:  millis(defaultHoldPaused),
		},
	}
}

func millis(d time.Duration) uint64 { return uint64(d / time.Millisecond) }

// Build checks the parts against each other and makes the job. Its id depends
// on nonce, 16 random bytes, and on now.
func (s *Spec) Build(now time.Time, nonce [16]byte) (*File, error) {
	for _, check := range []func() error{s.checkProgram, s.checkGPU, s.checkPrice, s.checkPlaces} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	f := &File{Capped: s.price.MaxAtomsPerHour > 0, spec: s}
	r := s.resources
	if r.Runners = s.runners(); r.Runners == nil {
		return nil, s.errorf("isolation", "%q does not fit: a module runs as wasm, an image under gvisor or oci", s.isolation)
	}
	j := &jobv1.Job{
		Nonce:     nonce[:],
		Name:      s.name,
		Image:     s.image,
		Args:      s.args,
		Resources: r,
		Price:     &s.price,
		Limits:    &s.limits,
		Retry:     &s.retry,
		Reclaim:   s.reclaim,
		Network:   s.network(),
		CreatedMs: now.UnixMilli(),
		ShmBytes:  s.shm,
	}
	if len(j.Retry.On) == 0 && j.Retry.Max > 0 {
		j.Retry.On = []jobv1.RetryCause{jobv1.RetryCause_RETRY_CAUSE_PROVIDER_LOST, jobv1.RetryCause_RETRY_CAUSE_RECLAIMED}
	} else if len(j.Retry.On) > 0 && !s.retrySet {
		j.Retry.Max = defaultRetries
	}
	if s.shell != "" {
		j.Args = []string{"/bin/sh", "-c", s.shell}
	}
	for name := range s.env {
		j.Env = append(j.Env, &jobv1.Variable{Name: name, Value: s.env[name]})
	}
	slices.SortFunc(j.Env, func(a, b *jobv1.Variable) int { return strings.Compare(a.Name, b.Name) })
	if _, byCID := runner.ImageCID(s.image); s.image != "" && !byCID && !strings.Contains(s.image, "@") {
		f.Tag, j.Image = s.image, ""
	}
	if isCID(s.wasm) {
		j.Wasm = s.wasm
	} else if s.wasm != "" {
		f.Wasm = s.path(s.wasm)
	}
	for _, in := range s.in {
		f.Inputs = append(f.Inputs, Input{From: s.source(in.here), Name: strings.Trim(strings.TrimPrefix(in.there, "/in"), "/")})
	}
	for _, out := range s.outputs() {
		j.Outputs = append(j.Outputs, &jobv1.Output{From: out.there})
		f.SaveTo = append(f.SaveTo, s.path(out.here))
	}
	f.Job = j
	return f, nil
}

// outputs are those of the file; without a word about them, all of /out.
func (s *Spec) outputs() []place {
	if !s.outSet {
		return []place{{there: "/out"}}
	}
	return s.out
}

func (s *Spec) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.dir, p)
}

func (s *Spec) source(from string) string {
	if isCID(from) {
		return from
	}
	return s.path(from)
}

func isCID(s string) bool {
	c, err := cid.Decode(s)
	return err == nil && c.Version() == 1
}

func (s *Spec) runners() []marketv1.Runner {
	const wasm, gvisor, oci = marketv1.Runner_RUNNER_WASM, marketv1.Runner_RUNNER_GVISOR, marketv1.Runner_RUNNER_OCI
	switch {
	case s.wasm != "" && (s.isolation == "any" || s.isolation == "wasm"):
		return []marketv1.Runner{wasm}
	case s.image != "" && s.isolation == "any":
		return []marketv1.Runner{gvisor, oci}
	case s.image != "" && s.isolation == "gvisor":
		return []marketv1.Runner{gvisor}
	case s.image != "" && s.isolation == "oci":
		return []marketv1.Runner{oci}
	}
	return nil
}

func (s *Spec) checkProgram() error {
	switch {
	case s.wasm == "" && s.image == "":
		return s.errorf("", "nothing to run: wasm or image is missing, such as wasm: ./train.wasm")
	case s.wasm != "" && s.image != "":
		return s.errorf("image", "stands beside wasm: a job is one or the other")
	case s.wasm != "" && s.shell != "":
		return s.errorf("run", "a module has no shell: write its arguments as a list, run: [%s]",
			strings.Join(strings.Fields(s.shell), ", "))
	case s.wasm != "" && s.reclaim.GetSignal():
		return s.errorf("on_reclaim.checkpoint", "a module takes no signals: drop it, or run an image")
	case s.wasm != "" && s.resources.MemoryBytes > maxWasmMemory:
		return s.errorf("memory", "%s is more than a module can have: at most 4GiB", souk.FormatSize(s.resources.MemoryBytes))
	case s.wasm != "" && s.shm > 0:
		return s.errorf("shm", "a module has no /dev/shm: drop it, or run an image")
	case s.shm > s.resources.MemoryBytes:
		return s.errorf("shm", "%s is more than memory, which it is a part of: ask for more memory", souk.FormatSize(s.shm))
	case s.wasm != "" && s.hosts != nil:
		return s.errorf("network", "a module has no network: drop it, or run an image")
	case s.wasm != "" && s.resources.GpuCount > 0:
		return s.errorf("gpu", "a module cannot use a GPU: it has none of its host's devices")
	}
	return nil
}

// network is what the job reaches; nil: nothing.
func (s *Spec) network() *leasev1.Network {
	if s.hosts == nil {
		return nil
	}
	return &leasev1.Network{Hosts: s.hosts}
}

func (s *Spec) checkGPU() error {
	r := s.resources
	if s.gpu && r.GpuCount == 0 && (r.VramMinBytes|r.VramMaxBytes != 0 || r.ComputeCapMin|r.ComputeCapMax != 0 || len(r.Models) > 0 || r.Mixed) {
		return s.errorf("gpu", "count is 0, so the rest of gpu asks for nothing: drop it, or say count: 1")
	}
	if s.limits.MinGpuUtil > 0 && r.GpuCount == 0 {
		return s.errorf("limits.min_gpu_util", "the job asks for no GPU: drop it, or say gpu")
	}
	if r.Mixed && r.GpuCount < 2 {
		return s.errorf("gpu.mixed", "one device is of one class: drop mixed, or say count: 2 or more")
	}
	if r.Mixed && len(r.Models) > 0 && !slices.ContainsFunc(r.Models, func(m string) bool { return m != r.Models[0] }) {
		return s.errorf("gpu.mixed", "model names %s alone, and mixed wants devices of several classes: name another, or drop mixed", r.Models[0])
	}
	return nil
}

func (s *Spec) checkPrice() error {
	hour, total := s.price.MaxAtomsPerHour, s.price.MaxTotalAtoms
	if hour == 0 && total > 0 {
		return s.errorf("price.max_total", "needs price.max_per_hour beside it")
	}
	if !s.paySet { // nobody is told off for a default
		s.price.PayEveryMs = min(s.price.PayEveryMs, s.limits.MaxDurationMs)
	}
	if s.price.PayEveryMs > s.limits.MaxDurationMs {
		return s.errorf("price.pay_every", "is longer than limits.max_duration")
	}
	if total == 0 {
		full, err := costOf(hour, s.limits.MaxDurationMs)
		if err != nil {
			return s.errorf("price.max_per_hour", "%w over limits.max_duration", err)
		}
		s.price.MaxTotalAtoms = full
	}
	return nil
}

// CapAt sets the price cap of a job that has none: perHour over all devices,
// and as much in all as the longest run costs at it.
func (f *File) CapAt(perHour souk.Atoms) error {
	total, err := costOf(uint64(perHour), f.Job.Limits.MaxDurationMs)
	if err != nil {
		return fmt.Errorf("cap at %s per hour: %w", perHour, err)
	}
	f.Job.Price.MaxAtomsPerHour, f.Job.Price.MaxTotalAtoms, f.Capped = uint64(perHour), total, true
	return nil
}

func (s *Spec) checkPlaces() error {
	seen := make(map[string]bool)
	for _, in := range s.in {
		if in.there != "/in" && seen[in.there] {
			return s.errorf("data.in", "two entries go to %s", in.there)
		}
		seen[in.there] = true
	}
	here := make(map[string]bool)
	for _, out := range s.out {
		if seen[out.there] {
			return s.errorf("data.out", "%s is there twice", out.there)
		}
		seen[out.there] = true
		if p := s.path(out.here); p != "" && here[p] {
			return s.errorf("data.out", "two outputs go to %s", out.here)
		} else if p != "" {
			here[p] = true
		}
	}
	return nil
}

// errorf places a fault at key, where the file has it.
func (s *Spec) errorf(key, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if v, ok := s.at[key]; ok {
		return v.Wrap(err)
	}
	if key == "" {
		return err
	}
	return &KeyError{key, err}
}

// KeyError is a fault of a key that no file said: a flag did.
type KeyError struct {
	Key string
	Err error
}

// Error is the key and the fault.
func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap is the fault without its key.
func (e *KeyError) Unwrap() error { return e.Err }
