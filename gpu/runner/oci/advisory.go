package oci

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// advisory is a known hole by which a container gets out.
type advisory struct {
	id       string
	program  string
	fixed    []string // the first whole version of each series, oldest first; what is older than all is not
	packages []string // of distributions that mended an older version
	only     string   // what the program must be built with; empty: whatever it is
	source   string
}

// advisories are the holes that an engine is refused for. A container's own bounds
// do not hold against any of them.
//
// crun is not affected by the three of November 2025: its authors tried what
// reproduces them, and it opens nothing below /proc after the root is changed
// (github.com/containers/crun/issues/1906).
var advisories = []advisory{
	{id: "CVE-2024-21626", program: "runc", fixed: []string{"1.1.12"},
		packages: []string{"1.1.5+ds1-1+deb12u1", "1.0.0~rc93+ds1-5+deb11u3"},
		source:   "GHSA-xr7r-f8xq-vfvv; Debian DSA-5615-1, DLA-3735-1"},
	{id: "CVE-2025-31133", program: "runc", fixed: []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}, source: "GHSA-9493-h29p-rfm2"},
	{id: "CVE-2025-52565", program: "runc", fixed: []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}, source: "GHSA-qw9x-cqr3-wc7r"},
	{id: "CVE-2025-52881", program: "runc", fixed: []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}, source: "GHSA-cgrx-mc8f-2prm"},
	{id: "CVE-2026-41579", program: "runc", fixed: []string{"1.3.6", "1.4.3"}, source: "runc 1.3.6 and 1.4.3; github.com/microsoft/azurelinux/pull/17884"},
	{id: "CVE-2025-24965", program: "crun", fixed: []string{"1.20.0"}, only: "+LIBKRUN", source: "GHSA-f42g-r5jj-qh4j"},
	{id: "CVE-2022-27650", program: "crun", fixed: []string{"1.4.4"}, source: "RHBZ 2066845; containers start with inheritable capabilities"},
}

// holes names the advisories that programs have.
func holes(programs []Program) error {
	var names, open []string
	for _, p := range programs {
		for _, a := range advisories {
			if a.concerns(p) {
				open = append(open, a.id)
			}
		}
		names = append(names, strings.TrimSpace(p.Name+" "+p.Version))
	}
	if len(open) == 0 {
		return nil
	}
	return fmt.Errorf("%s: containers can get out by %s: update it, or use Podman with crun (apt install podman crun)",
		strings.Join(names, ", "), strings.Join(open, ", "))
}

// concerns tells whether a program has the hole. A version that cannot be read has it.
func (a advisory) concerns(p Program) bool {
	if p.Name != a.program || a.only != "" && !strings.Contains(p.Options, a.only) {
		return false
	}
	if slices.ContainsFunc(a.packages, func(v string) bool { return strings.Contains(p.Package, v) }) {
		return false
	}
	version := semantic(p.Version)
	if !semver.IsValid(version) {
		return true
	}
	for _, f := range a.fixed {
		if fixed := semantic(f); semver.MajorMinor(version) == semver.MajorMinor(fixed) {
			return semver.Compare(version, fixed) < 0
		}
	}
	return semver.Compare(version, semantic(a.fixed[len(a.fixed)-1])) < 0
}

// semantic makes a version one that can be compared. What a distribution adds to a
// version says nothing of its code.
func semantic(version string) string {
	version, _, _ = strings.Cut(version, "+")
	version, _, _ = strings.Cut(version, "~")
	return "v" + version
}
