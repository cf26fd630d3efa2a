package market

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/souk-market/souk"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// Query is a question to the book: the offers that every clause accepts, in an
// order, up to a limit. Its text form is that of INTERFACES, such as
//
//	model=RTX_4090,L40S vram>=24GB price<=0.6 order=price,-score limit=20
//
// The zero query accepts every offer, cheapest first.
type Query struct {
	Clauses []Clause
	Order   []SortKey // empty: cheapest first, then best score
	Limit   int       // 0: no limit
	// Together is how many devices the accepted offers of one provider must have free
	// in all: those of other providers are left out. 0: each offer stands alone.
	Together int
	// Usage is what is expected of the work: what an offer asks beside the time of
	// its devices then counts where the order is by price. Nil: it does not.
	Usage Usage
}

// Clause accepts the offers whose field is among some words or within bounds.
type Clause struct {
	field  *field
	negate bool
	words  []string // of fields of words, sorted
	min    uint64   // of all others
	max    uint64
}

// SortKey is a field to sort by.
type SortKey struct {
	field      *field
	Descending bool
}

// Field is the name of the clause's field.
func (c Clause) Field() string { return c.field.name }

// Field is the name of the field to sort by.
func (k SortKey) Field() string { return k.field.name }

// field is the name of a fact, and how its values are written.
type field struct {
	name  string
	kind  kind
	fact  fact
	check func(word string) (string, bool) // of fields of words: the word as it is kept
}

// fields lists what can be asked, in the order in which errors name them.
var fields = []*field{
	{"model", words, ofClass, capitals(isClass)},
	{"slice", words, ofSlice, sliceName},
	{"vram", sized, ofVRAM, nil},
	{"compute_cap", tenths, ofComputeCap, nil},
	{"count", counted, ofCount, nil},
	{"free", counted, ofFree, nil},
	{"price", priced, ofPrice, nil},
	{"region", words, ofRegion, capitals(isRegion)},
	{"evidence", ranked, ofEvidence, nil},
	{"runner", words, ofRunner, runnerWord},
	{"extension", words, ofExtension, extensionWord},
	{"cpu", cored, ofCPU, nil},
	{"memory", sized, ofMemory, nil},
	{"disk", sized, ofDisk, nil},
	{"duration", lasting, ofDuration, nil},
	{"provider", words, ofProvider, peerWord},
	{"score", counted, ofScore, nil},
}

func capitals(ok func(string) bool) func(string) (string, bool) {
	return func(w string) (string, bool) { w = strings.ToUpper(w); return w, ok(w) }
}

func runnerWord(w string) (string, bool) {
	w = strings.ToLower(w)
	return w, runnerNamed(w) != marketv1.Runner_RUNNER_UNSPECIFIED
}

// sliceName accepts the profile of a slice, and whole for devices that are none.
func sliceName(w string) (string, bool) {
	w = strings.ToLower(w)
	return w, w == WholeDevice || IsSlice(w)
}

// extensionWord accepts the name of an extension, which an offer may announce.
func extensionWord(w string) (string, bool) {
	w = strings.ToLower(w)
	return w, isExtension(w)
}

// peerWord accepts the start of a peer id or of a hex key; its case matters.
func peerWord(w string) (string, bool) {
	ok := w != "" && len(w) <= 96
	for _, r := range w {
		ok = ok && (r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
	}
	return w, ok
}

func fieldNamed(name string) *field {
	for _, f := range fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// accepts tells whether r passes the clause.
func (c *Clause) accepts(r row) bool {
	has := false
	if c.field.kind != words {
		n := r.numberOf(c.field.fact)
		has = n >= c.min && n <= c.max
	} else {
		for _, w := range c.words {
			has = has || r.hasWord(c.field.fact, w)
		}
	}
	return has != c.negate
}

// String is the clause in the query grammar.
func (c Clause) String() string {
	f, op := c.field, "="
	if c.negate {
		op = "!="
	}
	if f.kind == words {
		return f.name + op + strings.Join(c.words, ",")
	}
	low, high := formatNumber(f.kind, c.min), formatNumber(f.kind, c.max)
	switch {
	case c.min == c.max:
		return f.name + op + low
	case c.negate && c.max == math.MaxUint64:
		return f.name + op + low + ".."
	case c.negate && c.min == 0:
		return f.name + op + ".." + high
	case c.max == math.MaxUint64:
		return f.name + ">=" + low
	case c.min == 0:
		return f.name + "<=" + high
	default:
		return f.name + op + low + ".." + high
	}
}

// String is the query in its grammar; [ParseQuery] reads the same query back.
func (q Query) String() string {
	var parts []string
	for _, c := range q.Clauses {
		parts = append(parts, c.String())
	}
	if q.Together > 0 {
		parts = append(parts, q.togetherText())
	}
	if len(q.Order) > 0 {
		var keys []string
		for _, k := range q.Order {
			if k.Descending {
				keys = append(keys, "-"+k.field.name)
			} else {
				keys = append(keys, k.field.name)
			}
		}
		parts = append(parts, "order="+strings.Join(keys, ","))
	}
	if q.Limit > 0 {
		parts = append(parts, "limit="+strconv.Itoa(q.Limit))
	}
	return strings.Join(parts, " ")
}

// QueryError is what is wrong with a query's text.
type QueryError struct {
	Clause  string // the clause as written
	Pos     int    // where it starts, in bytes
	Problem string // what is wrong
	Nearest string // what may have been meant; empty when nothing is near
}

// ErrorCode is [souk.CodeInvalid].
func (e *QueryError) ErrorCode() souk.Code { return souk.CodeInvalid }

// Error names the clause, what is wrong with it, and what may have been meant.
func (e *QueryError) Error() string {
	s := fmt.Sprintf("%s: %s", e.Clause, e.Problem)
	if e.Nearest != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Nearest)
	}
	return s
}

func atLeast(name string, n uint64) Clause {
	return Clause{field: fieldNamed(name), min: n, max: math.MaxUint64}
}

func within(name string, low, high uint64) Clause {
	if high == 0 {
		high = math.MaxUint64
	}
	return Clause{field: fieldNamed(name), min: low, max: high}
}

func oneOf(name string, ws []string) Clause {
	return Clause{field: fieldNamed(name), words: sortedWords(ws)}
}

// sortedWords puts words in the order in which a clause keeps them, each once.
func sortedWords(ws []string) []string {
	ws = slices.Clone(ws)
	slices.Sort(ws)
	return slices.Compact(ws)
}

// JobQuery is [RequestQuery] for a job: of what its provider must understand, it also
// asks for what an owner may not want.
func JobQuery(j *jobv1.Job, maxPrice uint64) Query {
	q := RequestQuery(j.GetResources(), maxPrice, j.GetLimits().GetMaxDurationMs())
	if j.GetNetwork() != nil {
		q.Clauses = append(q.Clauses, oneOf("extension", []string{ExtensionNetwork}))
	}
	return q
}

// RequestQuery is a job's request as a query over the book: offers that could
// serve it, at most maxPrice atoms for one device and hour, for at least
// durationMs (0: not asked). Cheapest first by what the longest run is expected to
// cost, then best score. A mixed request wants its devices free in all offers of one
// provider together, which must say that it leases them so; see [Candidates].
func RequestQuery(r *marketv1.Resources, maxPrice, durationMs uint64) Query {
	var q Query
	add := func(c Clause) { q.Clauses = append(q.Clauses, c) }
	q.addDevices(r)
	if r.GetVramMinBytes() > 0 || r.GetVramMaxBytes() > 0 {
		add(within("vram", r.GetVramMinBytes(), r.GetVramMaxBytes()))
	}
	if r.GetComputeCapMin() > 0 || r.GetComputeCapMax() > 0 {
		add(within("compute_cap", uint64(r.GetComputeCapMin()), uint64(r.GetComputeCapMax())))
	}
	if r.GetSlice() != "" {
		add(oneOf("extension", []string{ExtensionSlice}))
	}
	if r.GetMixed() {
		add(atLeast("free", 1))
		add(oneOf("extension", []string{ExtensionMixed}))
		q.Together = Devices(r)
	} else {
		add(atLeast("count", uint64(Devices(r))))
	}
	add(Clause{field: fieldNamed("price"), max: min(maxPrice, MaxPrice)})
	if len(r.GetRegions()) > 0 {
		add(oneOf("region", r.GetRegions()))
	}
	if r.GetMinEvidence() > marketv1.Evidence_EVIDENCE_NONE {
		add(atLeast("evidence", uint64(r.GetMinEvidence())))
	}
	if r.GetMinEvidence() == marketv1.Evidence_EVIDENCE_CHALLENGED {
		add(oneOf("extension", []string{ExtensionChallenge}))
	}
	if len(r.GetRunners()) > 0 {
		var names []string
		for _, k := range r.GetRunners() {
			names = append(names, RunnerName(k))
		}
		add(oneOf("runner", names))
	}
	for _, least := range []struct {
		field string
		n     uint64
	}{
		{"cpu", uint64(r.GetCpuMilli())}, {"memory", r.GetMemoryBytes()},
		{"disk", r.GetDiskBytes()}, {"duration", durationMs},
	} {
		if least.n > 0 {
			add(atLeast(least.field, least.n))
		}
	}
	q.Order = []SortKey{{field: fieldNamed("price")}, {field: fieldNamed("score"), Descending: true}}
	if durationMs > 0 {
		q.Usage = UsageOf(r, durationMs)
	}
	return q
}

// WithoutEvidence is q but for the evidence it asks for, which a challenge may bring.
func (q Query) WithoutEvidence() Query {
	q.Clauses = slices.DeleteFunc(slices.Clone(q.Clauses), func(c Clause) bool { return c.field.fact == ofEvidence })
	return q
}

// addDevices asks for the devices of a request: the processor, or GPUs, of some classes
// or any, whole or slices. Who names classes says that with them.
func (q *Query) addDevices(r *marketv1.Resources) {
	model := oneOf("model", []string{CPUClass})
	if r.GetGpuCount() > 0 && len(r.GetModels()) > 0 {
		model = oneOf("model", sliceClasses(r))
	} else if r.GetGpuCount() > 0 {
		model.negate = true
	}
	q.Clauses = append(q.Clauses, model)
	if r.GetSlice() != "" {
		q.Clauses = append(q.Clauses, oneOf("slice", []string{r.GetSlice()}))
	} else if model.negate {
		q.Clauses = append(q.Clauses, oneOf("slice", []string{WholeDevice}))
	}
}
