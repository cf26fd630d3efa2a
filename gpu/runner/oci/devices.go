package oci

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/gate"
)

// gateMemory is what a container with a gate has beside the job's memory, in bytes,
// for the programs that look at them.
const gateMemory = 256 << 20

// kitOf prepares the gate for the first container that needs it.
func kitOf(program, dir string) func() (*gate.Kit, error) {
	return sync.OnceValues(func() (*gate.Kit, error) {
		if program == "" {
			return nil, errors.New("this node has no program that comes before a job in its container, so none gets devices or reaches hosts")
		}
		path, err := filepath.Abs(program)
		if err != nil {
			return nil, err
		}
		return gate.NewKit(path, filepath.Join(dir, "gate"))
	})
}

// held is what a container with a gate is given: its leased devices, and the hosts that
// its job may reach.
type held struct {
	edits   gpu.Edits
	ids     []string
	vendors string // with commas between them

	byEngine bool // the engine gives them itself
	kit      *gate.Kit
	door     *gate.Door
	reach    *reach // nil: it has no network
}

// hold finds what a container needs for exactly the leased devices, and to reach the
// declared hosts; nil: it has the processor alone, and no network.
func (r *Runner) hold(ctx context.Context, s runner.Spec, f Facts) (*held, error) {
	h := &held{byEngine: r.byEngine}
	byVendor := map[string][]string{}
	for _, d := range s.Devices {
		switch {
		case d.Class == gpu.ClassCPU:
		case d.Vendor == "":
			return nil, fmt.Errorf("device %s: this machine no longer has it, or no driver gives it to containers", d.ID)
		default:
			byVendor[d.Vendor] = append(byVendor[d.Vendor], d.ID)
			h.ids = append(h.ids, d.ID)
		}
	}
	var err error
	if h.reach, err = r.reach(s.Hosts); err != nil {
		return nil, err
	}
	if len(h.ids) == 0 && h.reach == nil {
		return nil, nil
	}
	h.vendors = strings.Join(slices.Sorted(maps.Keys(byVendor)), ",")
	if h.kit, err = r.kit(); err != nil {
		return nil, err
	}
	if h.edits, err = r.vendors.Edits(ctx, byVendor); err != nil {
		return nil, err
	}
	if h.byEngine && len(h.ids) > 0 {
		if err := f.byEngine(ctx, r.vendors, h.edits); err != nil {
			return nil, err
		}
	}
	if h.door, err = gate.NewDoor(filepath.Join(r.dir, "gates", containerName(s))); err != nil {
		return nil, err
	}
	if h.reach != nil {
		if err := h.door.Expect(); err != nil {
			return nil, errors.Join(err, h.door.Close())
		}
	}
	return h, nil
}

// release removes what was made for the container.
func (h *held) release() {
	if h == nil {
		return
	}
	h.reach.release()
	if h.door != nil {
		_ = h.door.Close() // what is left is removed when the lease's name comes again
	}
}

// apply gives a container its devices as the engine's own settings: nodes, files and
// variables. No device list of the engine and no hook takes part, but where its owner
// wants them. Its first program is the gate. An error is about the image.
func (h *held) apply(c *client.ContainerCreateOptions, img image, job []string) error {
	if h == nil {
		return nil
	}
	command := slices.Concat(c.Config.Entrypoint, c.Config.Cmd)
	if len(command) == 0 {
		command = img.Command
	}
	if len(command) == 0 || command[0] == "" {
		return &invalidError{"the image's command cannot be run: no command specified"}
	}
	full := h.kit.Command(h.edits.Folder, slices.Concat([]string{gate.Pass, h.vendors}, command)...)
	c.Config.Entrypoint, c.Config.Cmd = full[:1:1], full[1:]
	if h.byEngine && len(h.ids) > 0 {
		request(c, h.edits)
	} else {
		for _, n := range h.edits.Nodes {
			c.HostConfig.Devices = append(c.HostConfig.Devices, container.DeviceMapping{PathOnHost: n.Host, PathInContainer: n.Path, CgroupPermissions: "rw"})
		}
	}
	shown := h.kit.Mounts()
	shown[gate.Folder] = h.door.Folder
	for _, f := range h.edits.Files {
		shown[f.Path] = f.Host
	}
	for _, target := range slices.Sorted(maps.Keys(shown)) {
		c.HostConfig.Mounts = append(c.HostConfig.Mounts, mount.Mount{Type: mount.TypeBind, Source: shown[target], Target: target, ReadOnly: true,
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate}})
	}
	more := h.edits.Env
	if h.edits.Folder != "" && !h.byEngine {
		more = append(slices.Clone(more), "LD_LIBRARY_PATH="+h.edits.Folder)
	}
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		c.Config.Env = append(slices.DeleteFunc(c.Config.Env, func(had string) bool { return strings.HasPrefix(had, name+"=") }), v)
	}
	h.reach.apply(c.Config, job)
	c.HostConfig.Memory += gateMemory
	c.HostConfig.MemorySwap = c.HostConfig.Memory
	return nil
}
