package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/souk-market/souk/gpu/runner/oci"
)

// What engine can be beside the address of a socket.
const (
	engineAuto = "auto"
	engineNone = "none"
	engineForm = "auto, none, or the socket of a container engine such as unix:///run/podman/podman.sock"
)

// What devices can be.
const (
	devicesSouk   = "souk"
	devicesEngine = "engine"
	devicesForm   = "souk or engine"
)

// checkEngine wants an engine of this machine: the folders of jobs are here.
func checkEngine(s string) error {
	if s == engineAuto || s == engineNone {
		return nil
	}
	if path, ok := strings.CutPrefix(s, "unix://"); !ok || !filepath.IsAbs(path) || path != filepath.Clean(path) {
		return fmt.Errorf("%q is not %s", s, engineForm)
	}
	return nil
}

// engines is where a container engine may be.
func (c config) engines(env func(string) string) []string {
	switch c.engine {
	case engineAuto:
		return oci.Places(env)
	case engineNone:
		return nil
	}
	return []string{c.engine}
}
