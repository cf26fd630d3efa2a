package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu"
)

// Versions from which an engine's Docker API gives devices by their names of the
// Container Device Interface: older ones drop the request without a word.
var (
	dockerCDI = [2]int{28, 2}
	podmanCDI = [2]int{5, 5}
)

// cdi is why an engine cannot give devices by itself; nil: it can.
func (f Facts) cdi() error {
	floor := dockerCDI
	if f.Podman {
		floor = podmanCDI
	}
	words := strings.SplitN(f.Version, ".", 3)
	if len(words) < 2 {
		return fmt.Errorf("%s does not say its version", f.Name())
	}
	major, err := strconv.Atoi(words[0])
	minor, err2 := strconv.Atoi(words[1])
	if err = errors.Join(err, err2); err != nil {
		return fmt.Errorf("the version of %s: %w", f.Name(), err)
	}
	if major < floor[0] || major == floor[0] && minor < floor[1] {
		return fmt.Errorf("%s cannot give devices by itself, which takes version %d.%d: let souk do it (--devices souk)", f.Name(), floor[0], floor[1])
	}
	return nil
}

// byEngine refuses devices that the engine is to give itself and cannot: it is too old,
// would run a program with known holes as root, or has no list with their UUIDs.
func (f Facts) byEngine(ctx context.Context, vendors gpu.Vendors, e gpu.Edits) error {
	if err := f.cdi(); err != nil {
		return err
	}
	if err := vendors.HooksRefusal(ctx); err != nil {
		return err
	}
	if len(e.CDI) == 0 {
		return errors.New("the engine has no names for these devices: let souk give them (--devices souk)")
	}
	for _, name := range e.CDI {
		if f.Devices != nil && !slices.Contains(f.Devices, name) {
			return fmt.Errorf("the engine's device list has no %s, it has %s: make it anew with nvidia-ctk cdi generate --device-name-strategy=uuid, or let souk do it (--devices souk)",
				name, shortList(f.Devices))
		}
	}
	return nil
}

func shortList(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names[:min(len(names), 4)], ", ")
}

// request asks the engine for devices by their names. The driver's libraries are
// where its list puts them.
func request(c *client.ContainerCreateOptions, e gpu.Edits) {
	c.HostConfig.DeviceRequests = append(c.HostConfig.DeviceRequests, container.DeviceRequest{Driver: "cdi", DeviceIDs: e.CDI})
}
