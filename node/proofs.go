package node

import (
	"context"
	"fmt"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/gpu/inventory"
	"github.com/souk-market/souk/gpu/vendors"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/node/provider"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
)

// buildProofs makes what challenges others, and what answers challenges here.
func (n *Node) buildProofs() (err error) {
	if n.cfg.Provers == nil && len(n.cfg.Self) > 0 {
		n.cfg.Provers = provers{command: n.child("challenge-exec")}
	}
	if n.cfg.Wiper == nil && len(n.cfg.Self) > 0 {
		n.cfg.Wiper = wiper{command: n.child("challenge-exec"), devices: n.devices}
	}
	n.proofs, err = proof.NewChallenger(proof.Config{Key: n.cfg.Identity, Host: n.host, Dial: n.dial, Ledger: n.ledger, Log: n.cfg.Log})
	return err
}

// evidence is how well an offer's devices are proved to this node: by what its own
// challenges of them came to. What an offer says of itself does not count.
func (n *Node) evidence(o *market.Offer) marketv1.Evidence {
	if e := n.proofs.Own(o.Provider, o.Class); e != nil && e.Counts(n.cfg.Now(), o.MemoryBytes) {
		return marketv1.Evidence_EVIDENCE_CHALLENGED
	}
	return marketv1.Evidence_EVIDENCE_NONE
}

// wiper overwrites the memory of NVIDIA's devices in a process of our own, and asks
// their driver what is left there.
type wiper struct {
	command []string
	devices *inventory.Inventory
}

const (
	// leftMost is what a driver may keep in use on a device on which nothing runs.
	leftMost = 1 << 30
	// lookWithin is how long to wait for the driver to say what is left.
	lookWithin = 5 * time.Second
)

// Wipes implements [provider.Wiper].
func (wiper) Wipes(d gpu.Device) bool {
	by, ok := vendors.Backend(d)
	return ok && !d.CPU && !d.Simulated && by == process.CUDA
}

// Wipe implements [provider.Wiper].
func (w wiper) Wipe(ctx context.Context, d gpu.Device) error {
	bytes, err := process.Wipe(ctx, process.Config{Command: w.command, Backend: process.CUDA}, d.ID, d.MemoryBytes)
	if err != nil {
		return err
	}
	// A driver keeps some for itself. What a program holds is not free, so it is missing.
	if short := d.MemoryBytes - min(bytes, d.MemoryBytes); short > max(leftMost, d.MemoryBytes/8) {
		return fmt.Errorf("%s of %s could not be overwritten: something holds them", souk.FormatSize(short), souk.FormatSize(d.MemoryBytes))
	}
	return w.nothingLeft(ctx, d.ID, time.Now())
}

// nothingLeft asks what the driver saw after a time. What it cannot tell is not held
// against the device.
func (w wiper) nothingLeft(ctx context.Context, id string, after time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	for {
		if seen := w.devices.Samples(id, after); len(seen) > 0 {
			s := seen[len(seen)-1]
			if n := s.ComputeProcesses.Or(0); n > 0 {
				return fmt.Errorf("%d programs still compute on it", n)
			}
			if used := s.MemoryUsedBytes.Or(0); used > leftMost && s.GraphicsProcesses.Or(0) == 0 {
				return fmt.Errorf("%s of its memory are in use, and no program is to be seen", souk.FormatSize(used))
			}
			return nil
		}
		if !network.Sleep(ctx, 200*time.Millisecond) {
			return nil // it takes no samples: the wipe itself is what is known
		}
	}
}

// provers computes challenges in processes of our own.
type provers struct{ command []string }

// Backend implements [provider.Provers]. The processor is its own, which the evidence
// then says.
func (provers) Backend(d gpu.Device) (string, error) {
	if by, ok := vendors.Backend(d); ok {
		return string(by), nil
	}
	return "", fmt.Errorf("no kernels for %s", d.Model)
}

// Start implements [provider.Provers].
func (p provers) Start(ctx context.Context, c challenge.Challenge, d gpu.Device) (provider.ProvingDevice, error) {
	by, err := p.Backend(d)
	if err != nil {
		return nil, err
	}
	device, err := process.Start(ctx, process.Config{Command: p.command, Backend: process.Backend(by)}, c, d.ID)
	if err != nil {
		return nil, err // a nil pointer in an interface would not be nil
	}
	return device, nil
}
