package market

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limits on a query's text, which may come from another program.
const (
	maxQueryBytes = 4096
	maxClauses    = 32
	maxWords      = 16
	maxLimit      = 10_000
)

// ParseQuery reads a query: clauses with white space between them, each a
// field, an operator (= != >= <= > <) and a value without white space. Words may
// be lists (region=EU,US), numbers ranges (vram=24GB..48GB, vram=24GB..). The
// error is a *[QueryError].
func ParseQuery(s string) (Query, error) {
	var q Query
	if len(s) > maxQueryBytes {
		return q, &QueryError{Clause: s[:16] + "…", Problem: fmt.Sprintf("longer than %d bytes", maxQueryBytes)}
	}
	rest := s
	for {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if rest == "" {
			return q, nil
		}
		pos, end := len(s)-len(rest), strings.IndexAny(rest, " \t\r\n")
		if end < 0 {
			end = len(rest)
		}
		if e := q.add(rest[:end]); e != nil {
			e.Clause, e.Pos = rest[:end], pos
			return Query{}, e
		}
		rest = rest[end:]
	}
}

// operators are tried in this order, so that >= is not read as >.
var operators = []string{"!=", ">=", "<=", "=", ">", "<"}

// add reads one clause into q.
func (q *Query) add(text string) *QueryError {
	name, op, value := text, "", ""
	if i := strings.IndexAny(text, "!=<>"); i >= 0 {
		name = text[:i]
		for _, o := range operators {
			if v, ok := strings.CutPrefix(text[i:], o); ok {
				op, value = o, v
				break
			}
		}
	}
	switch f := fieldNamed(name); {
	case name == "order" || name == "limit" || name == "together":
		if op != "=" {
			return &QueryError{Problem: "wants ="}
		}
		switch name {
		case "order":
			return q.order(value)
		case "limit":
			return parseCount(&q.Limit, value, maxLimit)
		default:
			return parseCount(&q.Together, value, MaxDevices)
		}
	case f == nil:
		return &QueryError{Problem: "unknown field", Nearest: Nearest(name, queryWords())}
	case op == "":
		return &QueryError{Problem: "wants an operator (= != >= <= > <) and a value, without spaces between"}
	case value == "":
		return &QueryError{Problem: "wants a value"}
	case strings.ContainsAny(value[:1], "=<>"):
		near := ""
		if op == "=" { // as in => and ==
			near = strings.Replace(value[:1]+"=", "==", "=", 1)
		}
		return &QueryError{Problem: fmt.Sprintf("%q is not an operator", op+value[:1]), Nearest: near}
	case len(q.Clauses) == maxClauses:
		return &QueryError{Problem: fmt.Sprintf("more than %d clauses", maxClauses)}
	default:
		c, e := parseClause(f, op, value)
		if e == nil {
			q.Clauses = append(q.Clauses, c)
		}
		return e
	}
}

// Fields are the names of what a query may ask of an offer.
func Fields() []string {
	names := queryWords()
	return names[:len(fields)]
}

// queryWords is what may stand at the start of a clause.
func queryWords() []string {
	names := make([]string, 0, len(fields)+3)
	for _, f := range fields {
		names = append(names, f.name)
	}
	return append(names, "together", "order", "limit")
}

func parseClause(f *field, op, value string) (Clause, *QueryError) {
	c := Clause{field: f, negate: op == "!="}
	if f.kind == words {
		if op != "=" && op != "!=" {
			return c, &QueryError{Problem: fmt.Sprintf("%s has no order: it takes = or !=", f.name)}
		}
		return parseWords(c, value)
	}
	var err error
	if op == "=" || op == "!=" {
		c.min, c.max, err = parseRange(f.kind, value)
	} else {
		c.min, c.max, err = parseBound(f.kind, op, value)
	}
	if err != nil {
		return c, &QueryError{Problem: err.Error()}
	}
	return c, nil
}

func parseWords(c Clause, value string) (Clause, *QueryError) {
	list := strings.Split(value, ",")
	if len(list) > maxWords {
		return c, &QueryError{Problem: fmt.Sprintf("more than %d values", maxWords)}
	}
	for _, w := range list {
		kept, ok := c.field.check(w)
		if !ok {
			e := &QueryError{Problem: fmt.Sprintf("%q cannot be %s", w, examples[c.field.name])}
			if c.field.name == "runner" {
				e.Nearest = Nearest(w, []string{"wasm", "gvisor", "oci"})
			}
			return c, e
		}
		c.words = append(c.words, kept)
	}
	c.words = sortedWords(c.words)
	return c, nil
}

// examples are words that fields take.
var examples = map[string]string{"model": "a model such as RTX_4090", "region": "a region such as EU", "runner": "a runner such as wasm, gvisor or oci",
	"provider": "a provider such as 12D3KooW…", "extension": "an extension such as mixed", "slice": "whole or a profile such as 1g.10gb"}

// parseRange reads a value, or two of which one may be left out: 24GB..48GB.
func parseRange(k kind, value string) (low, high uint64, err error) {
	first, second, ranged := strings.Cut(value, "..")
	if ranged && first == "" && second == "" {
		return 0, 0, fmt.Errorf("%q has no bound", value)
	}
	low, high = 0, math.MaxUint64
	if first != "" || !ranged {
		if low, err = parseNumber(k, first); err != nil {
			return 0, 0, err
		}
	}
	if second != "" {
		if high, err = parseNumber(k, second); err != nil {
			return 0, 0, err
		}
	}
	if !ranged {
		high = low
	}
	if low > high {
		return 0, 0, fmt.Errorf("%q ends below its start", value)
	}
	return low, high, nil
}

// parseBound reads the value of an inequality. A strict one is kept as the next
// value that it allows, which must be one that can be written.
func parseBound(k kind, op, value string) (low, high uint64, err error) {
	n, err := parseNumber(k, value)
	if err != nil {
		return 0, 0, err
	}
	switch op {
	case ">=":
		return n, math.MaxUint64, nil
	case "<=":
		return 0, n, nil
	case ">":
		if n++; n == 0 || !writable(k, n) {
			return 0, 0, fmt.Errorf("nothing is above %s", value)
		}
		return n, math.MaxUint64, nil
	default:
		if n--; n == math.MaxUint64 || !writable(k, n) {
			return 0, 0, fmt.Errorf("nothing is below %s", value)
		}
		return 0, n, nil
	}
}

func writable(k kind, n uint64) bool {
	back, err := parseNumber(k, formatNumber(k, n))
	return err == nil && back == n
}

func (q *Query) order(value string) *QueryError {
	if len(q.Order) > 0 {
		return &QueryError{Problem: "given twice"}
	}
	for key := range strings.SplitSeq(value, ",") {
		name, descending := strings.CutPrefix(key, "-")
		f := fieldNamed(name)
		if f == nil {
			return &QueryError{Problem: fmt.Sprintf("cannot sort by %q", name), Nearest: Nearest(name, sortWords())}
		}
		if f.kind == words {
			return &QueryError{Problem: fmt.Sprintf("cannot sort by %s", name)}
		}
		if slices.ContainsFunc(q.Order, func(k SortKey) bool { return k.field == f }) {
			return &QueryError{Problem: fmt.Sprintf("sorts by %s twice", name)}
		}
		q.Order = append(q.Order, SortKey{f, descending})
	}
	return nil
}

// sortWords is what can be sorted by.
func sortWords() (names []string) {
	for _, f := range fields {
		if f.kind != words {
			names = append(names, f.name)
		}
	}
	return names
}

// parseCount reads a number from 1 to most that a query has once.
func parseCount(to *int, value string, most uint64) *QueryError {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n < 1 || n > most {
		return &QueryError{Problem: fmt.Sprintf("wants a number from 1 to %d", most)}
	}
	if *to != 0 {
		return &QueryError{Problem: "given twice"}
	}
	*to = int(n)
	return nil
}
