package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/multiformats/go-multiaddr"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/souk-market/souk/payment/chain"
)

const configName = "config.yaml"

// configText is what `souk init` writes.
const configText = `# What ` + "`souk up`" + ` does when its flags say nothing else. All keys:
#
# listen: [/ip4/0.0.0.0/udp/4011/quic-v1, /ip4/0.0.0.0/tcp/4011]
# bootstrap: [/ip4/203.0.113.7/tcp/4011/p2p/12D3KooW…]
# mdns: true                     # find peers on the local network
# api: 127.0.0.1:7071            # page and API
# provide: false                 # sell this machine's devices
# price: {CPU: 0.05, RTX_4090: 0.40}   # tokens per device-hour
# payout: "0x…"                  # where earnings go; default: the wallet
# region: EU
# chain: ["https://…", "https://…"]    # JSON-RPC endpoints
# chain_id: 8453
# contracts: {settlement: "0x…", collector: "0x…", token: "0x…", anchors: "0x…", token_name: USD Coin, token_version: "2"}
# confirmations: 3               # blocks that a deposit waits for; a devnet needs one
# final_above: 1                 # tokens: a larger deposit must be final, but on a devnet
# devnet: false                  # serve an embedded test chain
# devnet_listen: 127.0.0.1:8545
`

// config is what `souk up` can be told, by config.yaml and then by flags.
type config struct {
	listen, bootstrap []string
	mdns              bool
	api               string
	provide           bool
	prices            map[string]souk.Atoms // tokens for one device and hour, by class
	payout, region    string
	chains            []string
	chainID           uint64
	contracts         chain.Contracts
	confirmations     uint64
	finalAbove        souk.Atoms
	devnet            bool
	devnetListen      string
}

func defaultConfig() config {
	return config{
		listen:       []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0"},
		mdns:         true,
		api:          "127.0.0.1:7071",
		prices:       make(map[string]souk.Atoms),
		contracts:    chain.DevnetContracts(),
		devnetListen: "127.0.0.1:8545",
	}
}

// readConfig reads config.yaml of a home; without one, the defaults hold.
func readConfig(home string) (config, error) {
	c := defaultConfig()
	name := filepath.Join(home, configName)
	src, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read config: %w", err)
	}
	root, err := yamlfile.Parse(src, name)
	if err == nil {
		err = root.Each([]string{"listen", "bootstrap", "mdns", "api", "provide", "price", "payout", "region", "chain",
			"chain_id", "contracts", "confirmations", "final_above", "devnet", "devnet_listen"}, c.set)
	}
	if err != nil {
		return c, &codeError{exitUsage, err}
	}
	return c, nil
}

func (c *config) set(key string, v yamlfile.Value) (err error) {
	switch key {
	case "listen":
		c.listen, err = v.Texts()
	case "bootstrap":
		c.bootstrap, err = v.Texts()
	case "chain":
		c.chains, err = v.Texts()
	case "mdns":
		c.mdns, err = v.Bool()
	case "provide":
		c.provide, err = v.Bool()
	case "devnet":
		c.devnet, err = v.Bool()
	case "api":
		c.api, err = v.Text()
	case "payout":
		c.payout, err = v.Text()
	case "region":
		c.region, err = v.Text()
	case "devnet_listen":
		c.devnetListen, err = v.Text()
	case "chain_id":
		c.chainID, err = setNumber(v, "a chain's id")
		return err
	case "confirmations":
		c.confirmations, err = setNumber(v, "a number of blocks")
		return err
	case "final_above":
		return setAtoms(&c.finalAbove, v)
	case "price":
		return v.Each(nil, func(class string, v yamlfile.Value) error {
			price, err := v.Literal()
			if err != nil {
				return err
			}
			if err := c.setPrice(class, price); err != nil {
				return v.Wrap(err)
			}
			return nil
		})
	case "contracts":
		return v.Each([]string{"settlement", "collector", "token", "anchors", "token_name", "token_version"}, c.setContract)
	}
	if err != nil {
		return err
	}
	if err := c.check(key); err != nil {
		return v.Wrap(err)
	}
	return nil
}

// setNumber reads a whole number above zero.
func setNumber(v yamlfile.Value, what string) (n uint64, err error) {
	text, err := v.Literal()
	if err != nil {
		return 0, err
	}
	if n, err = strconv.ParseUint(text, 10, 64); err != nil || n == 0 {
		return 0, v.Errorf("%q is not %s", text, what)
	}
	return n, nil
}

func setAtoms(to *souk.Atoms, v yamlfile.Value) error {
	text, err := v.Literal()
	if err != nil {
		return err
	}
	if *to, err = souk.ParseAtoms(text); err != nil {
		return v.Wrap(err)
	}
	return nil
}

func (c *config) setContract(name string, v yamlfile.Value) (err error) {
	switch name {
	case "token_name":
		c.contracts.TokenName, err = v.Text()
		return err
	case "token_version":
		c.contracts.TokenVersion, err = v.Text()
		return err
	}
	return setAddress(map[string]*common.Address{
		"settlement": &c.contracts.Settlement,
		"collector":  &c.contracts.Collector,
		"token":      &c.contracts.Token,
		"anchors":    &c.contracts.Anchors,
	}[name], v)
}

func setAddress(to *common.Address, v yamlfile.Value) error {
	text, err := v.Text()
	if err != nil {
		return err
	}
	if *to, err = parseAddress(text); err != nil {
		return v.Wrap(err)
	}
	return nil
}

var (
	classForm  = regexp.MustCompile(`^[A-Z0-9]+(_[A-Z0-9]+)*$`)
	regionForm = regexp.MustCompile(`^[A-Z0-9-]{1,16}$`)
)

// setPrice sets the price of a device class, in tokens for one device and hour.
func (c *config) setPrice(class, price string) error {
	if !classForm.MatchString(class) {
		return fmt.Errorf("%q is not a device class such as CPU or RTX_4090", class)
	}
	if strings.HasPrefix(price, "-") {
		return fmt.Errorf("%s=%s: price must not be negative", class, price)
	}
	atoms, err := souk.ParseAtoms(price)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", class, err)
	case atoms == 0:
		return fmt.Errorf("%s=%s: price must be above zero", class, price)
	}
	c.prices[class] = atoms
	return nil
}

// check looks at one key, by its name in the file.
func (c *config) check(key string) error {
	switch key {
	case "listen":
		return each(c.listen, func(s string) error {
			_, err := multiaddr.NewMultiaddr(s)
			return err
		})
	case "bootstrap":
		return each(c.bootstrap, func(s string) error {
			a, err := multiaddr.NewMultiaddr(s)
			if err != nil {
				return err
			}
			if _, err := a.ValueForProtocol(multiaddr.P_P2P); err != nil {
				return errors.New("has no /p2p/ and peer id at its end")
			}
			return nil
		})
	case "chain":
		return each(c.chains, func(s string) error {
			u, err := url.Parse(s)
			if err != nil {
				return err
			}
			if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return errors.New("is not an http or https address")
			}
			return nil
		})
	case "api":
		return checkHostPort(c.api)
	case "devnet_listen":
		return checkHostPort(c.devnetListen)
	case "payout":
		_, err := parseAddress(c.payout)
		return err
	case "region":
		if !regionForm.MatchString(c.region) {
			return fmt.Errorf("%q is not a region in capitals, such as EU", c.region)
		}
	}
	return nil
}

func each(items []string, check func(string) error) error {
	for _, s := range items {
		if err := check(s); err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
	}
	return nil
}

func checkHostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil && port == "" {
		err = errors.New("has no port")
	}
	if err != nil {
		return fmt.Errorf("%q is not host:port: %w", s, err)
	}
	return nil
}

// parseAddress reads an account's address. One in mixed case must have the
// checksum that its case spells.
func parseAddress(s string) (common.Address, error) {
	a := common.HexToAddress(s)
	digits := strings.TrimPrefix(s, "0x")
	if len(digits) != 40 || !strings.HasPrefix(s, "0x") || !common.IsHexAddress(s) {
		return a, fmt.Errorf("%q is not an address of 0x and 40 hex digits", s)
	}
	if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && s != a.Hex() {
		return a, fmt.Errorf("%s: its checksum is wrong: a letter was mistyped", s)
	}
	return a, nil
}
