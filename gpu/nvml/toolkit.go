package nvml

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// toolkitFloor is the first version of NVIDIA's container toolkit without known holes:
// CVE-2024-0132 (1.16.2), CVE-2025-23359 (1.17.4), CVE-2025-23266 (1.17.8), and
// CVE-2026-24260, whose notes name no version: the newest that was looked at.
var toolkitFloor = [3]int{1, 20, 2}

var toolkitVersion = regexp.MustCompile(`version (\d+)\.(\d+)\.(\d+)`)

// HooksRefusal is why an engine is not asked to give NVIDIA's devices itself: it would
// run a program of NVIDIA's toolkit as root, which must be there and have no known hole,
// whatever its settings mitigate (toolkit#1208). Nil: it may be.
func (Probe) HooksRefusal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, name := range []string{"nvidia-cdi-hook", "nvidia-ctk"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		if err != nil {
			return fmt.Errorf("ask %s its version: %w", path, err)
		}
		return toolkitRefusal(string(out))
	}
	return errors.New("NVIDIA's container toolkit is not on this machine")
}

// toolkitRefusal reads what the toolkit says of its version.
func toolkitRefusal(said string) error {
	m := toolkitVersion.FindStringSubmatch(said)
	if m == nil {
		return errors.New("NVIDIA's container toolkit does not say its version, so known holes cannot be ruled out")
	}
	for i, floor := range toolkitFloor {
		n, err := strconv.Atoi(m[i+1])
		switch {
		case err != nil || n < floor:
			return fmt.Errorf("NVIDIA's container toolkit %s.%s.%s runs as root with known holes: update it to %d.%d.%d", m[1], m[2], m[3], toolkitFloor[0], toolkitFloor[1], toolkitFloor[2])
		case n > floor:
			return nil
		}
	}
	return nil
}
