package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// chunkWithin ends a command that hangs: its goroutines are then in its output.
const chunkWithin = 40 * time.Minute

// builds keeps the test programs that were built, and runs commands with them. Its
// temporary folder, and what the commands leave there, is removed at the end.
type builds struct {
	out      io.Writer
	tmp      string            // short: sockets lie below it
	logs     string            // where the output of failures stays
	binaries map[string]string // of test packages, once built
}

func newBuilds(out io.Writer) (*builds, error) {
	logs, err := filepath.Abs("bin/soak")
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, err
	}
	return &builds{out: out, tmp: tmp, logs: logs, binaries: map[string]string{}}, nil
}

func (b *builds) close() { os.RemoveAll(b.tmp) }

// result is what came of one form.
type result struct {
	form     form
	seed     uint64 // the first
	attempts uint64
	failures []failure
	took     time.Duration
}

// failure is one attempt, or a command as a whole, that did not pass.
type failure struct{ again, output string }

// run repeats the form with ever new seeds until its time is up, it has done what
// is wanted of it, or five of its commands have failed: more of the same tells no more.
func (b *builds) run(ctx context.Context, f form, part time.Duration, seed uint64) result {
	r := result{form: f, seed: seed}
	began := time.Now()
	for broken := 0; broken < 5 && ctx.Err() == nil; {
		left := part - time.Since(began)
		if left <= 0 || f.wanted > 0 && r.attempts >= f.wanted {
			break
		}
		failed := len(r.failures)
		b.chunk(ctx, &r, left)
		if len(r.failures) > failed {
			broken++
		}
		r.took = time.Since(began)
		fmt.Fprintf(b.out, "%s: %d %s, %d failed, %s\n", f.name, r.attempts, f.unit, len(r.failures), r.took.Round(time.Second))
		if f.fuzz {
			break
		}
	}
	r.took = time.Since(began)
	return r
}

// chunk runs one command and adds what it did to r.
func (b *builds) chunk(ctx context.Context, r *result, left time.Duration) {
	f := r.form
	n := f.chunk
	if f.wanted > 0 {
		n = min(n, f.wanted-r.attempts)
	}
	seed := r.seed + r.attempts
	var cmd *exec.Cmd
	if f.fuzz {
		cmd = exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+f.test+"$", "-fuzztime="+max(left, time.Second).Round(time.Second).String(), f.pkg)
	} else {
		binary, err := b.build(ctx, f.pkg)
		if err != nil {
			r.failures = append(r.failures, failure{"go test -c " + f.pkg, err.Error()})
			return
		}
		cmd = exec.CommandContext(ctx, binary, append([]string{"-test.run=^" + f.test + "$", "-test.v", "-test.timeout=" + chunkWithin.String()}, f.flags(seed, n)...)...)
		cmd.Dir = f.pkg
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+b.tmp)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	if ctx.Err() != nil {
		return // broken off: no attempt, and no failure of the test
	}
	if f.fuzz {
		n = inputs(text.String())
	}
	r.attempts += n
	if err == nil {
		return
	}
	name := filepath.Join(b.logs, fmt.Sprintf("%s-%d.log", strings.ReplaceAll(f.name, " ", "-"), seed))
	if werr := errors.Join(os.MkdirAll(b.logs, 0o755), os.WriteFile(name, text.Bytes(), 0o644)); werr != nil {
		name = "not kept: " + werr.Error()
	}
	for _, again := range f.again(text.String(), seed, n) {
		r.failures = append(r.failures, failure{again, name})
	}
}

// build compiles a package's tests once.
func (b *builds) build(ctx context.Context, pkg string) (string, error) {
	if binary := b.binaries[pkg]; binary != "" {
		return binary, nil
	}
	binary := filepath.Join(b.tmp, filepath.Base(pkg)+".test")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w\n%s", pkg, err, out)
	}
	b.binaries[pkg] = binary
	return binary, nil
}

var (
	failedSeed = regexp.MustCompile(`(?m)^\s*--- FAIL: \S*/seed=(\d+)`)
	namedSeed  = regexp.MustCompile(`replay with \S+ -seed=(\d+)`)
	execs      = regexp.MustCompile(`execs: (\d+)`)
	newInput   = regexp.MustCompile(`(?m)^\s*go test -run=(\S+)$`)
)

// again lists the commands that play what failed again: the seeds that the output
// names, or the whole command where it names none.
func (f form) again(output string, seed, attempts uint64) (commands []string) {
	if f.fuzz {
		if m := newInput.FindStringSubmatch(output); m != nil {
			return []string{"go test -run=" + m[1] + " " + f.pkg}
		}
		return []string{"go test -fuzz=^" + f.test + "$ " + f.pkg}
	}
	command := func(seed, attempts uint64) string {
		return fmt.Sprintf("go test %s -count=1 -run '^%s$' -v -args %s", f.pkg, f.test, strings.Join(f.flags(seed, attempts), " "))
	}
	for _, by := range []*regexp.Regexp{failedSeed, namedSeed} {
		for _, m := range by.FindAllStringSubmatch(output, -1) {
			if s, err := strconv.ParseUint(m[1], 10, 64); err == nil {
				commands = append(commands, command(s, 1))
			}
		}
		if len(commands) > 0 {
			return commands
		}
	}
	return []string{command(seed, attempts)}
}

// inputs is how many inputs the fuzz engine tried.
func inputs(output string) (n uint64) {
	for _, m := range execs.FindAllStringSubmatch(output, -1) {
		n, _ = strconv.ParseUint(m[1], 10, 64) // digits: too many of them stay the most there can be
	}
	return n
}
