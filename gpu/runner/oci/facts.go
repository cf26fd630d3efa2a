package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

// Facts is what an engine is and what it can.
type Facts struct {
	URL      string
	Podman   bool   // else Docker
	Version  string // of the engine
	API      string // as negotiated
	Arch     string // in Go's words
	Rootless bool   // the engine's root is no root of the host
	UserNS   bool   // containers are in a user namespace without being asked to
	SELinux  bool
	Seccomp  bool
	// DefaultProfile says that the filter of system calls is the engine's default.
	DefaultProfile bool
	Cgroup         string // its version
	Lacks          []string
	Default        string   // the runtime of a container that names none
	Runtimes       []string // those that a container may name
	Devices        []string // names of those that it can give itself; nil: it does not list them
	Store          string   // the folder in which its images lie

	// AutoUserNS says that a container can have a user namespace of its own.
	AutoUserNS bool
	// Programs are those that make containers.
	Programs []Program
}

// Program is a program with a version, such as runc.
type Program struct {
	Name    string
	Version string // of its authors
	Package string // of its distribution, with its version; empty: unknown
	Options string // what it was built with, as it says
}

// Name is the engine in words.
func (f Facts) Name() string {
	name := "Docker"
	if f.Podman {
		name = "Podman"
	}
	if f.Rootless {
		name = "rootless " + name
	}
	return name + " " + f.Version
}

// Holds says in words what holds a container there.
func (f Facts) Holds() string {
	all := []string{"no capabilities", "no network", "read-only root", "seccomp"}
	switch {
	case f.Rootless, f.UserNS, f.AutoUserNS:
		all = append(all, "user namespace")
	default:
		all = append(all, "unprivileged user, no user namespace")
	}
	for _, p := range f.Programs {
		all = append(all, p.Name+" "+p.Version)
	}
	return strings.Join(all, ", ")
}

// ask reads the facts of an engine.
func ask(ctx context.Context, cli *client.Client) (Facts, error) {
	ping, err := cli.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err != nil {
		return Facts{}, err
	}
	if ping.OSType != "" && ping.OSType != "linux" {
		return Facts{}, fmt.Errorf("it runs containers of %.20s, not of linux", ping.OSType)
	}
	version, err := cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return Facts{}, err
	}
	info, err := cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return Facts{}, err
	}
	f := factsOf(version, info.Info)
	f.API = cli.ClientVersion()
	f.AutoUserNS = f.Podman && !f.Rootless && hasRange("/etc/subuid") && hasRange("/etc/subgid")
	return f, nil
}

// factsOf reads what an engine said.
func factsOf(v client.ServerVersionResult, i system.Info) Facts {
	f := Facts{Version: v.Version, Arch: v.Arch, Cgroup: i.CgroupVersion, Default: i.DefaultRuntime, Store: i.DockerRootDir}
	for _, c := range v.Components {
		f.Podman = f.Podman || c.Name == "Podman Engine"
		if p, ok := programOf(c); ok {
			f.Programs = append(f.Programs, p)
		}
	}
	for _, d := range i.DiscoveredDevices {
		if d.Source == "cdi" {
			f.Devices = append(f.Devices, d.ID)
		}
	}
	for name := range i.Runtimes {
		f.Runtimes = append(f.Runtimes, name)
	}
	slices.Sort(f.Runtimes)
	for _, o := range i.SecurityOptions {
		name, _, _ := strings.Cut(o, ",")
		switch name {
		case "name=rootless":
			f.Rootless = true
		case "name=userns":
			f.UserNS = true
		case "name=selinux":
			f.SELinux = true
		case "name=seccomp":
			f.Seccomp = !strings.Contains(o, "profile=unconfined")
			f.DefaultProfile = strings.HasSuffix(o, "profile=default") || strings.HasSuffix(o, "profile=builtin")
		}
	}
	for _, l := range []struct {
		has  bool
		name string
	}{{i.MemoryLimit, "memory"}, {i.PidsLimit, "processes"}, {i.CPUCfsQuota, "processor time"}} {
		if !l.has {
			f.Lacks = append(f.Lacks, l.name)
		}
	}
	return f
}

// makers are the programs that make containers and whose holes are known.
var makers = []string{"runc", "crun"}

var versionForm = regexp.MustCompile(`\d+\.\d+(\.\d+)?[-.+~a-z0-9]*`)

// programOf reads a component of an engine: Docker names runc, Podman its runtime
// in brackets, with all that it says of itself.
func programOf(c system.ComponentVersion) (Program, bool) {
	name := c.Name
	if inner, ok := strings.CutPrefix(name, "OCI Runtime ("); ok {
		name = strings.TrimSuffix(inner, ")")
	}
	if words := strings.Fields(c.Version); len(words) > 1 && words[1] == "version" { // whatever its owner calls it
		name = words[0]
	}
	name = strings.ToLower(name)
	for _, known := range makers { // an owner may call it runc-1.5
		if strings.HasPrefix(name, known) {
			name = known
		}
	}
	if !slices.Contains(makers, name) {
		return Program{}, false
	}
	p := Program{Name: name, Version: versionForm.FindString(c.Version), Package: c.Details["Package"]}
	if p.Package == "" {
		p.Package = c.Details["GitCommit"] // Debian's runc says its package there
	}
	_, p.Options, _ = strings.Cut(c.Version, "\n")
	return p, true
}

// hasRange tells whether Podman can give each container users of its own: it takes
// them from the range of the user containers.
func hasRange(file string) bool {
	text, err := os.ReadFile(file)
	return err == nil && slices.ContainsFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "containers:") })
}

// runtimeName is what containers name as their runtime: an engine whose default is
// NVIDIA's would give every container what its image asks for. Podman's programs
// ignore a name.
func (f Facts) runtimeName() string {
	switch {
	case f.Podman:
		return ""
	case strings.HasPrefix(f.Default, "nvidia"):
		return "runc"
	}
	return f.Default
}

// usable is why an engine is not used: what it lacks, or a known hole.
func (f Facts) usable() error {
	if !f.Seccomp {
		return errors.New("it filters no system calls: seccomp is off")
	}
	if len(f.Lacks) > 0 {
		return fmt.Errorf("it cannot bound %s (cgroup version %s): containers could take all of this machine", strings.Join(f.Lacks, ", "), f.Cgroup)
	}
	if strings.HasPrefix(f.Default, "nvidia") && !f.Podman && !slices.Contains(f.Runtimes, "runc") {
		return errors.New("its default runtime is NVIDIA's and it has no runc beside it")
	}
	if len(f.Programs) == 0 {
		return fmt.Errorf("it does not say the version of its %s, so known holes cannot be ruled out: make runc or crun its default runtime", f.Default)
	}
	return holes(f.Programs)
}
