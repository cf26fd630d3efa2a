package wasm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// TestAttacks has a module speak to WASI directly, in ways that no compiler would:
// nothing outside its folders is read or changed, and none of its inputs.
func TestAttacks(t *testing.T) {
	outside := t.TempDir()
	program, canary := filepath.Join(outside, "attacker.wasm"), filepath.Join(outside, "canary")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./testdata/attacker")
	build.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0", "GOOS=wasip1", "GOARCH=wasm")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the attacker: %v\n%s", err, text)
	}
	in, out := filepath.Join(outside, "in"), filepath.Join(outside, "out")
	for _, err := range []error{
		os.WriteFile(canary, []byte("secret"), 0o644), os.MkdirAll(filepath.Join(in, "folder"), 0o700), os.MkdirAll(filepath.Join(out, "folder"), 0o700),
		os.WriteFile(filepath.Join(in, "greeting"), []byte("good day"), 0o644), os.WriteFile(filepath.Join(out, "own"), nil, 0o644),
		os.Symlink("..", filepath.Join(in, "up")), os.Symlink(canary, filepath.Join(in, "absolute")), os.Symlink("/proc", filepath.Join(in, "proc")),
		os.Symlink("..", filepath.Join(out, "up")), os.Symlink(canary, filepath.Join(out, "absolute")), os.Symlink("/proc", filepath.Join(out, "proc")),
		os.Symlink("canary", filepath.Join(outside, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var said, stderr bytes.Buffer
	run, err := newRunner(t).Start(t.Context(), runner.Spec{
		Program: runner.Program{Module: program}, Args: []string{outside}, In: in, Out: out, Memory: 256 << 20, Disk: 1 << 20,
		Duration: 2 * time.Minute, Stdout: &said, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := run.Wait()
	var tried int
	if _, err := fmt.Sscanf(said.String()[max(0, strings.LastIndex(said.String(), "tried")):], "tried %d", &tried); err != nil || tried < 180 {
		t.Errorf("it tried %d things, %v", tried, err)
	}
	if got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 || strings.Contains(said.String(), "allowed") {
		t.Errorf("it ended with %+v:\n%s%s", got, &said, &stderr)
	}
	for path, want := range map[string]string{canary: "secret", filepath.Join(in, "greeting"): "good day"} {
		if text, err := os.ReadFile(path); string(text) != want || err != nil {
			t.Errorf("%s is %q, %v", path, text, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(outside, "*"))
	if inputs, listErr := os.ReadDir(in); err != nil || listErr != nil || len(left) != 5 || len(inputs) != 5 {
		t.Errorf("outside are %q, among the inputs %v: %v", left, inputs, errors.Join(err, listErr))
	}
	if _, err := os.Lstat(filepath.Join(outside, "moved")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
