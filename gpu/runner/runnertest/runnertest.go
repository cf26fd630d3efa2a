// Package runnertest holds every runner to what package runner promises.
//
// [Run] is what all promise, [RunModules] what those of modules promise beside it.
// Guests are told what to try by their first argument; the program is in
// testdata/guest, for WebAssembly and for the machine itself.
package runnertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Bounds of every run of the contract that does not try to pass them.
const (
	memory   = 64 << 20
	disk     = 1 << 20
	duration = time.Minute
)

// patience bounds how long a test waits for what must happen soon.
const patience = 30 * time.Second

// killWithin is what the design allows from a passed bound to a dead job.
const killWithin = 2 * time.Second

// Programs are what a runner under test is given to run.
type Programs struct {
	Guest   runner.Program // does what its first argument says
	Invalid runner.Program // cannot be run
	Command []string       // what comes before the arguments of the guest, where they are the whole command
	Job     *jobv1.Job     // names a program as jobs do
}

// Build compiles the guest to WebAssembly.
func Build(t testing.TB) Programs {
	t.Helper()
	dir := t.TempDir()
	guest, invalid := filepath.Join(dir, "guest.wasm"), filepath.Join(dir, "invalid.wasm")
	compile(t, guest, "GOOS=wasip1", "GOARCH=wasm")
	if err := os.WriteFile(invalid, []byte("this is no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Modules(guest, invalid)
}

// Modules are the programs of a runner of modules, by their paths.
func Modules(guest, invalid string) Programs {
	return Programs{Guest: runner.Program{Module: guest}, Invalid: runner.Program{Module: invalid}, Job: &jobv1.Job{Wasm: "program"}}
}

// BuildNative compiles the guest for this machine, without any library, to path.
func BuildNative(t testing.TB, path string) {
	t.Helper()
	compile(t, path, "GOOS=linux", "GOARCH="+runtime.GOARCH)
}

func compile(t testing.TB, path string, system ...string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./testdata/guest")
	build.Dir = filepath.Dir(here)
	build.Env = append(append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0"), system...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
}

// check is one promise.
type check struct {
	name string
	f    func(*testing.T, *bench)
}

func runAll(t *testing.T, r runner.Runner, p Programs, checks []check) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.f(t, newBench(t, r, p)) })
	}
}

// RunModules is what runners of modules promise beside [Run]: a module sees
// nothing but what it is given, and runs the same wherever it runs.
func RunModules(t *testing.T, r runner.Runner, p Programs) {
	runAll(t, r, p, []check{
		{"gives nothing else", givesNothingElse},
		{"leaves nothing past its disk unnoticed", pastOneFile},
		{"refuses every way out", refusesWaysOut},
		{"makes no links", makesNoLinks},
		{"runs twice the same", runsTheSame},
	})
}

// Run is the contract.
func Run(t *testing.T, r runner.Runner, p Programs) {
	runAll(t, r, p, []check{
		{"says what a job needs", plans},
		{"refuses what it cannot run", refuses},
		{"tells what is used", usage},
		{"gives what is asked", hello},
		{"gives no inputs where there are none", noInputs},
		{"keeps the exit code", exitCode},
		{"ends past its memory", pastMemory},
		{"ends past its disk", pastDisk},
		{"makes no file past its disk", oneFile},
		{"gives space back", givesBack},
		{"ends past its time", pastTime},
		{"stops", stops},
		{"pauses and resumes", pauses},
		{"stops while paused", stopsPaused},
		{"refuses what is no program", noProgram},
		{"keeps /in as it is", keepsIn},
		{"lets nothing out", letsNothingOut},
		{"survives a writer that fails", badWriter},
		{"copies every line", copiesAll},
		{"ends when its start is cancelled", cancelled},
	})
}

// bench is one run's surroundings.
type bench struct {
	runner         runner.Runner
	programs       Programs
	spec           runner.Spec
	stdout, stderr *output
}

func newBench(t *testing.T, r runner.Runner, p Programs) *bench {
	t.Helper()
	in, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(in, "greeting"), []byte("good day"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &bench{runner: r, programs: p, stdout: newOutput(), stderr: newOutput()}
	b.spec = runner.Spec{
		Program: p.Guest, In: in, Out: out,
		Memory: memory, Disk: disk, Duration: duration,
		Stdout: b.stdout, Stderr: b.stderr,
	}
	return b
}

// start starts the guest with args, and ends it with the test.
func (b *bench) start(t *testing.T, args ...string) runner.Run {
	t.Helper()
	b.spec.Args = slices.Concat(b.programs.Command, args)
	run, err := b.runner.Start(t.Context(), b.spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Stop(); wait(t, run) })
	return run
}

// run runs the guest to its end.
func (b *bench) run(t *testing.T, args ...string) runner.Result {
	t.Helper()
	return wait(t, b.start(t, args...))
}

func wait(t *testing.T, run runner.Run) runner.Result {
	t.Helper()
	select {
	case <-run.Done():
		return run.Wait()
	case <-time.After(patience):
		t.Fatal("the run does not end")
		panic("unreachable")
	}
}

// expect checks why a run ended.
func (b *bench) expect(t *testing.T, got runner.Result, want runv1.EndReason) {
	t.Helper()
	if got.Reason != want {
		t.Errorf("ended by %v (%s), exit %d; want %v\nstdout: %.500s\nstderr: %.500s",
			got.Reason, got.Detail, got.ExitCode, want, b.stdout.String(), b.stderr.String())
	}
	if len(got.Detail) > runner.MaxDetail || strings.ContainsAny(got.Detail, "\n\r") {
		t.Errorf("detail is not one line of at most %d bytes: %q", runner.MaxDetail, got.Detail)
	}
}

// size is what lies under a folder, in bytes.
func size(t *testing.T, root string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(root, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// output is what a guest printed so far.
type output struct {
	mu      sync.Mutex // guards text, changed
	text    bytes.Buffer
	changed chan struct{} // closed and replaced by each write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) String() string {
	text, _ := o.now()
	return text
}

func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

// waitFor blocks until enough holds for the text so far.
func (o *output) waitFor(t *testing.T, what string, enough func(string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		text, changed := o.now()
		if enough(text) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %s in the output: %.300q", what, text)
		}
	}
}

// failing is a writer that takes nothing.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fmt.Errorf("no more room") }
