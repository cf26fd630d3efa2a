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
	"github.com/souk-market/souk/scheduler"
)

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

// useOver reads how much GPUs must be used: "20% over 10m".
func useOver(value string) (percent uint32, overMs uint64, err error) {
	least, over, ok := strings.Cut(value, " over ")
	number, signed := strings.CutSuffix(least, "%")
	n, bad := strconv.ParseUint(number, 10, 32)
	if !ok || !signed || bad != nil {
		return 0, 0, fmt.Errorf("%q is not %s", value, wanted("limits.min_gpu_util"))
	}
	if n == 0 || n > 100 {
		return 0, 0, fmt.Errorf("%s is not between 1%% and 100%%", least)
	}
	overMs, err = duration(over, scheduler.MinIdleOver, scheduler.MaxIdleOver)
	return uint32(n), overMs, err
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
	case key == "memory", key == "shm", key == "disk":
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
		return "whole or the profile of a slice, such as 1g.10gb"
	case key == "gpu.model":
		return "a device class such as RTX_4090"
	case key == "gpu.count", key == "retry.max":
		return "a whole number"
	case key == "any_of[].region":
		return "a region in capitals, such as EU"
	case key == "price.max_per_hour", key == "price.max_total":
		return "an amount of tokens such as 0.60"
	case key == "limits.min_gpu_util":
		return "a part and a time such as 20% over 10m"
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
