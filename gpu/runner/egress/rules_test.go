package egress

import (
	"net/netip"
	"strings"
	"testing"
)

// TestPublic has an address of each kind, in each of its disguises.
func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"1.1.1.1": true, "93.184.215.14": true, "2606:4700::1111": true, "2a00:1450:4001:830::200e": true, "::ffff:1.1.1.1": true,
		"0.0.0.0": false, "127.0.0.1": false, "127.9.9.9": false, "::1": false, "::": false, // this host
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "fc00::1": false, "fd00:ec2::254": false, // private
		"169.254.169.254": false, "169.254.170.2": false, "fe80::1": false, "fe80::1%eth0": false, "2606:4700::1111%eth0": false, // of a link
		"100.64.0.1": false, "100.100.100.200": false, "100.127.255.255": false, "192.0.0.192": false, "168.63.129.16": false, // carriers and clouds
		"224.0.0.1": false, "239.255.255.250": false, "255.255.255.255": false, "ff02::1": false, "ff0e::1": false, // groups
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "198.18.0.1": false, "240.0.0.1": false, "2001:db8::1": false, "3fff::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false, "::ffff:0:10.0.0.1": false, // mapped
		"2002:7f00:1::": false, "2002:a00:1::": false, "2002:101:101::": false, "2001:0:7f00:1::": false, // 6to4, Teredo
		"64:ff9b::127.0.0.1": false, "64:ff9b::169.254.169.254": false, "64:ff9b::1.1.1.1": false, "64:ff9b:1::10.0.0.1": false, // NAT64
		"fec0::1": false, "100::1": false, "5f00::1": false, "4000::1": false, // nobody's
	} {
		if got := Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t", addr, got)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestRules(t *testing.T) {
	r, err := Parse([]string{"example.org:443", "*.example.net:8443", "9.9.9.9:53", "[2620:fe::fe]:53", "xn--bcher-kva.example:80"})
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]bool{
		"example.org 443": true, "EXAMPLE.org. 443": true, "example.org 80": false, "a.example.org 443": false, "badexample.org 443": false,
		"a.example.net 8443": true, "a.b.example.net 8443": true, "example.net 8443": false, "example.net.evil.com 8443": false, "aexample.net 8443": false,
		"9.9.9.9 53": true, "::ffff:9.9.9.9 53": true, "9.9.9.10 53": false, "2620:fe::fe 53": true, "2620:fe:0::fe 53": true,
		"xn--bcher-kva.example 80": true, "*.example.net 8443": false, ".example.net 8443": false,
	} {
		host, port, _ := strings.Cut(asked, " ")
		got, err := parseTarget(host, port)
		if (err == nil && r.allow(got)) != want {
			t.Errorf("%s: %v, %v", asked, got, err)
		}
	}
	for _, bad := range []string{"", "example.org", "example.org:", "example.org:0", "example.org:0443", "example.org:65536", "example.org:https", ":443",
		"Example.org:443", "example.org.:443", "localhost:80", "*:443", "*.org:443", "*.*.example.org:443", "a*.example.org:443", "-a.example.org:443", "a..example.org:443",
		"bücher.example:443", "exa mple.org:443", "example.org/x:443", "u@example.org:443", "https://example.org:443", "127.1:80", "0x7f.0.0.1:80", "1.2.3.4.5:80", "example.1:80",
		"::1:80", "[::1%lo]:80", "[::ffff:1.1.1.1]:80", "[2620:fe:0::fe]:53", "[1.1.1.1]:80", "[example.org]:443", "example.org:25", strings.Repeat("a.", 127) + "org:443", strings.Repeat("a", 64) + ".org:443"} {
		if r, err := Parse([]string{bad}); err == nil {
			t.Errorf("%q is taken as %+v", bad, r)
		}
	}
	if _, err := Parse(nil); err == nil {
		t.Error("nothing is declared")
	}
	if _, err := Parse([]string{"example.org:443", "example.org:443"}); err == nil {
		t.Error("twice the same")
	}
	if _, err := Parse(make([]string, MaxRules+1)); err == nil || !strings.Contains(err.Error(), "33 hosts") {
		t.Errorf("too many: %v", err)
	}
}

// FuzzParse holds that whatever is taken is written in one way, and allows itself.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"example.org:443", "*.example.net:8443", "[2620:fe::fe]:53", "9.9.9.9:53", "127.1:80", "[::ffff:1.1.1.1]:80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse([]string{text})
		if err != nil {
			return
		}
		one := r.all[0]
		if one.sub {
			one.name = "x." + one.name
			text = "x" + text[1:]
		}
		asked := target{one.name, one.addr, one.port}
		if asked.String() != text || !r.allow(asked) {
			t.Errorf("%q is %+v", text, one)
		}
	})
}
