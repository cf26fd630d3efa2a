package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestRunWritesTheRows(t *testing.T) {
	t.Chdir(t.TempDir())
	var out, errs strings.Builder
	if status := run([]string{"-samples", "1", "-row", "^voucher verify$"}, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	text, err := os.ReadFile("bench.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v: %s", len(rows), err, text)
	}
	for _, field := range []string{"row", "ours", "limit", "ratio", "unit", "goal", "met", "machine"} {
		if _, ok := rows[0][field]; !ok {
			t.Errorf("no %q in %s", field, text)
		}
	}
	for _, want := range []string{"\nROW ", "\nvoucher verify ", "\nvoucher verify: against raw secp256k1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the table:\n%s", want, out.String())
		}
	}
	left, err := os.ReadDir("bin")
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRunRefusesWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-row", "("}, {"-samples", "0"}, {"-nothing"}} {
		var errs strings.Builder
		if status := run(args, &errs, &errs); status != 2 {
			t.Errorf("%q: status %d, want 2", args, status)
		}
	}
}

func TestMeasure(t *testing.T) {
	next := 0.0
	count := func() (float64, error) { next++; return next, nil }
	less := func(ours, limit figure) bool { return ours.median < limit.median }
	b := bench{
		row:     "counting",
		prepare: func(string) (*subject, error) { return &subject{ours: count, limit: count, met: less}, nil },
	}
	t.Chdir(t.TempDir())
	// 1 and 2 warm up; then ours has 3, 5, 7 and the limit 4, 6, 8.
	got, err := measure(b, 3)
	if want := (result{Row: "counting", Ours: 5, Limit: 6, Ratio: 5.0 / 6, Met: true, Spread: [2]float64{3, 7}, LimitSpread: [2]float64{4, 8}}); got != want || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	broken := errors.New("broken")
	b.prepare = func(string) (*subject, error) {
		return &subject{ours: count, limit: func() (float64, error) { return 0, broken }}, nil
	}
	if _, err := measure(b, 1); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the sample", err)
	}
}

func TestShowWithoutLimit(t *testing.T) {
	var out strings.Builder
	show(&out, []result{{Row: "alone", Ours: 5, Unit: "MiB", Goal: "≤ 0.7×", Against: "another", Note: "which is not here"}})
	for _, want := range []string{"not measured", "NOT MET", "alone: against another; which is not here"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestNumber(t *testing.T) {
	for in, want := range map[float64]string{0.01234: "0.0123", 3.456: "3.46", 999: "999", 1000: "1,000", 1234567.8: "1,234,568"} {
		if got := number(in); got != want {
			t.Errorf("number(%g) = %q, want %q", in, got, want)
		}
	}
}
