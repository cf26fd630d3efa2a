package market

import (
	"math"
	"strings"
	"time"
	"unicode"

	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Bounds on single fields. They are far above what exists, and low enough that
// sums and products of a few of them stay in 64 bits.
const (
	maxBytes      = 1 << 50          // a pebibyte, of any kind of memory
	maxComputeCap = 10_000           // 1000.0
	maxCPUMilli   = 4096 * 1000      // cores in thousandths
	maxClass      = 48               // bytes of a class
	maxNames      = 16               // models or regions in one message
	maxRegion     = 16               // bytes of a region's name
	maxDuration   = 10 * 365 * 86400 // seconds
	maxDurationMs = maxDuration * 1000
	maxSequence   = math.MaxInt64
)

// A checker remembers the first field that is out of bounds.
type checker struct{ err *RejectError }

func (c *checker) that(ok bool, field string) {
	if !ok && c.err == nil {
		c.err = reject(Malformed, "%s", field)
	}
}

// newer remembers a field that is more than this build takes, and that a later
// version may well have.
func (c *checker) newer(field string) {
	if c.err == nil {
		c.err = reject(Newer, "%s", field)
	}
}

func (c *checker) result() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

// isName tells whether s is a device class or a region: capitals, digits and
// the signs that separate them.
func isName(s string, max int) bool {
	if s == "" || len(s) > max {
		return false
	}
	for _, r := range s {
		if (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.", r) {
			return false
		}
	}
	// Two dots would read as a range in a query.
	return !strings.Contains(s, "..")
}

func isClass(s string) bool { return isName(s, maxClass) }

func isRegion(s string) bool { return isName(s, maxRegion) }

// isText tells whether s can be shown on a terminal without moving its cursor.
func isText(s string, max int) bool {
	if len(s) > max {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// isDevice tells whether s can be a device's id.
func isDevice(s string) bool { return s != "" && isText(s, 96) && !strings.ContainsRune(s, ' ') }

func isAddress(s string) bool { return strings.HasPrefix(s, "/") && isText(s, 256) }

// isEvidence tells whether e can be a level of evidence, of this version or a later one.
func isEvidence(e marketv1.Evidence) bool { return e >= marketv1.Evidence_EVIDENCE_NONE }

func isKnownRunner(r marketv1.Runner) bool {
	return r >= marketv1.Runner_RUNNER_WASM && r <= marketv1.Runner_RUNNER_OCI
}

// runners checks a list of runners. Ones of a later version pass: they match nothing.
func (c *checker) runners(rs []marketv1.Runner, field string) {
	c.that(len(rs) >= 1 && len(rs) <= 8, field)
	for i, r := range rs {
		c.that(r > marketv1.Runner_RUNNER_UNSPECIFIED, field)
		for _, other := range rs[:min(i, 8)] {
			c.that(r != other, field)
		}
	}
}

func (c *checker) names(names []string, ok func(string) bool, field string) {
	c.that(len(names) <= maxNames, field)
	for _, n := range names[:min(len(names), maxNames)] {
		c.that(ok(n), field)
	}
}

// resources checks what an order asks for.
func (c *checker) resources(r *marketv1.Resources) {
	c.that(r != nil, "resources")
	c.that(r.GetGpuCount() <= MaxDevices, "gpu_count")
	c.that(r.GetVramMinBytes() <= maxBytes && r.GetVramMaxBytes() <= maxBytes, "vram")
	c.that(r.GetVramMaxBytes() == 0 || r.GetVramMaxBytes() >= r.GetVramMinBytes(), "vram")
	c.names(r.GetModels(), isClass, "models")
	c.that(r.GetComputeCapMin() <= maxComputeCap && r.GetComputeCapMax() <= maxComputeCap, "compute_cap")
	c.that(r.GetComputeCapMax() == 0 || r.GetComputeCapMax() >= r.GetComputeCapMin(), "compute_cap")
	c.that(r.GetCpuMilli() <= maxCPUMilli, "cpu_milli")
	c.that(r.GetMemoryBytes() <= maxBytes, "memory_bytes")
	c.that(r.GetDiskBytes() <= maxBytes, "disk_bytes")
	c.runners(r.GetRunners(), "runners")
	c.names(r.GetRegions(), isRegion, "regions")
	c.that(isEvidence(r.GetMinEvidence()), "min_evidence")
	c.that(r.GetSlice() == "" || r.GetGpuCount() > 0 && IsSlice(r.GetSlice()), "slice")
}

// settlement checks the form of payment terms; whether they are acceptable is
// for the client's payment policy to say.
func (c *checker) settlement(s *marketv1.Settlement) {
	c.that(s != nil, "settlement")
	c.that(s.GetChainId() > 0 && s.GetChainId() <= math.MaxInt64, "settlement.chain_id")
	for _, a := range []struct {
		bytes []byte
		field string
	}{
		{s.GetContract(), "settlement.contract"}, {s.GetToken(), "settlement.token"},
		{s.GetReceiver(), "settlement.receiver"}, {s.GetCollector(), "settlement.collector"},
	} {
		c.that(len(a.bytes) == 20, a.field)
	}
	c.that(s.GetWithdrawDelayMinS() <= s.GetWithdrawDelayMaxS(), "settlement.withdraw_delay_min_s")
	c.that(s.GetWithdrawDelayMaxS() <= maxDuration, "settlement.withdraw_delay_max_s")
	c.that(s.GetMinDepositAtoms() <= math.MaxInt64, "settlement.min_deposit_atoms")
}

// maxTime keeps times of peers far from the ends of what time.Time can subtract.
const maxTime = 1 << 45 // Unix milliseconds: the year 3084

func isTime(ms int64) bool { return ms > 0 && ms < maxTime }

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
