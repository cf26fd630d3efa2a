package jobfile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/market"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

var (
	nameForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	modelForm    = regexp.MustCompile(`^[A-Z0-9]+(_[A-Z0-9]+)*$`)
	regionForm   = regexp.MustCompile(`^[A-Z0-9-]{1,16}$`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	imageForm    = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9._:/-]{0,254}(@sha256:[0-9a-f]{64})?$`)
)

// Set gives one key with one value the text it has in a file: "cpu", "0.5".
// Keys of a mapping are named through it: "price.max_per_hour". It is how
// flags say what the file says, in the same words and with the same checks.
func (s *Spec) Set(key, value string) (err error) {
	r := s.resources
	switch key {
	case "kind":
		err = oneOf(value, "job", "service")
		if value == "service" {
			err = fmt.Errorf("service %w", ErrUnavailable)
		}
	case "name":
		s.name, err = match(value, nameForm, wanted(key))
	case "wasm":
		s.wasm, err = notEmpty(value)
	case "image":
		if s.image = value; strings.HasPrefix(value, "ipfs://") {
			if _, ok := runner.ImageCID(value); !ok {
				err = fmt.Errorf("%q is not ipfs:// and the content id of a folder, such as souk add prints", value)
			}
			break
		}
		s.image, err = match(value, imageForm, wanted(key))
	case "cpu":
		r.CpuMilli, err = thousandths(value)
	case "memory":
		r.MemoryBytes, err = size(value)
	case "shm":
		s.shm, err = size(value)
	case "disk":
		r.DiskBytes, err = size(value)
	case "network":
		if err = oneOf(value, "none", "declared"); value == "declared" {
			err = errors.New("declared stands with the hosts, such as {declared: [example.org:443]}")
		}
	case "isolation":
		s.isolation, err = value, oneOf(value, "any", "wasm", "gvisor", "oci")
	case "trust.min_evidence":
		err = oneOf(value, "none", "challenged", "attested")
		r.MinEvidence = marketv1.Evidence(marketv1.Evidence_value["EVIDENCE_"+strings.ToUpper(value)])
	default:
		group, _, _ := strings.Cut(key, ".")
		switch group {
		case "gpu":
			err = s.setGPU(key, value)
		case "on_reclaim":
			err = s.setReclaim(key, value)
		case "price", "limits", "retry":
			err = s.setTerms(key, value)
		default:
			err = errors.New("is not a key with one value")
		}
	}
	return err
}

func (s *Spec) setGPU(key, value string) (err error) {
	r := s.resources
	s.gpu = true
	switch key {
	case "gpu.count":
		r.GpuCount, err = count(value, 64)
	case "gpu.vram":
		r.VramMinBytes, r.VramMaxBytes, err = span(value, size)
	case "gpu.compute_cap":
		var low, high uint32
		low, high, err = span(value, tenths)
		r.ComputeCapMin, r.ComputeCapMax = low, high
	case "gpu.slice":
		r.Slice, err = slice(value)
	case "gpu.model":
		r.Models = nil
		for m := range strings.SplitSeq(value, ",") {
			model := strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToUpper(strings.TrimSpace(m)))
			if _, err = match(model, modelForm, wanted(key)); err != nil {
				return fmt.Errorf("%q is not %s", m, wanted(key))
			}
			r.Models = append(r.Models, model)
		}
	default:
		err = errors.New("is not a key with one value")
	}
	return err
}

// slice is the profile of a slice; empty: a whole device.
func slice(value string) (string, error) {
	profile := strings.ToLower(value)
	switch {
	case profile == market.WholeDevice:
		return "", nil
	case market.IsSlice(profile):
		return profile, nil
	case market.Nearest(value, []string{market.WholeDevice}) != "":
		return "", oneOf(value, market.WholeDevice)
	}
	return "", fmt.Errorf("%q %w: leased are whole devices and MIG slices by their profile, such as 1g.10gb", value, ErrUnavailable)
}

func (s *Spec) setTerms(key, value string) (err error) {
	switch key {
	case "price.max_per_hour":
		s.price.MaxAtomsPerHour, err = amount(value)
	case "price.max_total":
		s.price.MaxTotalAtoms, err = amount(value)
	case "price.pay_every":
		s.paySet = true
		s.price.PayEveryMs, err = duration(value, time.Second, time.Hour)
	case "price.pay_ahead":
		s.price.PayAheadMs, err = duration(value, 0, time.Hour)
	case "limits.start_within":
		s.limits.StartWithinMs, err = duration(value, time.Second, 24*time.Hour)
	case "limits.max_duration":
		s.limits.MaxDurationMs, err = duration(value, time.Second, 30*24*time.Hour)
	case "limits.hold_paused":
		s.limits.HoldPausedMs, err = duration(value, 0, 24*time.Hour)
	case "limits.min_gpu_util":
		s.limits.MinGpuUtil, s.limits.MinGpuUtilOverMs, err = useOver(value)
	case "retry.max":
		s.retrySet = true
		s.retry.Max, err = count(value, 100)
	default:
		err = errors.New("is not a key with one value")
	}
	return err
}

// maxNotice is the longest that an owner waits for a device.
const maxNotice = time.Hour

func (s *Spec) setReclaim(key, value string) (err error) {
	if s.reclaim == nil {
		s.reclaim = new(leasev1.Reclaim)
	}
	switch key {
	case "on_reclaim.notice":
		s.reclaim.NoticeMs, err = duration(value, 0, maxNotice)
	case "on_reclaim.checkpoint":
		s.reclaim.Signal, err = value == "signal", oneOf(value, "none", "signal")
	default:
		err = errors.New("is not a key with one value")
	}
	return err
}

// SetEnv gives the job a variable.
func (s *Spec) SetEnv(name, value string) error {
	if !variableForm.MatchString(name) {
		return fmt.Errorf("%q is not a variable's name", name)
	}
	if strings.ContainsRune(value, 0) {
		return errors.New("a value holds a zero byte")
	}
	s.env[name] = value
	return nil
}

// SetArgs gives the job its arguments: for a module those after its own name.
func (s *Spec) SetArgs(args []string) { s.args, s.shell = args, "" }

// AddIn makes from, a path or a content id, appear at to, which is /in or below it.
func (s *Spec) AddIn(from, to string) error {
	switch {
	case strings.HasPrefix(from, "http://"), strings.HasPrefix(from, "https://"):
		return fmt.Errorf("an address as input %w", ErrUnavailable)
	case strings.Contains(from, "://"):
		return fmt.Errorf("%q is not a path or a content id", from)
	case from == "":
		return errors.New("from is empty")
	}
	if err := below(to, "/in"); err != nil {
		return err
	}
	s.in = append(s.in, place{from, to})
	return nil
}

// AddOut brings from, which is /out or below it, back to the path to; with an
// empty to it stays in the store.
func (s *Spec) AddOut(from, to string) error {
	if err := below(from, "/out"); err != nil {
		return err
	}
	s.outSet = true
	s.out = append(s.out, place{to, from})
	return nil
}

// SetRetry says on which causes the job is tried again elsewhere.
func (s *Spec) SetRetry(causes []string) error {
	s.retry.On = nil
	for _, c := range causes {
		if err := oneOf(c, "provider-lost", "reclaimed"); err != nil {
			return err
		}
		on := jobv1.RetryCause_RETRY_CAUSE_PROVIDER_LOST
		if c == "reclaimed" {
			on = jobv1.RetryCause_RETRY_CAUSE_RECLAIMED
		}
		if !slices.Contains(s.retry.On, on) {
			s.retry.On = append(s.retry.On, on)
		}
	}
	return nil
}

// AddRegion accepts one more region.
func (s *Spec) AddRegion(region string) error {
	_, err := match(region, regionForm, wanted("any_of[].region"))
	s.resources.Regions = append(s.resources.Regions, region)
	return err
}
