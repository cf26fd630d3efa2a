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

// releaseLater is a lease without a run stream that its provider is to end.
type pendingRelease struct {
	s       *Proposal
	discard bool // its outputs are not wanted either
}

// releaseLater has Run tell the provider of a lease that it is over.
func (c *Client) releaseLater(s *Proposal, discard bool) {
	select {
	case c.releases <- pendingRelease{s, discard}:
	default: // very many at once: those providers find out by themselves
	}
}

// releaseUntilHeard tries until the provider has ended the lease, for a while: it finds
// out by itself, but its devices wait till then.
func (c *Client) releaseUntilHeard(ctx context.Context, l pendingRelease) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Waits.LetGo)
	defer cancel()
	for wait := reattachFirst; ; wait = min(2*wait, reattachMost) {
		err := c.releaseOnce(ctx, l)
		if err == nil || !network.Sleep(ctx, wait) {
			c.cfg.Log.Debug("lease let go", "lease", l.s.ID.Short(), "peer", l.s.Peer, "err", err)
			return
		}
	}
}

// releaseOnce releases a lease by a stream for just that, and reads it to its end:
// then the provider has ended the lease.
func (c *Client) releaseOnce(ctx context.Context, l pendingRelease) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Waits.Release)
	defer cancel()
	if _, err := c.reach(ctx, l.s.Peer); err != nil {
		return err
	}
	st, done, err := network.OpenStream(ctx, c.cfg.Host, l.s.Peer, network.RunProtocol)
	if err != nil {
		return err
	}
	defer done()
	err = errors.Join(
		wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: l.s.ID.Digest[:]}}}),
		wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{DiscardOutputs: l.discard}}}),
		st.CloseWrite())
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.s.ID.Short(), err)
	}
	if _, err := io.Copy(io.Discard, st); err != nil { // a reset that overtakes what was written would undo it
		return fmt.Errorf("release lease %s: %w", l.s.ID.Short(), err)
	}
	return nil
}
