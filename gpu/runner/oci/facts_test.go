package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

// said is what an engine answered, from a file.
type said struct {
	Version client.ServerVersionResult
	Info    system.Info
}

func factsIn(t *testing.T, name string) Facts {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "engines", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s said
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return factsOf(s.Version, s.Info)
}

// TestEngines reads what engines say of themselves. podman-4.3-crun and
// docker-20.10-other-name were recorded from engines; the others have the words of their versions in the same form.
func TestEngines(t *testing.T) {
	for _, tt := range []struct {
		engine, name, refused string
		holds                 func(Facts) bool
	}{
		{"podman-4.3-crun", "Podman 4.3.1", "", func(f Facts) bool { return f.Podman && f.Arch == "amd64" && f.Default == "crun" }},
		{"podman-4.3-runc-1.1.5-debian", "Podman 4.3.1", "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", nil},
		{"docker-20.10-debian", "Docker 20.10.24+dfsg1", "CVE-2025-31133", func(f Facts) bool { return !f.Podman }},
		{"docker-29-nvidia", "Docker 29.3.0", "", func(f Facts) bool { return f.runtimeName() == "runc" && f.UserNS }},
		{"podman-5-rootless-cgroup1", "rootless Podman 5.4.0", "cannot bound memory, processes, processor time", func(f Facts) bool { return f.Rootless }},
		{"docker-20.10-other-name", "Docker 20.10.24+dfsg1", "", func(f Facts) bool { return f.runtimeName() == "runc15" && f.Programs[0].Name == "runc" }},
		{"docker-kata", "Docker 29.3.0", "does not say the version of its kata", nil},
		{"docker-no-seccomp", "Docker 29.3.0", "seccomp is off", nil},
	} {
		t.Run(tt.engine, func(t *testing.T) {
			f := factsIn(t, tt.engine)
			err := f.usable()
			if f.Name() != tt.name || (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s, refused: %v", f.Name(), err)
			}
			if tt.holds != nil && !tt.holds(f) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestProfile gives engines our filter where they would take a default.
func TestProfile(t *testing.T) {
	p, err := writeProfile(t.TempDir())
	if err != nil || !json.Valid([]byte(p.text)) || strings.ContainsAny(p.text, "\n") {
		t.Fatalf("%d bytes, %v", len(p.text), err)
	}
	for engine, want := range map[string]string{"podman-4.3-crun": "seccomp=" + p.path, "docker-20.10-debian": "seccomp=" + p.text, "docker-29-nvidia": "seccomp=" + p.text} {
		if got := p.options(factsIn(t, engine)); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %.60q", engine, got)
		}
	}
	own := factsOf(client.ServerVersionResult{}, system.Info{SecurityOptions: []string{"name=seccomp,profile=/etc/docker/mine.json"}})
	if got := p.options(own); !own.Seccomp || got != nil {
		t.Errorf("what the owner chose is replaced: %.60q", got)
	}
}

func TestAdvisories(t *testing.T) {
	for _, tt := range []struct {
		program, version, pack, options string
		want                            []string
	}{
		{"runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1", "", []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"}},
		{"runc", "1.1.5+ds1", "1.1.5+ds1-1", "", []string{"CVE-2024-21626", "CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"}},
		{"runc", "1.1.15", "", "", []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"}},
		{"runc", "1.2.7", "", "", []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"}},
		{"runc", "1.3.2", "", "", []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"}},
		{"runc", "1.3.3", "", "", []string{"CVE-2026-41579"}},
		{"runc", "1.3.6", "", "", nil},
		{"runc", "1.4.0-rc.2", "", "", []string{"CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"}},
		{"runc", "1.4.3", "", "", nil},
		{"runc", "1.5.2", "", "", nil},
		{"runc", "unknown", "", "", []string{"CVE-2024-21626", "CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2026-41579"}},
		{"crun", "1.8.1", "1.8.1-1+deb12u1", "+SYSTEMD +SECCOMP", nil},
		{"crun", "1.8.1", "", "+SYSTEMD +LIBKRUN +SECCOMP", []string{"CVE-2025-24965"}},
		{"crun", "1.20", "", "+LIBKRUN", nil},
		{"crun", "1.4.3", "", "", []string{"CVE-2022-27650"}},
		{"youki", "0.1.0", "", "", nil},
	} {
		t.Run(tt.program+" "+tt.version+" "+tt.pack, func(t *testing.T) {
			p := Program{Name: tt.program, Version: tt.version, Package: tt.pack, Options: tt.options}
			err := holes([]Program{p})
			if (err == nil) != (tt.want == nil) || err != nil && !strings.Contains(err.Error(), "by "+strings.Join(tt.want, ", ")+":") {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
