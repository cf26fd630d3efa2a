package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAgain reads which seeds failed from what tests print.
func TestAgain(t *testing.T) {
	crash := form{name: "crash", pkg: "./integration/crash", test: "TestCrash", flags: counted("rounds")}
	one := "go test ./integration/crash -count=1 -run '^TestCrash$' -v -args -seed %s -rounds 1"
	for _, tt := range []struct {
		name, output string
		form         form
		want         []string
	}{
		{"two rounds", "--- FAIL: TestCrash (9.1s)\n    --- PASS: TestCrash/seed=16/lease/client (1s)\n    --- FAIL: TestCrash/seed=17/lease/provider (2s)\n    --- FAIL: TestCrash/seed=29/claim/chain (2s)\n",
			crash, []string{strings.Replace(one, "%s", "17", 1), strings.Replace(one, "%s", "29", 1)}},
		{"a seed in words", "sim_test.go:54: replay with -run=TestSeeds -seed=5 -seeds=1: {}: device leased twice\n--- FAIL: TestSeeds\n",
			form{pkg: "./integration/sim", test: "TestSeeds", flags: counted("seeds")},
			[]string{"go test ./integration/sim -count=1 -run '^TestSeeds$' -v -args -seed 5 -seeds 1"}},
		{"no seed", "panic: test timed out after 40m0s\n", crash,
			[]string{"go test ./integration/crash -count=1 -run '^TestCrash$' -v -args -seed 11 -rounds 50"}},
		{"fuzz", "    To re-run:\n    go test -run=FuzzOpen/582528ddfad69eb5\nFAIL\n", form{pkg: "souk/proto/wire", test: "FuzzOpen", fuzz: true},
			[]string{"go test -run=FuzzOpen/582528ddfad69eb5 souk/proto/wire"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.form.again(tt.output, 11, 50); !slices.Equal(got, tt.want) {
				t.Errorf("again:\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	var b bytes.Buffer
	crash := form{name: "crash", unit: "rounds", wanted: 1000}
	ok := summary(&b, []result{
		{form: crash, seed: 1, attempts: 250, took: 90 * time.Second, failures: []failure{{"go test again", "bin/soak/crash-201.log"}}},
		{form: form{name: "fuzz FuzzOpen", unit: "inputs", fuzz: true}, attempts: 812345, took: time.Minute},
	})
	want := `
FORM           ATTEMPTS                         FAILED  TIME   SEEDS
crash          250 rounds of 1000: out of time  1       1m30s  1 to 250
fuzz FuzzOpen  812345 inputs                    0       1m0s   found by coverage

FAILED crash
  again:  go test again
  output: bin/soak/crash-201.log
`
	if ok || b.String() != want {
		t.Errorf("ok %v:\n%s\nwant not ok and\n%s", ok, b.String(), want)
	}
}

// TestMisuse tells what is wrong with the flags before anything is built.
func TestMisuse(t *testing.T) {
	for _, args := range [][]string{{"-budget", "0s"}, {"-budget", "soon"}, {"-only", "("}, {"crash"}, {"-only", "nothing-is-called-this"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("soak %v: exit %d, %q; want 2 and a line", args, code, errs.String())
		}
	}
}
