package nvml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/child"
)

// Names of environment variables for a driver that is not where drivers are.
const (
	DriverRootVariable = "SOUK_NVML_DRIVER_ROOT" // the folder its libraries are found below; default: the system's root, then where containers of drivers put theirs
	DevRootVariable    = "SOUK_NVML_DEV_ROOT"    // the folder below which dev/ has its nodes; default: the root
	ProcVariable       = "SOUK_NVML_PROC"        // the kernel's folder of drivers; default: /proc/driver
)

const (
	editsWithin = 20 * time.Second // a cold driver takes seconds
	maxWanted   = 64               // devices of one container
	maxReason   = 2000             // bytes of why there are no edits
)

// wanted is the line that the child is asked with.
type wanted struct {
	IDs []string `json:"ids"`
}

// edited is the line that it answers with.
type edited struct {
	Edits gpu.Edits `json:"edits"`
	Error string    `json:"error,omitempty"` // for people
}

// Vendor implements [gpu.Vendor].
func (Probe) Vendor() string { return Vendor }

// Edits implements [gpu.Vendor], by NVIDIA's own code in a child process. Nodes that
// are gone when they are to be used are looked for once more.
func (p Probe) Edits(ctx context.Context, ids []string) (gpu.Edits, error) {
	e, err := p.edits(ctx, ids)
	if err != nil {
		return gpu.Edits{}, err
	}
	if present(e) != nil {
		if e, err = p.edits(ctx, ids); err == nil {
			err = present(e)
		}
	}
	for _, id := range ids {
		e.CDI = append(e.CDI, "nvidia.com/gpu="+id)
	}
	return e, err
}

func (p Probe) edits(ctx context.Context, ids []string) (gpu.Edits, error) {
	switch {
	case len(p.EditsCommand) == 0:
		return gpu.Edits{}, errors.New("this node has no command that asks NVIDIA's driver for them")
	case len(ids) > maxWanted:
		return gpu.Edits{}, fmt.Errorf("%d devices, at most %d", len(ids), maxWanted)
	}
	order, err := json.Marshal(wanted{ids})
	if err != nil {
		return gpu.Edits{}, err
	}
	within := editsWithin
	if p.Timeout > 0 {
		within = p.Timeout
	}
	c, err := child.Start(child.Config{Command: p.EditsCommand, Env: environment(os.Environ()), MaxLine: maxListing, Kill: p.kill})
	if err != nil {
		return gpu.Edits{}, err
	}
	defer c.End()
	if err := c.Send(order); err != nil {
		return gpu.Edits{}, err
	}
	line, err := c.Next(ctx, within)
	if err != nil {
		return gpu.Edits{}, err
	}
	return decodeEdits(line)
}

// decodeEdits reads the child's answer strictly.
func decodeEdits(line []byte) (gpu.Edits, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	var got edited
	if err := d.Decode(&got); err != nil {
		return gpu.Edits{}, err
	}
	if d.More() {
		return gpu.Edits{}, errors.New("more than one value")
	}
	if got.Error != "" {
		if len(got.Error) > maxReason || !plain.MatchString(got.Error) {
			return gpu.Edits{}, errors.New("the driver cannot be asked, and does not say why")
		}
		return gpu.Edits{}, errors.New(got.Error)
	}
	return got.Edits, got.Edits.Validate()
}

// present refuses edits that name what is not there: a driver that was loaded anew may
// have other nodes than a moment ago.
func present(e gpu.Edits) error {
	for _, n := range e.Nodes {
		info, err := os.Stat(n.Host)
		if err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return fmt.Errorf("the device node %s is gone: load the driver again", n.Host)
		}
	}
	for _, f := range e.Files {
		if info, err := os.Stat(f.Host); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("the driver's file %s is gone: install the driver again", f.Host)
		}
	}
	return nil
}
