// Package nvmltest builds a stand-in for the library of NVIDIA's driver, and has
// the machines that it plays.
//
// The stand-in is C, compiled with NVIDIA's own header and loaded as the real
// library is, so all that lies between souk and a driver is the same but the
// driver. standin/scenario.h describes how a machine is written down.
package nvmltest

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed standin scenarios driver
var files embed.FS

// ScenarioVariable names the environment variable that holds the path of the
// scenario file. Its name begins as those do that a probe hands to its child.
const ScenarioVariable = "SOUK_NVML_SCENARIO"

// Library is a stand-in that was built.
type Library struct {
	Path    string // to be loaded
	dir     string
	objects []string
}

// Build compiles the stand-in into dir.
func Build(dir string) (*Library, error) {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		return nil, fmt.Errorf("find NVIDIA's header: %w", err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		return nil, err
	}
	l := &Library{Path: filepath.Join(dir, "libnvidia-ml.so.1"), dir: dir}
	sources, err := filepath.Glob(filepath.Join(dir, "standin", "*.c"))
	if err != nil {
		return nil, err
	}
	for _, source := range sources {
		object := strings.TrimSuffix(source, ".c") + ".o"
		l.objects = append(l.objects, object)
		if err := compiler("-c", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-DNVML_NO_UNVERSIONED_FUNC_DEFS", "-Wno-deprecated-declarations",
			"-I", filepath.Join(strings.TrimSpace(string(module)), "pkg", "nvml"), "-o", object, source); err != nil {
			return nil, err
		}
	}
	return l, l.link(l.Path)
}

// Without is the path of the same library without some functions, as drivers of
// another age are. A name may hold *.
func (l *Library) Without(names ...string) (string, error) {
	dir, err := os.MkdirTemp(l.dir, "without-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "libnvidia-ml.so.1")
	return path, l.link(path, names...)
}

func (l *Library) link(path string, without ...string) error {
	hidden := path + ".hidden"
	if err := os.WriteFile(hidden, []byte("{ local: "+strings.Join(append(without, "scenario_*"), "; ")+"; };\n"), 0o600); err != nil {
		return err
	}
	return compiler(append([]string{"-shared", "-Wl,-soname,libnvidia-ml.so.1", "-Wl,--version-script=" + hidden, "-o", path}, l.objects...)...)
}

func compiler(args ...string) error {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return errors.New("no C compiler: apt-get install gcc libc6-dev, or run make test, which does")
	}
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the stand-in: %w\n%s", err, out)
	}
	return nil
}

// Scenario is the text of a machine, such as "rtx4090".
func Scenario(name string) ([]byte, error) { return files.ReadFile("scenarios/" + name + ".txt") }

// Scenarios names all machines there are.
func Scenarios() ([]string, error) {
	paths, err := fs.Glob(files, "scenarios/*.txt")
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(strings.TrimPrefix(p, "scenarios/"), ".txt")
	}
	return paths, nil
}
