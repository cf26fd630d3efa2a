package market

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// A kind is how a field's values are written and compared.
type kind uint8

const (
	words   kind = iota // one or more names, any of which will do
	counted             // a whole number
	sized               // bytes: 24GB
	priced              // tokens with up to six decimals
	tenths              // one decimal: 8.9
	cored               // cores with up to three decimals
	lasting             // 90s, 6h
	ranked              // none, challenged, attested
)

// parseNumber reads a value of a kind other than words.
func parseNumber(k kind, s string) (uint64, error) {
	switch k {
	case sized:
		return souk.ParseSize(s)
	case priced:
		a, err := souk.ParseAtoms(s)
		return uint64(a), err
	case tenths:
		return parseDecimal(s, 1, maxComputeCap)
	case cored:
		return parseDecimal(s, 3, maxCPUMilli)
	case lasting:
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d%time.Millisecond != 0 || d.Milliseconds() > maxDurationMs {
			return 0, fmt.Errorf("%q: not a duration such as 90s or 6h", s)
		}
		return uint64(d.Milliseconds()), nil
	case ranked:
		for e := marketv1.Evidence_EVIDENCE_NONE; e <= marketv1.Evidence_EVIDENCE_ATTESTED; e++ {
			if EvidenceName(e) == strings.ToLower(s) {
				return uint64(e), nil
			}
		}
		hint := ""
		if n := Nearest(s, []string{"none", "challenged", "attested"}); n != "" {
			hint = fmt.Sprintf("; did you mean %q?", n)
		}
		return 0, fmt.Errorf("%q: not none, challenged or attested%s", s, hint)
	default:
		return parseDecimal(s, 0, math.MaxUint32)
	}
}

// formatNumber writes a value so that parseNumber reads the same back.
func formatNumber(k kind, n uint64) string {
	switch k {
	case sized:
		return formatBytes(n)
	case priced:
		return souk.Atoms(n).String()
	case tenths:
		return fmt.Sprintf("%d.%d", n/10, n%10)
	case cored:
		return formatCores(n)
	case lasting:
		return formatDuration(time.Duration(n) * time.Millisecond)
	case ranked:
		return EvidenceName(marketv1.Evidence(n))
	default:
		return strconv.FormatUint(n, 10)
	}
}

// parseDecimal reads a number with at most places decimals as a whole number of
// the last place.
func parseDecimal(s string, places int, limit uint64) (uint64, error) {
	whole, part, dotted := strings.Cut(s, ".")
	number := fmt.Errorf("%q: not a number from 0", s)
	if places == 0 {
		number = fmt.Errorf("%q: not a whole number from 0", s)
	}
	if len(part) > places || dotted && part == "" || strings.TrimLeft(whole+part, "0123456789") != "" {
		if places > 0 {
			number = fmt.Errorf("%w with at most %s", number, plural(uint64(places), "decimal"))
		}
		return 0, number
	}
	n, err := strconv.ParseUint(whole+part+strings.Repeat("0", places-len(part)), 10, 64)
	if err != nil || whole == "" {
		return 0, number
	}
	if n > limit {
		return 0, fmt.Errorf("%q: too large", s)
	}
	return n, nil
}

// formatCores shows thousandths of a core without trailing zeros: "2", "0.5".
func formatCores(milli uint64) string {
	if milli%1000 == 0 {
		return strconv.FormatUint(milli/1000, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", milli/1000, milli%1000), "0")
}

// formatDuration is time.Duration's text without its empty parts: "6h", "1m30s".
func formatDuration(d time.Duration) string {
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

var byteUnits = []struct {
	suffix string
	bytes  uint64
}{
	{"TB", 1e12}, {"TiB", 1 << 40}, {"GB", 1e9}, {"GiB", 1 << 30}, {"MB", 1e6}, {"MiB", 1 << 20},
	{"kB", 1e3}, {"KiB", 1 << 10}, {"B", 1},
}

// formatBytes is n exactly, in the largest unit that divides it.
func formatBytes(n uint64) string {
	for _, u := range byteUnits {
		if n%u.bytes == 0 && n > 0 {
			return strconv.FormatUint(n/u.bytes, 10) + u.suffix
		}
	}
	return "0B"
}
