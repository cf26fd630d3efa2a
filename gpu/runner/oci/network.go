package oci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/souk-market/souk/gpu/runner/egress"
	"github.com/souk-market/souk/gpu/runner/gate"
)

// reach is how a container reaches the hosts that its job declared: through a proxy of
// ours on its own loopback. It has no other network.
type reach struct {
	proxy  *egress.Proxy
	socket net.Listener // in the container's network; nil: it was not handed over yet
}

// reach makes the proxy for a job's hosts; nil: it reaches none.
func (r *Runner) reach(hosts []string) (*reach, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	if !r.egress {
		return nil, errors.New("the owner of this machine lets no job reach hosts")
	}
	rules, err := egress.Parse(hosts)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	c := egress.Config{Rules: rules, Own: r.own, Log: r.log}
	if r.private {
		c.Allow = netip.Addr.IsLoopback
	}
	return &reach{proxy: egress.New(c)}, nil
}

// apply tells the job's programs of the proxy, but where the job says otherwise itself.
func (r *reach) apply(c *container.Config, job []string) {
	if r == nil {
		return
	}
	at := fmt.Sprintf("http://127.0.0.1:%d", gate.ProxyPort)
	for _, v := range []string{"HTTP_PROXY=" + at, "HTTPS_PROXY=" + at, "ALL_PROXY=" + at, "NO_PROXY=localhost,127.0.0.1,::1"} {
		name, value, _ := strings.Cut(v, "=")
		for _, name := range []string{name, strings.ToLower(name)} { // programs differ in which they read
			if !slices.ContainsFunc(job, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
				c.Env = append(c.Env, name+"="+value)
			}
		}
	}
}

// take takes the container's socket from its gate.
func (r *reach) take(ctx context.Context, d *gate.Door) (err error) {
	if r == nil {
		return nil
	}
	r.socket, err = d.Proxy(ctx)
	return err
}

// serve answers the job until ctx ends.
func (r *reach) serve(ctx context.Context) {
	if r != nil && r.socket != nil {
		r.proxy.Run(ctx, r.socket)
	}
}

// release closes a socket that nobody serves any more.
func (r *reach) release() {
	if r != nil && r.socket != nil {
		_ = r.socket.Close() // it may be closed already
	}
}
