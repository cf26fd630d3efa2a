package jobfile

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk"
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
		if strings.HasPrefix(value, "ipfs://") {
			return fmt.Errorf("an image by content id %w", ErrUnavailable)
		}
		s.image, err = match(value, imageForm, wanted(key))
	case "cpu":
		r.CpuMilli, err = thousandths(value)
	case "memory":
		r.MemoryBytes, err = size(value)
	case "disk":
		r.DiskBytes, err = size(value)
	case "network":
		err = oneOf(value, "none", "declared")
		if value == "declared" {
			err = fmt.Errorf("declared %w", ErrUnavailable)
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
		if err = oneOf(value, "whole"); err != nil && market.Nearest(value, []string{"whole"}) == "" {
			err = fmt.Errorf("%q %w: only whole devices are leased", value, ErrUnavailable)
		}
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

// belowError is a path of the job that is not where it must be.
type belowError struct{ text string }

func (e *belowError) Error() string { return e.text }

// below wants a clean path that is root or under it.
func below(p, root string) error {
	rest, ok := strings.CutPrefix(p, root)
	if !ok || rest != "" && rest[0] != '/' {
		return &belowError{fmt.Sprintf("%q is not %s or below it", p, root)}
	}
	for name := range strings.SplitSeq(strings.TrimPrefix(rest, "/"), "/") {
		if rest != "" && (name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsRune(name, 0)) {
			return &belowError{fmt.Sprintf("%q is not a plain path: it has an empty part, . or .. in it", p)}
		}
	}
	return nil
}

func oneOf(value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	hint := ""
	if n := market.Nearest(value, words); n != "" {
		hint = fmt.Sprintf("; did you mean %q?", n)
	}
	return fmt.Errorf("%q is not one of %s%s", value, strings.Join(words, ", "), hint)
}

func match(value string, form *regexp.Regexp, want string) (string, error) {
	if !form.MatchString(value) {
		return "", fmt.Errorf("%q is not %s", value, want)
	}
	return value, nil
}

func notEmpty(value string) (string, error) {
	if value == "" {
		return "", errors.New("is empty")
	}
	return value, nil
}

func size(value string) (uint64, error) {
	n, err := souk.ParseSize(value)
	if err == nil && (n == 0 || n > 1<<50) {
		return 0, fmt.Errorf("%s is not between 1B and 1024TiB", value)
	}
	return n, err
}

func amount(value string) (uint64, error) {
	if strings.HasPrefix(value, "-") {
		return 0, fmt.Errorf("%s: price must not be negative", value)
	}
	a, err := souk.ParseAtoms(value)
	if err == nil && a == 0 {
		return 0, fmt.Errorf("%s: price must be above zero: nobody works for nothing", value)
	}
	return uint64(a), err
}

func count(value string, most uint64) (uint32, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n > most {
		return 0, fmt.Errorf("%q is not a whole number from 0 to %d", value, most)
	}
	return uint32(n), nil
}

// thousandths reads cores: "2", "0.5".
func thousandths(value string) (uint32, error) {
	a, err := souk.ParseAtoms(value)
	milli := a / (souk.AtomsPerToken / 1000)
	if err != nil || a%(souk.AtomsPerToken/1000) != 0 || milli == 0 || milli > 1024_000 {
		return 0, fmt.Errorf("%q is not %s", value, wanted("cpu"))
	}
	return uint32(milli), nil
}

// tenths reads a compute capability: "8.9" is 89.
func tenths(value string) (uint32, error) {
	major, minor, _ := strings.Cut(value, ".")
	high, err := strconv.ParseUint(major, 10, 8)
	low, err2 := strconv.ParseUint(minor+"0"[:max(0, 1-len(minor))], 10, 8)
	if err != nil || err2 != nil || len(minor) > 1 || high == 0 {
		return 0, fmt.Errorf("%q is not a compute capability such as 8.9", value)
	}
	return uint32(high*10 + low), nil
}

// span reads "a..b", "a.." and "..b"; one value alone is the least accepted. A
// zero is no bound.
func span[T uint32 | uint64](value string, read func(string) (T, error)) (low, high T, err error) {
	from, to, ranged := strings.Cut(value, "..")
	if from == "" && to == "" {
		return 0, 0, fmt.Errorf("%q is not a range such as 24GB.. or 8.0..9.0", value)
	}
	if from != "" {
		if low, err = read(from); err != nil {
			return 0, 0, err
		}
	}
	if ranged && to != "" {
		if high, err = read(to); err != nil {
			return 0, 0, err
		}
		if high < low {
			return 0, 0, fmt.Errorf("%q ends below its start", value)
		}
	}
	return low, high, nil
}

func duration(value string, least, most time.Duration) (uint64, error) {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a time with a unit (ms, s, m or h), such as 30s or 6h", value)
	case d < least || d > most:
		return 0, fmt.Errorf("%s is not between %s and %s", value, plainTime(least), plainTime(most))
	case d%time.Millisecond != 0:
		return 0, fmt.Errorf("%s is not whole milliseconds", value)
	}
	return millis(d), nil
}

// plainTime is a whole time as people write it: "1h", where Go says "1h0m0s".
func plainTime(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d > 0 && d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.String()
}

// wanted is what the value of a key should be, with an example.
func wanted(key string) string {
	switch group, _, _ := strings.Cut(key, "."); {
	case key == "kind":
		return "one of job, service"
	case key == "name":
		return "a name of letters, digits, dots and dashes, at most 64"
	case key == "wasm":
		return "a module's path or content id, such as ./train.wasm"
	case key == "image":
		return "an image such as docker.io/library/python:3.12, or name@sha256:… with 64 hex digits"
	case key == "cpu":
		return "a number of cores from 0.001 to 1024, with at most 3 decimals"
	case key == "memory", key == "disk":
		return "a size such as 512MB, 24GB or 16GiB"
	case key == "network":
		return "none"
	case key == "isolation":
		return "one of any, wasm, gvisor, oci"
	case key == "trust.min_evidence":
		return "one of none, challenged, attested"
	case key == "gpu.vram":
		return "a size or a range such as 24GB.. or 16GB..48GB"
	case key == "gpu.compute_cap":
		return "a compute capability or a range such as 8.9.. or 8.0..9.0"
	case key == "gpu.slice":
		return "whole"
	case key == "gpu.model":
		return "a device class such as RTX_4090"
	case key == "gpu.count", key == "retry.max":
		return "a whole number"
	case key == "any_of[].region":
		return "a region in capitals, such as EU"
	case key == "price.max_per_hour", key == "price.max_total":
		return "an amount of tokens such as 0.60"
	case key == "on_reclaim.checkpoint":
		return "one of none, signal"
	case group == "price", group == "limits", group == "on_reclaim":
		return "a time such as 30s or 6h"
	}
	return "one value"
}

// costOf is what ms at perHour costs, rounded up to an atom.
func costOf(perHour, ms uint64) (uint64, error) {
	high, low := bits.Mul64(perHour, ms)
	low, carry := bits.Add64(low, souk.MillisPerHour-1, 0)
	if high += carry; high >= souk.MillisPerHour {
		return 0, souk.ErrOverflow
	}
	cost, _ := bits.Div64(high, low, souk.MillisPerHour)
	if cost > math.MaxInt64 {
		return 0, souk.ErrOverflow
	}
	return cost, nil
}
