package gpu

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Vendor is all that souk must know of one maker's devices: a folder beside
// gpu/nvml implements it, and nothing else tells makers apart.
type Vendor interface {
	Probe
	// Vendor is [Device.Vendor] of the devices that the probe finds.
	Vendor() string
	// Edits is what a container needs to use exactly the devices with these IDs. The
	// error says for people which of them cannot be given and why. It waits for no
	// driver that hangs.
	Edits(ctx context.Context, ids []string) (Edits, error)
}

// Adviser is a vendor that knows what on this machine will trouble its devices later.
type Adviser interface{ Advice() []Advice }

// Advice is one such thing, for people.
type Advice struct{ Text, Fix string }

// Edits is what a container is given to use devices: nothing in it is run by the
// host.
type Edits struct {
	Nodes  []Node   // device nodes
	Files  []File   // shown read-only
	Env    []string // NAME=value
	CDI    []string // names of the devices in the Container Device Interface, for an engine that gives them itself
	Folder string   // in the container, where a loader finds the driver's libraries; empty: they lie where loaders look
}

// Node is one device node.
type Node struct {
	Host string // path on the host
	Path string // in the container
}

// File is one file of the host.
type File struct {
	Host string // path on the host
	Path string // in the container
}

// DriverFolder is where a container has the driver's libraries, by the names that
// programs load them by. Nothing of an image lies there.
const DriverFolder = "/.souk/driver"

// maxEdits bounds nodes and files of one container each.
const maxEdits = 1024

// Validate refuses edits that would show a container something else of the host than
// device nodes and files, or put them where they hide something of ours.
func (e Edits) Validate() error {
	if len(e.Nodes) > maxEdits || len(e.Files) > maxEdits || len(e.Env) > maxEdits {
		return fmt.Errorf("%d nodes, %d files, %d variables: at most %d", len(e.Nodes), len(e.Files), len(e.Env), maxEdits)
	}
	for _, n := range e.Nodes {
		if !plainPath(n.Host) || !plainPath(n.Path) || !strings.HasPrefix(n.Path, "/dev/") {
			return fmt.Errorf("no device node: %.80q as %.80q", n.Host, n.Path)
		}
	}
	for _, f := range e.Files {
		if !plainPath(f.Host) || !plainPath(f.Path) || slices.Contains([]string{"proc", "sys", "dev", "in", "out", "tmp"}, strings.Split(f.Path, "/")[1]) {
			return fmt.Errorf("no file for a container: %.80q as %.80q", f.Host, f.Path)
		}
	}
	for _, v := range e.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.ContainsAny(v, "\x00\n") {
			return fmt.Errorf("no variable: %.80q", v)
		}
	}
	return nil
}

// plainPath tells whether p is absolute and means the same to every engine.
func plainPath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" && !strings.ContainsAny(p, ",:\x00\n") && len(p) < 4096
}

// add joins what two vendors say; each node and file is there once.
func (e Edits) add(more Edits) Edits {
	for _, n := range more.Nodes {
		if !slices.Contains(e.Nodes, n) {
			e.Nodes = append(e.Nodes, n)
		}
	}
	for _, f := range more.Files {
		if !slices.Contains(e.Files, f) {
			e.Files = append(e.Files, f)
		}
	}
	e.Env, e.CDI = append(e.Env, more.Env...), append(e.CDI, more.CDI...)
	if e.Folder == "" {
		e.Folder = more.Folder
	}
	return e
}

// ErrNoVendor is returned for devices whose maker nobody here knows.
var ErrNoVendor = errors.New("no driver is known that gives it to a container")

// Vendors are the makers whose devices a machine may have.
type Vendors []Vendor

// VendorsOf are those of the probes that are more than that.
func VendorsOf(probes []Probe) (all Vendors) {
	for _, p := range probes {
		if v, ok := p.(Vendor); ok {
			all = append(all, v)
		}
	}
	return all
}

// Hooked is a vendor whose devices an engine can give itself, by running the vendor's
// programs as root.
type Hooked interface {
	// HooksRefusal is why that must not be; nil: it may.
	HooksRefusal(context.Context) error
}

// HooksRefusal is why an engine must not give devices itself.
func (vs Vendors) HooksRefusal(ctx context.Context) error {
	for _, v := range vs {
		if h, ok := v.(Hooked); ok {
			if err := h.HooksRefusal(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Edits is what a container needs for exactly these devices: ids by the name of the
// vendor. None are needed for the processor.
func (vs Vendors) Edits(ctx context.Context, ids map[string][]string) (Edits, error) {
	var all Edits
	for _, v := range vs {
		wanted := ids[v.Vendor()]
		if len(wanted) == 0 {
			continue
		}
		e, err := v.Edits(ctx, wanted)
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			return Edits{}, fmt.Errorf("edits of %s: %w", v.Vendor(), err)
		}
		all = all.add(e)
	}
	for vendor, wanted := range ids {
		if !slices.ContainsFunc(vs, func(v Vendor) bool { return v.Vendor() == vendor }) {
			return Edits{}, fmt.Errorf("%v of %q: %w", wanted, vendor, ErrNoVendor)
		}
	}
	return all, nil
}
