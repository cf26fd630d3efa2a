package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/souk-market/souk/node/network"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/proto/wire"
)

// letGo is a lease without a run stream that its provider is to end.
type letGo struct {
	s       *signing
	discard bool // its outputs are not wanted either
}

// letGo has Run tell the provider of a lease that it is over.
func (c *client) letGo(s *signing, discard bool) {
	select {
	case c.letGoes <- letGo{s, discard}:
	default: // very many at once: those providers find out by themselves
	}
}

// tellProvider tries until the provider has ended the lease, for a while: it finds
// out by itself, but its devices wait till then.
func (c *client) tellProvider(ctx context.Context, l letGo) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Waits.LetGo)
	defer cancel()
	for wait := reattachFirst; ; wait = min(2*wait, reattachMost) {
		err := c.tellOnce(ctx, l)
		if err == nil || !network.Sleep(ctx, wait) {
			c.cfg.Log.Debug("lease let go", "lease", l.s.id.Short(), "peer", l.s.peer, "err", err)
			return
		}
	}
}

// tellOnce releases a lease by a stream for just that, and reads it to its end:
// then the provider has ended the lease.
func (c *client) tellOnce(ctx context.Context, l letGo) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Waits.Release)
	defer cancel()
	if _, err := c.reach(ctx, l.s.peer); err != nil {
		return err
	}
	st, done, err := network.OpenStream(ctx, c.cfg.Host, l.s.peer, network.RunProtocol)
	if err != nil {
		return err
	}
	defer done()
	err = errors.Join(
		wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Attach{Attach: &runv1.Attach{Lease: l.s.id.Digest[:]}}}),
		wire.Write(st, &runv1.ToProvider{Message: &runv1.ToProvider_Release{Release: &runv1.Release{DiscardOutputs: l.discard}}}),
		st.CloseWrite())
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.s.id.Short(), err)
	}
	if _, err := io.Copy(io.Discard, st); err != nil { // a reset that overtakes what was written would undo it
		return fmt.Errorf("release lease %s: %w", l.s.id.Short(), err)
	}
	return nil
}
