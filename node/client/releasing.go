package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/souk-market/souk/node/network"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
)

// unreleased is a lease without a run stream that its provider is to end.
type unreleased struct {
	lease   *Proposal
	discard bool // its outputs are not wanted either
}

// releases are leases whose providers wait to be told.
type releases chan unreleased

// add has [Client.Run] tell the provider of a lease that it is over.
func (r releases) add(s *Proposal, discard bool) {
	select {
	case r <- unreleased{s, discard}:
	default: // very many at once: those providers find out by themselves
	}
}

// release tells a lease's provider until it has ended the lease, for a while: it
// finds out by itself, but its devices wait till then.
func (d *Dealer) release(ctx context.Context, u unreleased) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Waits.ReleaseAway)
	defer cancel()
	for wait := reattachFirst; ; wait = min(2*wait, reattachMost) {
		err := d.releaseOnce(ctx, u)
		if err == nil || !network.Sleep(ctx, wait) {
			d.cfg.Log.Debug("lease released", "lease", u.lease.ID.Short(), "peer", u.lease.Peer, "err", err)
			return
		}
	}
}

// releaseOnce releases a lease by a stream for just that, and reads it to its end:
// then the provider has ended the lease.
func (d *Dealer) releaseOnce(ctx context.Context, u unreleased) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Waits.Release)
	defer cancel()
	st, done, err := d.openRun(ctx, u.lease.Peer)
	if err != nil {
		return err
	}
	defer done()
	err = errors.Join(
		wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: u.lease.ID.Digest[:]}}}),
		wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{DiscardOutputs: u.discard}}}),
		st.CloseWrite())
	if err != nil {
		return fmt.Errorf("release lease %s: %w", u.lease.ID.Short(), err)
	}
	if _, err := io.Copy(io.Discard, st); err != nil { // a reset that overtakes what was written would undo it
		return fmt.Errorf("release lease %s: %w", u.lease.ID.Short(), err)
	}
	return nil
}
