package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/vendors"
)

// trialWithin bounds the container of one device.
const trialWithin = time.Minute

// trialOwner marks the containers of all trials: what one that was killed left behind,
// the next one removes.
const trialOwner = "d0c70000000000000000000000000000"

// trials starts a container on each GPU that is well, by the runner that jobs
// have. What is wrong with a device itself, the check before has said.
func (p *patient) trials(ctx context.Context) (all []finding) {
	self, err := os.Executable()
	if err != nil {
		return []finding{fail("", "%v", err)}
	}
	makers := vendors.All([]string{self})
	asked, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	devices, err := devicesOf(asked, makers)
	if err != nil {
		return []finding{fail("", "the driver cannot be asked: %v", err)}
	}
	r, end, err := p.trialRunner(ctx, self, makers)
	defer end()
	fix := "see engine above"
	if p.config.engine == engineNone {
		fix = "engine: auto in config.yaml"
	}
	for _, d := range devices {
		switch {
		case d.Health != gpu.Healthy:
		case err != nil:
			all = append(all, fail(fix, "%s (%s): no job of an image can have it: %v", d.ID, d.Model, err))
		default:
			all = append(all, tryDevice(ctx, r, d))
		}
	}
	if len(all) == 0 {
		return []finding{fine("no GPU that is well, so none was tried in a container")}
	}
	return all
}

// trialRunner is a runner of this check's own. End removes what it made.
func (p *patient) trialRunner(ctx context.Context, self string, makers gpu.Vendors) (r *oci.Runner, end func(), err error) {
	end = func() {}
	if p.config.engine == engineNone {
		return nil, end, errors.New("the settings want no container engine")
	}
	e := oci.NewEngine(p.config.engines(p.app.env)...)
	e.Look(ctx)
	if err := e.Refusal(); err != nil {
		return nil, end, err
	}
	dir, err := os.MkdirTemp("", "souk-doctor-")
	if err != nil {
		return nil, end, err
	}
	end = func() { _ = os.RemoveAll(dir) } // the system's own folder of what is temporary
	r, err = oci.New(oci.Config{Engine: e, Owner: trialOwner, Dir: dir, Gate: self, Vendors: makers,
		ByEngine: p.config.devices == devicesEngine})
	return r, end, err
}

// tryDevice starts a container on one device.
func tryDevice(ctx context.Context, r *oci.Runner, d gpu.Device) finding {
	ctx, cancel := context.WithTimeout(ctx, trialWithin)
	defer cancel()
	began := time.Now()
	if err := r.Try(ctx, []runner.Device{{ID: d.ID, Class: d.Class, Vendor: d.Vendor}}); err != nil {
		return fail(mend(err), "%s (%s) in a container: %v", d.ID, d.Model, err)
	}
	return fine("%s (%s) in a container: it shows exactly this device, and CUDA starts (%v)", d.ID, d.Model, time.Since(began).Round(10*time.Millisecond))
}

// mend says what to do about a container that did not get its device.
func mend(err error) string {
	text := err.Error()
	for _, m := range []struct{ sign, fix string }{
		{"CUDA does not start", "modprobe nvidia_uvm; after an update of the driver, reboot"},
		{"libcuda", "install the driver's libcuda again, of the same version as its kernel module"},
		{"libnvidia-ml", "install the driver's libraries again"},
		{"cannot be opened", "ls -l /dev/nvidia*, and nvidia-modprobe -u as root"},
		{"missing inside", "nvidia-modprobe -u as root; nvidia-ctk system create-dev-char-symlinks --create-all"},
		{"device node", "nvidia-modprobe -u as root, or nvidia-smi as root"},
		{"did not say within", "the driver may hang: nvidia-smi; reboot if it does not answer"},
	} {
		if strings.Contains(text, m.sign) {
			return m.fix
		}
	}
	return "see GPUs in docs/operations.md"
}
