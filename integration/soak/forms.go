package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A form is one test in its long form: attempts with a seed each, in commands of
// chunk attempts.
type form struct {
	name   string
	pkg    string // as go names it, relative to the module
	test   string
	unit   string // what an attempt is
	share  int    // of the time, beside the other forms' shares
	wanted uint64 // so many attempts are enough; 0: as many as there is time for
	chunk  uint64 // attempts of one command
	flags  func(seed, attempts uint64) []string
	fuzz   bool // the fuzz engine counts attempts, and time is all it takes
}

// counted are the flags of a test that takes a first seed and a number.
func counted(number string) func(seed, attempts uint64) []string {
	return func(seed, attempts uint64) []string {
		return []string{"-seed", strconv.FormatUint(seed, 10), "-" + number, strconv.FormatUint(attempts, 10)}
	}
}

// played are the flags of a test that plays one seed for long.
func played(rest ...string) func(seed, attempts uint64) []string {
	return func(seed, _ uint64) []string {
		return append([]string{"-seed", strconv.FormatUint(seed, 10)}, rest...)
	}
}

// long are the forms beside the fuzz targets.
var long = []form{
	{name: "crash", pkg: "./integration/crash", test: "TestCrash", unit: "rounds", share: 40, wanted: 1000, chunk: 50, flags: counted("rounds")},
	{name: "lies", pkg: "./payment", test: "TestBoundUnderLies", unit: "channels", share: 4, chunk: 500_000, flags: counted("seeds")},
	{name: "lying", pkg: "./node", test: "TestLying.*", unit: "times every row", share: 4, chunk: 1, flags: func(_, _ uint64) []string { return nil }},
	{name: "lying-sync", pkg: "./node/offers", test: "TestLyingSync", unit: "times every row", share: 1, chunk: 1, flags: func(_, _ uint64) []string { return nil }},
	{name: "bubble", pkg: "./integration/bubble", test: "TestMarket", unit: "virtual hours of 20 daemons", share: 8, chunk: 1, flags: played("-hours", "1", "-jobs", "100")},
	{name: "sim-seeds", pkg: "./integration/sim", test: "TestSeeds", unit: "markets", share: 8, chunk: 100, flags: counted("seeds")},
	{name: "sim-day", pkg: "./integration/sim", test: "TestHour", unit: "virtual days of 100 nodes", share: 4, chunk: 1, flags: played("-hours", "24")},
	{name: "crowds", pkg: "./market", test: "TestCrowds", unit: "books", share: 4, chunk: 100, flags: counted("seeds")},
	{name: "disk-home", pkg: "./integration/disk", test: "TestDamagedHome", unit: "homes", share: 6, chunk: 1, flags: played("-flips", "10")},
	{name: "disk-store", pkg: "./storage/badger", test: "TestDamage", unit: "stores", share: 4, chunk: 1, flags: played("-flips", "20")},
}

// fuzzShare is the share of all fuzz targets together.
const fuzzShare = 20

// forms lists what to run: the long forms, then each fuzz target.
func (b *builds) forms(ctx context.Context, match *regexp.Regexp) (all []form, err error) {
	for _, f := range long {
		if match.MatchString(f.name) {
			all = append(all, f)
		}
	}
	if !strings.Contains(strings.ToLower(match.String()), "fuzz") && match.String() != "" {
		return all, nil // to find the targets, every package is built
	}
	fmt.Fprintln(b.out, "looking for the fuzz targets")
	targets, err := fuzzTargets(ctx)
	if err != nil {
		return nil, err
	}
	targets = slices.DeleteFunc(targets, func(f form) bool { return !match.MatchString(f.name) })
	for i := range targets {
		targets[i].share = max(1, fuzzShare/len(targets))
	}
	return append(all, targets...), nil
}

// fuzzTargets asks the packages for their targets.
func fuzzTargets(ctx context.Context) (all []form, err error) {
	// In one package's tests the names stand before the line that names it.
	out, err := exec.CommandContext(ctx, "go", "test", "-vet=off", "-list", "^Fuzz", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("list fuzz targets: %w\n%s", err, out)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "Fuzz"):
			names = append(names, line)
		case strings.HasPrefix(line, "ok"):
			pkg := strings.Fields(line)[1]
			for _, n := range names {
				all = append(all, form{name: "fuzz " + n, pkg: pkg, test: n, unit: "inputs", fuzz: true})
			}
			names = nil
		}
	}
	return all, nil
}
