package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge/process"
)

// memory has a process fill the card with a pattern and another count what is left of
// it, without souk's wipe and with it.
func memory(ctx context.Context, s site, n *notes) error {
	d, err := s.card(ctx)
	if err != nil {
		return err
	}
	left := map[bool]counted{}
	for _, wiped := range []bool{false, true} {
		filled, err := s.onCard(ctx, d, jobFill)
		if err != nil {
			return err
		}
		if wiped {
			cfg := process.Config{Command: []string{s.program("souk"), "challenge-exec"}, Backend: process.CUDA}
			bytes, err := process.Wipe(ctx, cfg, d.ID, d.MemoryBytes)
			if err != nil {
				return fmt.Errorf("wipe: %w", err)
			}
			n.figure("bytes overwritten", bytes)
		}
		if left[wiped], err = s.onCard(ctx, d, jobCount); err != nil {
			return err
		}
		n.figure(map[bool]string{false: "left to the driver", true: "after souk's wipe"}[wiped],
			map[string]uint64{"pages_marked": filled.Pages, "pages_looked_at": left[wiped].Pages, "marks_found": left[wiped].Left})
	}
	if left[true].Left > 0 {
		n.problem("%d marks of another are left after the wipe", left[true].Left)
	}
	return nil
}

// onCard runs a job of ours on a card, in no container.
func (s site) onCard(ctx context.Context, d gpu.Device, name string) (c counted, err error) {
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	cmd := exec.CommandContext(ctx, self, wordJob, name)
	cmd.Env = append(os.Environ(), "CUDA_VISIBLE_DEVICES="+d.ID, "CUDA_CACHE_DISABLE=1")
	out, err := cmd.Output()
	if err != nil {
		if failed, ok := err.(*exec.ExitError); ok {
			err = fmt.Errorf("%w: %s", err, lastLine(failed.Stderr))
		}
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, json.Unmarshal(out, &c)
}
