package node

import (
	"context"
	"fmt"
	"strings"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/node/proof"
	"github.com/souk-market/souk/node/provider"
)

// buildProofs makes what challenges others, and what answers challenges here.
func (n *Node) buildProofs() (err error) {
	if n.cfg.Provers == nil && len(n.cfg.Self) > 0 {
		n.cfg.Provers = provers{command: n.child("challenge-exec")}
	}
	n.proofs, err = proof.NewChallenger(proof.Config{Key: n.cfg.Identity, Host: n.host, Dial: n.dial, Ledger: n.ledger, Log: n.cfg.Log})
	return err
}

// provers computes challenges in processes of our own.
type provers struct{ command []string }

// Backend implements [provider.Provers]: NVIDIA's devices by their driver, and the
// processor by itself, which the evidence then says.
func (provers) Backend(d gpu.Device) (string, error) {
	switch {
	case d.CPU:
		return string(process.Reference), nil
	case strings.HasPrefix(d.ID, "GPU-") || strings.HasPrefix(d.ID, "MIG-"):
		return string(process.CUDA), nil
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
