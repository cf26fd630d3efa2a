// Package egress lets a job reach the hosts that it declared, and nothing else.
//
// A job has no network but a loopback of its own, on which a proxy of the host listens:
// the job asks it for each connection, and the proxy dials for it. A host is reached if
// the job declared it and its address is one of the internet: the address that was
// checked is the one that is dialled. Every byte that passes is counted, either way.
// What a job says on a connection is its own: nobody looks into it.
package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	// MaxRules bounds the hosts that a job declares.
	MaxRules = 32
	// MaxRuleBytes bounds one of them.
	MaxRuleBytes = 260
	// maxName is what a name in the DNS can have.
	maxName = 253
)

// Rules are the hosts that a job declared. The zero value reaches nothing.
type Rules struct{ all []rule }

// rule is one host with a port.
type rule struct {
	name string     // in small letters; empty: an address
	sub  bool       // every name below name, and not name itself
	addr netip.Addr // where name is empty
	port uint16
}

// Parse reads hosts as a job declares them: NAME:PORT, *.NAME:PORT for every name below
// NAME, or ADDRESS:PORT. There is one way to write each. Names are in small letters and
// have a dot; those of other alphabets are written as the DNS has them (xn--…). Port 25
// is nobody's: mail that a job sends would be its provider's.
func Parse(hosts []string) (Rules, error) {
	var r Rules
	if len(hosts) == 0 || len(hosts) > MaxRules {
		return r, fmt.Errorf("%d hosts, not 1 to %d", len(hosts), MaxRules)
	}
	for _, h := range hosts {
		one, err := parse(h)
		if err != nil {
			return Rules{}, fmt.Errorf("%.80q %w", h, err)
		}
		if slices.Contains(r.all, one) {
			return Rules{}, fmt.Errorf("%.80q is there twice", h)
		}
		r.all = append(r.all, one)
	}
	return r, nil
}

// errForm says what a host is.
var errForm = errors.New("is not a host with a port, such as example.org:443 or *.example.org:443")

func parse(text string) (rule, error) {
	if len(text) > MaxRuleBytes {
		return rule{}, errForm
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return rule{}, errForm
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 || strconv.FormatUint(port, 10) != digits {
		return rule{}, errForm
	}
	if port == 25 {
		return rule{}, errors.New("is a server of mail: jobs send none")
	}
	r := rule{port: uint16(port)}
	if a, err := netip.ParseAddr(host); err == nil {
		if r.addr = a; a.Zone() != "" || a.Is4In6() || netip.AddrPortFrom(a, r.port).String() != text {
			return rule{}, fmt.Errorf("is written otherwise: %s", netip.AddrPortFrom(a.Unmap().WithZone(""), r.port))
		}
		return r, nil
	}
	if r.name, r.sub = strings.CutPrefix(host, "*."); !isName(r.name) || net.JoinHostPort(host, digits) != text {
		return rule{}, errForm
	}
	return r, nil
}

// isName tells whether s is a name of the public DNS as this package writes it: at least
// two labels of small letters, digits and dashes, the last of which begins with a letter.
// What resolvers would take for an address in disguise, 127.1 or 0x7f.0.0.1, is none.
func isName(s string) bool {
	labels := strings.Split(s, ".")
	if len(s) > maxName || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	last := labels[len(labels)-1]
	return last[0] >= 'a' && last[0] <= 'z'
}

// target is what a job asks for.
type target struct {
	name string     // in small letters, without a dot at its end; empty: an address
	addr netip.Addr // where name is empty
	port uint16
}

// String is the target as people write it.
func (t target) String() string {
	host := t.name
	if host == "" {
		host = t.addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(t.port)))
}

// parseTarget reads a host and a port as a job's programs write them.
func parseTarget(host, port string) (target, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || len(host) > maxName+1 {
		return target{}, errForm
	}
	t := target{port: uint16(n)}
	if a, err := netip.ParseAddr(host); err == nil {
		if t.addr = a.Unmap(); a.Zone() != "" {
			return target{}, errForm
		}
		return t, nil
	}
	if t.name = strings.TrimSuffix(strings.ToLower(host), "."); !isName(t.name) {
		return target{}, errForm
	}
	return t, nil
}

// allow tells whether a target was declared.
func (r Rules) allow(t target) bool {
	return slices.ContainsFunc(r.all, func(d rule) bool {
		switch {
		case d.port != t.port:
			return false
		case d.name == "" || t.name == "":
			return d.name == t.name && d.addr == t.addr
		case d.sub:
			return strings.HasSuffix(t.name, "."+d.name)
		}
		return d.name == t.name
	})
}
