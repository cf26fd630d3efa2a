package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/souk-market/souk/cmd/souk/process"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
)

// TestDryRun has run.sh run every stage, with this machine's Podman.
func TestDryRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a container engine and daemons")
	}
	bundle := newBundle(t)
	t.Run("over stand-ins", func(t *testing.T) { dryRun(t, bundle) })
	t.Run("with nothing", func(t *testing.T) { nothingHere(t, bundle) })
}

// dryRun runs over stand-ins: all goes well, and the report says what it is about.
func dryRun(t *testing.T, bundle string) {
	out := t.TempDir()
	said := runScript(t, bundle, out, standIn(t))
	all := read(t, out)
	if len(all) != len(stages()) {
		t.Fatalf("%d stages of %d:\n%s", len(all), len(stages()), said)
	}
	for _, o := range all {
		if o.Status != statusOK || len(o.Errors) > 0 || !o.StandIn {
			t.Errorf("%s is %s: %q", o.Name, o.Status, o.Errors)
		}
	}
	for _, want := range []struct {
		stage  int
		figure string
		value  string
	}{
		{4, "i8 at 256 is the processor's", "true"},
		{4, "f16 at 256 is the processor's", "true"},
		{4, "a wrong bit is refused", "true"},
		{5, "nodes in a container of the processor", "0"},
		{6, "receipts verified", "true"},
	} {
		if got := fmt.Sprint(all[want.stage].Figures[want.figure]); got != want.value {
			t.Errorf("%s is %s, not %s", want.figure, got, want.value)
		}
	}
	left, _ := all[8].Figures["left to the driver"].(map[string]any)
	after, _ := all[8].Figures["after souk's wipe"].(map[string]any)
	if found, _ := left["marks_found"].(float64); found == 0 {
		t.Errorf("nothing is left in a memory that nobody cleans: %v", left)
	}
	if found, ok := after["marks_found"].(float64); !ok || found > 0 {
		t.Errorf("after the wipe: %v", after)
	}
	page, err := os.ReadFile(filepath.Join(out, pageName))
	if err != nil || !strings.HasPrefix(string(page), "DRY RUN over stand-ins") {
		t.Errorf("the page begins otherwise: %v\n%.200s", err, page)
	}
}

// nothingHere runs where there is neither a card nor an engine: each stage says so.
func nothingHere(t *testing.T, bundle string) {
	if err := os.Remove(filepath.Join(bundle, "bin", "podman")); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	said := runScript(t, bundle, out, nil)
	for i, o := range read(t, out) {
		if want := map[bool]string{true: statusOK, false: statusCannot}[i == 0]; o.Status != want || i > 0 && len(o.Errors) != 1 {
			t.Errorf("%s is %s: %q\n%s", o.Name, o.Status, o.Errors, said)
		}
	}
}

// TestStagesEnd holds the limits of the stages against that of the script.
func TestStagesEnd(t *testing.T) {
	var sum float64
	for _, s := range stages() {
		sum += s.within.Seconds()
	}
	if sum > 410 {
		t.Errorf("the stages may take %v s", sum)
	}
	o := runStage(t.Context(), []string{"sh", "-c", `echo '{"figure":"x","value":1}'; exec sleep 60`}, 0, stage{name: "slow", within: 1e9})
	if o.Status != statusFailed || len(o.Errors) != 1 || o.Figures["x"] != 1.0 {
		t.Errorf("a stage that does not end: %+v", o)
	}
	o = runStage(t.Context(), []string{"sh", "-c", "echo text"}, 0, stage{name: "odd", within: 60e9})
	if o.Status != statusFailed || len(o.Errors) != 1 {
		t.Errorf("a stage that says something else: %+v", o)
	}
}

// newBundle makes the bundle of programs that are here anyway. Ours are those that
// users have: with the race detector each stage would take several times as long.
func newBundle(t *testing.T) string {
	t.Helper()
	built, bundle := t.TempDir(), filepath.Join(t.TempDir(), "bundle")
	souk, device := filepath.Join(built, "souk"), filepath.Join(built, "device")
	if err := errors.Join(process.Build(t.Context(), souk, "../../cmd/souk", "-ldflags=-s -w"), process.Build(t.Context(), device, ".", "-ldflags=-s -w")); err != nil {
		t.Fatal(err)
	}
	maker, path := "runc", "../../bin/tools/runc"
	if _, err := os.Stat(path); err != nil { // make test builds it where Debian's crun does not do
		maker, path = "crun", "/usr/bin/crun"
	}
	if out, err := exec.Command("./bundle.sh", bundle, souk, device, path).CombinedOutput(); err != nil {
		t.Fatalf("make the bundle: %v\n%s", err, out)
	}
	if maker != "runc" {
		if err := os.Rename(filepath.Join(bundle, "bin", "runc"), filepath.Join(bundle, "bin", maker)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"podman", "conmon"} {
		here, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("%v: make test installs it", err)
		}
		if err := os.Symlink(here, filepath.Join(bundle, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return bundle
}

// standIn makes the driver and its libraries, and returns the variables that name them.
func standIn(t *testing.T) (env []string) {
	t.Helper()
	dir := t.TempDir()
	l, err := nvmltest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	machine, err := nvmltest.Scenario("rtx4090")
	if err != nil {
		t.Fatal(err)
	}
	machine = append([]byte("nodes 1\n"), machine...)
	at, err := l.Install(filepath.Join(dir, "machine"), machine)
	if err != nil {
		t.Fatal(err)
	}
	scenario, cuda, memory := filepath.Join(dir, "scenario"), filepath.Join(dir, "libcuda.so.1"), filepath.Join(dir, "memory")
	if err := os.WriteFile(scenario, machine, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(memory, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("cc", "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", cuda, "../../gpu/challenge/cuda/testdata/libcuda/libcuda.c", "-lOpenCL")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in: %v\n%s", err, out)
	}
	source, err := filepath.Abs("../../gpu/challenge/kernels/challenge.cl")
	if err != nil {
		t.Fatal(err)
	}
	env = []string{"SOUK_NVML_LIBRARY=" + l.Path, nvmltest.ScenarioVariable + "=" + scenario, "SOUK_CUDA_LIBRARY=" + cuda, "SOUK_CUDA_MEMORY=" + memory, "SOUK_KERNEL_SOURCE=" + source}
	for name, value := range at.Environment() {
		env = append(env, name+"="+value)
	}
	return env
}

// runScript runs the bundle's script, and returns what it printed.
func runScript(t *testing.T, bundle, out string, env []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bundle, "run.sh"), "--out", out)
	cmd.Env = append(append(os.Environ(), "SOUK_DEVICE_WITHIN=800"), env...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("run.sh: %v", err)
	}
	t.Logf("%s", said)
	return string(said)
}

// read are the lines of a report.
func read(t *testing.T, dir string) (all []outcome) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, linesName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}
