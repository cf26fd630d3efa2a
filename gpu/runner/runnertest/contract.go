package runnertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

func hello(t *testing.T, b *bench) {
	b.spec.Env = []string{"NAME=value", "EMPTY=", "EQUALS=a=b"}
	got := b.run(t, "hello", "one", "two words")
	b.expect(t, got, runv1.EndReason_END_REASON_COMPLETED)
	for _, want := range []string{
		`args ["one" "two words"]`, `env "NAME=value"`, `env "EMPTY="`, `env "EQUALS=a=b"`, "in good day",
	} {
		if !strings.Contains(b.stdout.String(), want+"\n") {
			t.Errorf("no line %q in %q", want, b.stdout)
		}
	}
	if got := b.stderr.String(); got != "this is stderr\n" {
		t.Errorf("stderr is %q", got)
	}
	if text, err := os.ReadFile(filepath.Join(b.spec.Out, "greeting")); string(text) != "hello" || err != nil {
		t.Errorf("/out/greeting is %q, %v", text, err)
	}
	if got.ExitCode != 0 || got.Usage.RunningFor <= 0 {
		t.Errorf("exit code %d, running for %v", got.ExitCode, got.Usage.RunningFor)
	}
}

func noInputs(t *testing.T, b *bench) {
	b.spec.In = ""
	b.expect(t, b.run(t, "hello"), runv1.EndReason_END_REASON_COMPLETED)
	if text := b.stdout.String(); strings.Contains(text, "\nin ") || !strings.Contains(text, "args []\n") {
		t.Errorf("it was given %q", text)
	}
}

// givesNothingElse looks for variables that nobody gave.
func givesNothingElse(t *testing.T, b *bench) {
	b.spec.Env = []string{"NAME=value"}
	b.expect(t, b.run(t, "hello"), runv1.EndReason_END_REASON_COMPLETED)
	if got := strings.Count(b.stdout.String(), "env "); got != 1 {
		t.Errorf("%d variables: %s", got, b.stdout)
	}
}

func exitCode(t *testing.T, b *bench) {
	for _, code := range []int{1, 2, 77, 255} {
		got := b.run(t, "exit", fmt.Sprint(code))
		b.expect(t, got, runv1.EndReason_END_REASON_COMPLETED)
		if got.ExitCode != code {
			t.Errorf("exit code %d, want %d", got.ExitCode, code)
		}
	}
}

func pastMemory(t *testing.T, b *bench) {
	b.expect(t, b.run(t, "memory"), runv1.EndReason_END_REASON_JOB_MEMORY)
}

func pastDisk(t *testing.T, b *bench) {
	b.expect(t, b.run(t, "fill"), runv1.EndReason_END_REASON_JOB_DISK)
	if got := size(t, b.spec.Out); got > disk {
		t.Errorf("it left %d bytes on a disk of %d", got, disk)
	}
}

// oneFile tries to make one file larger than the disk: it is refused, or ends the run.
func oneFile(t *testing.T, b *bench) {
	got := b.run(t, "grow")
	if got.Reason != runv1.EndReason_END_REASON_JOB_DISK && (got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode == 0) {
		t.Errorf("it ended with %v, exit code %d", got.Reason, got.ExitCode)
	}
	if got := size(t, b.spec.Out); got > disk {
		t.Errorf("it left %d bytes on a disk of %d", got, disk)
	}
}

func pastOneFile(t *testing.T, b *bench) {
	b.expect(t, b.run(t, "grow"), runv1.EndReason_END_REASON_JOB_DISK)
}

func givesBack(t *testing.T, b *bench) {
	got := b.run(t, "within")
	b.expect(t, got, runv1.EndReason_END_REASON_COMPLETED)
	if got.ExitCode != 0 {
		t.Errorf("exit code %d: %s", got.ExitCode, b.stdout)
	}
}

func pastTime(t *testing.T, b *bench) {
	b.spec.Duration = 300 * time.Millisecond
	start := time.Now()
	got := b.run(t, "loop")
	b.expect(t, got, runv1.EndReason_END_REASON_JOB_TIME)
	if late := time.Since(start) - b.spec.Duration; late > killWithin+startWithin {
		t.Errorf("dead %v after its time was over", late)
	}
	if got.Usage.RunningFor < b.spec.Duration || got.Usage.RunningFor > b.spec.Duration+killWithin {
		t.Errorf("ran for %v of %v", got.Usage.RunningFor, b.spec.Duration)
	}
}

// startWithin is added to bounds that a slow start would pass.
const startWithin = 10 * time.Second

func stops(t *testing.T, b *bench) {
	run := b.start(t, "loop")
	b.stdout.waitFor(t, "sign of life", func(s string) bool { return strings.Contains(s, "looping") })
	start := time.Now()
	run.Stop()
	run.Stop()
	b.expect(t, wait(t, run), runv1.EndReason_END_REASON_CLIENT_RELEASED)
	if took := time.Since(start); took > killWithin {
		t.Errorf("stopped after %v", took)
	}
	if err := run.Pause(); err != nil {
		t.Errorf("pause an ended run: %v", err)
	}
	if err := run.Resume(); err != nil {
		t.Errorf("resume an ended run: %v", err)
	}
	if again := run.Wait(); again.Reason != runv1.EndReason_END_REASON_CLIENT_RELEASED {
		t.Errorf("a second wait gives %v", again.Reason)
	}
}

func pauses(t *testing.T, b *bench) {
	run := b.start(t, "blink")
	more := func(than int) {
		t.Helper()
		b.stdout.waitFor(t, "new line", func(s string) bool { return strings.Count(s, "\n") > than })
	}
	more(0)
	if err := run.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := run.Pause(); err != nil {
		t.Errorf("pause again: %v", err)
	}
	// What was printed before the pause may still arrive; then there is silence.
	quiet := 200 * time.Millisecond
	for deadline := time.Now().Add(patience); ; {
		_, changed := b.stdout.now()
		select {
		case <-changed:
			if time.Now().After(deadline) {
				t.Fatal("it goes on printing")
			}
			continue
		case <-time.After(quiet):
		}
		break
	}
	text := b.stdout.String()
	if err := run.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := run.Resume(); err != nil {
		t.Errorf("resume again: %v", err)
	}
	more(strings.Count(text, "\n"))
	run.Stop()
	b.expect(t, wait(t, run), runv1.EndReason_END_REASON_CLIENT_RELEASED)
}

func stopsPaused(t *testing.T, b *bench) {
	// Its time must not run out while it is paused.
	b.spec.Duration = 2 * time.Second
	run := b.start(t, "loop")
	if err := run.Pause(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-run.Done():
		t.Fatalf("ended while paused: %+v", run.Wait())
	case <-time.After(b.spec.Duration + 200*time.Millisecond):
	}
	run.Stop()
	got := wait(t, run)
	b.expect(t, got, runv1.EndReason_END_REASON_CLIENT_RELEASED)
	if got.Usage.RunningFor >= b.spec.Duration {
		t.Errorf("paused time counts: ran for %v", got.Usage.RunningFor)
	}
}

func noProgram(t *testing.T, b *bench) {
	b.spec.Program = b.programs.Invalid
	got := b.run(t, "hello")
	b.expect(t, got, runv1.EndReason_END_REASON_JOB_INVALID)
	if got.Detail == "" {
		t.Error("it does not say what is wrong")
	}
}

func keepsIn(t *testing.T, b *bench) {
	got := b.run(t, "in")
	b.expect(t, got, runv1.EndReason_END_REASON_COMPLETED)
	if got.ExitCode != 0 {
		t.Errorf("%d tries were not refused:\n%s", got.ExitCode, b.stdout)
	}
	names, err := filepath.Glob(filepath.Join(b.spec.In, "*"))
	text, readErr := os.ReadFile(filepath.Join(b.spec.In, "greeting"))
	if len(names) != 1 || string(text) != "good day" || err != nil || readErr != nil {
		t.Errorf("/in has %q, greeting %q, %v, %v", names, text, err, readErr)
	}
}

// letsNothingOut puts a canary beside the two folders, and links to it and to
// the host's own files into /in, where a client's inputs lie.
func letsNothingOut(t *testing.T, b *bench) { tryWaysOut(t, b) }

// refusesWaysOut wants each try to be refused: there is nothing but the two folders.
func refusesWaysOut(t *testing.T, b *bench) {
	if got := tryWaysOut(t, b, "/etc/passwd", "/proc/self/environ", "/proc/self/mem", "/"); got.ExitCode != 0 {
		t.Errorf("%d tries were not refused:\n%s", got.ExitCode, b.stdout)
	}
}

func tryWaysOut(t *testing.T, b *bench, more ...string) runner.Result {
	t.Helper()
	canary := filepath.Join(t.TempDir(), "canary")
	const secret = "SOUK-CANARY"
	if err := os.WriteFile(canary, []byte(secret), 0o666); err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(b.spec.In, canary)
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"escape": "/", "absolute": canary, "up": up, "chain": "up", "proc": "/proc/self/environ", "folder": "..",
	} {
		if err := os.Symlink(to, filepath.Join(b.spec.In, name)); err != nil {
			t.Fatal(err)
		}
	}
	got := b.run(t, append([]string{"escape", canary}, more...)...)
	b.expect(t, got, runv1.EndReason_END_REASON_COMPLETED)
	if text := b.stdout.String(); !strings.Contains(text, "tried ") || strings.Contains(text, secret) {
		t.Errorf("it got out:\n%s", text)
	}
	if text, err := os.ReadFile(canary); string(text) != secret || err != nil {
		t.Errorf("the canary is %q, %v", text, err)
	}
	return got
}

func makesNoLinks(t *testing.T, b *bench) {
	got := b.run(t, "links")
	b.expect(t, got, runv1.EndReason_END_REASON_COMPLETED)
	if got.ExitCode != 0 {
		t.Errorf("%d tries were not refused:\n%s", got.ExitCode, b.stdout)
	}
}

func runsTheSame(t *testing.T, b *bench) {
	var texts [3]string
	for i := range texts {
		next := newBench(t, b.runner, b.programs)
		if i == 2 {
			next.spec.Seed[0] = 1
		}
		next.expect(t, next.run(t, "same"), runv1.EndReason_END_REASON_COMPLETED)
		texts[i] = next.stdout.String()
	}
	if texts[0] != texts[1] {
		t.Errorf("one seed, two outputs:\n%s\n%s", texts[0], texts[1])
	}
	if texts[0] == texts[2] {
		t.Errorf("two seeds, one output:\n%s", texts[0])
	}
	if !strings.Contains(texts[0], "true") {
		t.Errorf("sleeping does not move the clock:\n%s", texts[0])
	}
}

func badWriter(t *testing.T, b *bench) {
	b.spec.Stdout = failing{}
	got := b.run(t, "flood", "20000")
	b.expect(t, got, runv1.EndReason_END_REASON_COMPLETED)
	if got.ExitCode != 0 {
		t.Errorf("exit code %d", got.ExitCode)
	}
	b.spec.Stdout, b.spec.Stderr = nil, nil
	b.expect(t, b.run(t, "flood", "20000"), runv1.EndReason_END_REASON_COMPLETED)
}

func copiesAll(t *testing.T, b *bench) {
	const lines = 20_000
	b.expect(t, b.run(t, "flood", fmt.Sprint(lines)), runv1.EndReason_END_REASON_COMPLETED)
	text := b.stdout.String()
	if got := strings.Count(text, "\n"); got != lines || !strings.HasSuffix(text, fmt.Sprintf("line %d\n", lines-1)) {
		t.Errorf("%d lines of %d", got, lines)
	}
}

func cancelled(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.spec.Args = slices.Concat(b.programs.Command, []string{"loop"})
	run, err := b.runner.Start(ctx, b.spec)
	if err == nil { // it was quick enough to begin
		run.Stop()
		b.expect(t, wait(t, run), runv1.EndReason_END_REASON_CLIENT_RELEASED)
	}
}
