package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/profiles/seccomp"
)

// profile is the filter of system calls for containers, where the engine would take
// its default: Docker's newest. Older defaults, and Podman's, let a container open
// sockets that no network namespace holds, such as those to its hypervisor.
type profile struct {
	text string // for Docker
	path string // of a file with the text, for Podman
}

// writeProfile puts the profile below dir.
func writeProfile(dir string) (profile, error) {
	text, err := json.Marshal(seccomp.DefaultProfile())
	if err != nil {
		return profile{}, fmt.Errorf("filter of system calls: %w", err)
	}
	p := profile{text: string(text), path: filepath.Join(dir, "seccomp.json")}
	if err := os.WriteFile(p.path, text, 0o644); err != nil {
		return profile{}, fmt.Errorf("filter of system calls: %w", err)
	}
	return p, nil
}

// options is how an engine is told of the profile. One that its owner chose stays.
func (p profile) options(f Facts) []string {
	switch {
	case !f.DefaultProfile:
		return nil
	case f.Podman:
		return []string{"seccomp=" + p.path}
	}
	return []string{"seccomp=" + p.text}
}
