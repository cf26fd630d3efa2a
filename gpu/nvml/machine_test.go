package nvml_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/nvml/nvmltest"
)

// TestMain makes the test binary its own child, as souk is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe-nvml" {
		os.Exit(nvml.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == "edits-nvml" {
		os.Exit(nvml.EditsMain(os.Stdin, os.Stdout, os.Stderr))
	}
	dir, err := os.MkdirTemp("", "nvml-*")
	if err != nil {
		panic(err)
	}
	build = sync.OnceValues(func() (*nvmltest.Library, error) { return nvmltest.Build(dir) })
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build compiles the stand-in once for all tests.
var build func() (*nvmltest.Library, error)

var probe = nvml.Probe{Command: []string{os.Args[0], "probe-nvml"}, EditsCommand: []string{os.Args[0], "edits-nvml"}}

// machine makes the child see the machine of a scenario, with lines put at the end
// of it. It returns the file's path.
func machine(t *testing.T, scenario string, lines ...string) string {
	t.Helper()
	library, err := build()
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	if scenario != "" {
		if text, err = nvmltest.Scenario(scenario); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "scenario")
	t.Setenv(nvml.LibraryVariable, library.Path)
	t.Setenv(nvmltest.ScenarioVariable, path)
	play(t, path, text, lines...)
	return path
}

// installed is the machine of a scenario with its driver's files and nodes.
func installed(t *testing.T, scenario string) nvmltest.Installed {
	t.Helper()
	machine(t, scenario)
	library, err := build()
	if err != nil {
		t.Fatal(err)
	}
	text, err := nvmltest.Scenario(scenario)
	if err != nil {
		t.Fatal(err)
	}
	i, err := library.Install(t.TempDir(), text)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range i.Environment() {
		t.Setenv(name, value)
	}
	return i
}

// play changes the machine of a scenario file at one moment.
func play(t *testing.T, path string, text []byte, lines ...string) {
	t.Helper()
	for _, l := range lines {
		text = append(bytes.Clone(text), l+"\n"...)
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// told shows readings as tests compare them: "?" for what is not known.
func told(readings ...gpu.Reading) string {
	var out []string
	for _, r := range readings {
		if v, ok := r.Value(); ok {
			out = append(out, fmt.Sprint(v))
		} else {
			out = append(out, "?")
		}
	}
	return fmt.Sprint(out)
}
