package egress

import "net/netip"

// special are ranges of unicast addresses that are nobody's host on the internet, or
// that lead to another address. A check would have to know where: they are refused.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this host
	netip.MustParsePrefix("100.64.0.0/10"),    // behind a carrier's NAT; 100.100.100.200 tells a cloud's secrets
	netip.MustParsePrefix("192.0.0.0/24"),     // of protocols; 192.0.0.192 tells a cloud's secrets
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation
	netip.MustParsePrefix("192.88.99.0/24"),   // relays of 6to4
	netip.MustParsePrefix("198.18.0.0/15"),    // measurements
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved, and broadcast
	netip.MustParsePrefix("168.63.129.16/32"), // the hypervisor of a cloud, to its guests
	netip.MustParsePrefix("2001::/23"),        // of protocols: Teredo, ORCHID, measurements
	netip.MustParsePrefix("2001:db8::/32"),    // documentation
	netip.MustParsePrefix("2002::/16"),        // 6to4: leads to an IPv4 address
	netip.MustParsePrefix("3fff::/20"),        // documentation
}

// internet is where IPv6 has addresses of hosts. What maps an IPv4 address, as NAT64
// (64:ff9b::/96, 64:ff9b:1::/48) does, and local ranges lie outside.
var internet = netip.MustParsePrefix("2000::/3")

// Public tells whether an address is that of a host on the internet.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !internet.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
