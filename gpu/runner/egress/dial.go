package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	dialWithin = 10 * time.Second // for a name's addresses and a connection to one of them
	maxDialled = 4                // addresses of a name that are tried
)

// refusedError is why a job does not reach what it asks for.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

// dial connects to a target that was declared. Its name is resolved once, and what was
// checked is what is dialled.
func (p *Proxy) dial(ctx context.Context, t target) (net.Conn, error) {
	if !p.cfg.Rules.allow(t) {
		return nil, &refusedError{fmt.Sprintf("%s is not among the hosts that the job declares in network", t)}
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	found := []netip.Addr{t.addr}
	if t.name != "" {
		var err error
		// With a dot at its end, no search of this machine's own domains is done.
		if found, err = p.cfg.Resolve(ctx, t.name+"."); err != nil {
			return nil, fmt.Errorf("find %s: %w", t.name, err)
		}
	}
	own, err := p.own()
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(slices.Clone(found), func(a netip.Addr) bool { return !p.reaches(a, own) })
	if len(found) == 0 {
		return nil, &refusedError{fmt.Sprintf("%s has no address that jobs may reach: only hosts on the internet, and not this one", t)}
	}
	return p.first(ctx, found[:min(len(found), maxDialled)], t.port)
}

// first connects to the first address that answers. One that is silent leaves the
// others their share of the time.
func (p *Proxy) first(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	var failed []error
	until, _ := ctx.Deadline()
	for i, a := range addrs {
		share, cancel := context.WithTimeout(ctx, time.Until(until)/time.Duration(len(addrs)-i))
		c, err := p.cfg.Dial(share, netip.AddrPortFrom(a.Unmap(), port))
		cancel()
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// reaches tells whether an address may be dialled.
func (p *Proxy) reaches(a netip.Addr, own []netip.Addr) bool {
	a = a.Unmap()
	if p.cfg.Allow != nil && p.cfg.Allow(a) {
		return true
	}
	return Public(a) && !slices.Contains(own, a)
}

// own are the addresses of this machine, and those by which others know it.
func (p *Proxy) own() (all []netip.Addr, err error) {
	if p.cfg.Own != nil {
		all = p.cfg.Own()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				all = append(all, ip)
			}
		}
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	return all, nil
}

// resolve asks this machine's resolver.
func resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// dialTCP connects to an address.
func dialTCP(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", a.String())
}
