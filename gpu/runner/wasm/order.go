package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/souk-market/souk/gpu/runner"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Bounds of what passes between the daemon and the process that holds a module.
const (
	maxOrder  = 1 << 20 // arguments and environment come from a job
	maxReport = 4 << 10 // a module that broke out could write anything
)

// order is what the process reads from its standard input.
type order struct {
	Compile bool     `json:"compile"` // into the cache, and nothing more
	Program string   `json:"program"`
	Args    []string `json:"args"`
	Env     []string `json:"env"`
	Seed    []byte   `json:"seed"`
	In      string   `json:"in"`
	Out     string   `json:"out"`
	Memory  uint64   `json:"memory"`
	Disk    uint64   `json:"disk"`
	Cache   string   `json:"cache"`
}

// readOrder reads an order up to the end of r.
func readOrder(r io.Reader) (o order, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxOrder+1))
	if err != nil {
		return o, err
	}
	if len(text) > maxOrder {
		return o, errors.New("order too long")
	}
	if err := strict(text, &o); err != nil {
		return o, fmt.Errorf("order: %w", err)
	}
	if len(o.Seed) != 32 {
		return o, errors.New("order: the seed is not 32 bytes")
	}
	return o, nil
}

// report is one line that the process writes to descriptor 3: first that the
// module begins, without a reason, then how it ended.
type report struct {
	Reason runv1.EndReason `json:"reason"`
	Exit   uint32          `json:"exit"`
	Detail string          `json:"detail"`
}

// reportable are the ends that the process itself can tell of.
func reportable(reason runv1.EndReason) bool {
	switch reason {
	case runv1.EndReason_END_REASON_UNSPECIFIED, // it begins
		runv1.EndReason_END_REASON_COMPLETED,
		runv1.EndReason_END_REASON_JOB_MEMORY,
		runv1.EndReason_END_REASON_JOB_DISK,
		runv1.EndReason_END_REASON_JOB_INVALID,
		runv1.EndReason_END_REASON_PROVIDER_FAILED:
		return true
	}
	return false
}

// parseReport reads one line. It is not trusted: a module that broke out of
// wazero would be its author.
func parseReport(line []byte) (r report, err error) {
	if len(line) > maxReport {
		return r, errors.New("report too long")
	}
	if err := strict(line, &r); err != nil {
		return r, fmt.Errorf("report: %w", err)
	}
	if !reportable(r.Reason) {
		return r, fmt.Errorf("report: a module cannot end by %v", r.Reason)
	}
	r.Detail = oneLine(r.Detail)
	return r, nil
}

// strict decodes exactly one JSON object with known fields.
func strict(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	return nil
}

// oneLine keeps what a person can be shown of s: one line of printable text, at
// most [runner.MaxDetail] bytes.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	for len(s) > runner.MaxDetail {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
