package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/nvml"
)

// driver is souk's probe, by the bundle's souk.
func (s site) driver() nvml.Probe {
	souk := s.program("souk")
	return nvml.Probe{Command: []string{souk, "probe-nvml"}, EditsCommand: []string{souk, "edits-nvml"}}
}

// card is the first device that can be used.
func (s site) card(ctx context.Context) (gpu.Device, error) {
	devices, err := s.driver().Devices(ctx)
	if err != nil {
		return gpu.Device{}, err
	}
	for _, d := range devices {
		if d.Health == gpu.Healthy {
			return d, nil
		}
	}
	return gpu.Device{}, cannot("no NVIDIA device that is well: %d devices", len(devices))
}

// probe lists the cards, and holds the list against that of nvidia-smi.
func probe(ctx context.Context, s site, n *notes) error {
	devices, err := s.driver().Devices(ctx)
	if err != nil {
		return err
	}
	if len(devices) == 0 {
		return cannot("no NVIDIA driver or device on this machine")
	}
	n.figure("devices", devices)
	for _, d := range devices {
		n.figure(d.ID, fmt.Sprintf("%s, %d MiB, driver %s, CUDA %d, %s, confidential computing %q", d.Model, d.MemoryBytes>>20, d.Driver, d.CUDA, d.Health, d.Confidential))
	}
	return beside(ctx, s, n, devices)
}

// beside compares with what nvidia-smi says, where it is.
func beside(ctx context.Context, s site, n *notes, devices []gpu.Device) error {
	if s.Dry {
		n.figure("nvidia-smi", "not asked: the library is a stand-in")
		return nil
	}
	smi, err := exec.LookPath("nvidia-smi")
	if err != nil {
		n.figure("nvidia-smi", "not here")
		return nil
	}
	out, err := exec.CommandContext(ctx, smi, "-q", "-x").Output()
	if err != nil {
		n.problem("nvidia-smi -q -x: %v", err)
		return nil
	}
	if err := os.WriteFile(filepath.Join(s.Out, "nvidia-smi.xml"), out, 0o644); err != nil {
		return err
	}
	n.figure("nvidia-smi", said(ctx, smi, "--query-gpu=uuid,name,memory.total,memory.reserved,power.draw,driver_version,mig.mode.current", "--format=csv,noheader"))
	for _, d := range devices {
		if !strings.Contains(string(out), d.ID) {
			n.problem("nvidia-smi does not name %s", d.ID)
		}
	}
	return nil
}

// edits asks for what a container is given for each card, and looks whether all is there.
func edits(ctx context.Context, s site, n *notes) error {
	devices, err := s.driver().Devices(ctx)
	if err != nil {
		return err
	}
	if len(devices) == 0 {
		return cannot("no NVIDIA device on this machine")
	}
	for _, d := range devices {
		e, err := s.driver().Edits(ctx, []string{d.ID})
		if err != nil {
			n.problem("%s: %v", d.ID, err)
			continue
		}
		n.figure(d.ID, fmt.Sprintf("%d nodes, %d files", len(e.Nodes), len(e.Files)))
		n.figure("edits of "+d.ID, e)
		for _, name := range []string{"libcuda.so.1", "libnvidia-ml.so.1"} {
			if !named(e, name) {
				n.problem("%s: no %s is among the files", d.ID, name)
			}
		}
	}
	return nil
}

// named tells whether a program finds a library by its name.
func named(e gpu.Edits, name string) bool {
	for _, f := range e.Files {
		if filepath.Base(f.Path) == name {
			return true
		}
	}
	return false
}
