package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/multiformats/go-multiaddr"
	"github.com/souk-market/souk/market"
)

// checkMultiaddr wants an address that a node can listen at or, with a peer's id
// at its end, that it can dial.
func checkMultiaddr(s string, peer bool) error {
	example := "/ip4/0.0.0.0/tcp/4011"
	if peer {
		example = "/ip4/203.0.113.7/tcp/4011/p2p/12D3KooW…"
	}
	a, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		why := "" // the end of the library's text says what is wrong; the rest names its functions
		for part := range strings.SplitSeq(s, "/") {
			if near := market.Nearest(part, multiaddrWords); near != "" && near != part && !slices.Contains(multiaddrWords, part) {
				why = fmt.Sprintf("; did you mean %s?", near)
			}
		}
		return fmt.Errorf("is not a multiaddress such as %s%s", example, why)
	}
	_, noID := a.ValueForProtocol(multiaddr.P_P2P)
	if peer && noID != nil {
		return errors.New("has no /p2p/ and peer id at its end: without the id nobody could tell who answers")
	}
	for _, transport := range []int{multiaddr.P_TCP, multiaddr.P_UDP} {
		if _, err := a.ValueForProtocol(transport); err == nil {
			return nil
		}
	}
	return fmt.Errorf("names no port: write it as %s", example)
}

// multiaddrWords are those that people mistype.
var multiaddrWords = []string{"ip4", "ip6", "dns4", "dns6", "dnsaddr", "tcp", "udp", "quic-v1", "p2p"}

func checkURL(s string) error {
	const want = "is not an address such as https://example.com or http://127.0.0.1:8545"
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" && !strings.Contains(s, "://"):
		if _, _, err := net.SplitHostPort(s); err == nil {
			return fmt.Errorf("%s; did you mean http://%s?", want, s)
		}
		return errors.New(want)
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New(want)
	}
	return nil
}

func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.Contains(s, "/") {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:7071", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has no port from 0 to 65535 after its colon", s)
	}
	if strings.Trim(host, "0123456789.") == "" && host != "" && net.ParseIP(host) == nil {
		return fmt.Errorf("%q: %s is not an IP address", s, host)
	}
	return nil
}
