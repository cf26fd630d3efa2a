package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/payment"
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
# tariff: {CPU: {reserved-ms: 0.01 per 3600000}}   # what is priced beside the hour, by unit
# egress: false                  # jobs that are images may reach the hosts on the internet that they declare
# when_idle: false               # sell a GPU only while nothing of yours runs on it
# payout: "0x…"                  # where earnings go; default: the wallet
# region: EU
# engine: auto                   # what runs images: auto finds Docker or Podman; none; or unix:///PATH of its socket
# devices: souk                  # who gives containers their GPUs: souk, or engine, by its device list and NVIDIA's hooks
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
	provide, whenIdle bool
	egress            bool                      // jobs may reach the hosts that they declare
	prices            map[string]souk.Atoms     // tokens for one device and hour, by class
	lines             map[string]payment.Tariff // what is priced beside that, by class
	tariffAt          map[string]yamlfile.Value // where the file says so
	payout, region    string
	engine            string // auto, none or the address of a socket
	devices           string // souk or engine
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
		lines:        make(map[string]payment.Tariff),
		tariffAt:     make(map[string]yamlfile.Value),
		engine:       engineAuto,
		devices:      devicesSouk,
		contracts:    chain.DevnetContracts(),
		devnetListen: "127.0.0.1:8545",
	}
}

// What the mappings of config.yaml may hold; price and tariff have the classes of devices.
var (
	configKeys = []string{"listen", "bootstrap", "mdns", "api", "provide", "price", "tariff", "egress", "when_idle", "payout", "region", "engine", "devices", "chain",
		"chain_id", "contracts", "confirmations", "final_above", "devnet", "devnet_listen"}
	contractKeys = []string{"settlement", "collector", "token", "anchors", "token_name", "token_version"}
)

// configPaths are the paths of all keys that config.yaml may hold.
func configPaths() []string {
	paths := slices.Clone(configKeys)
	for _, k := range contractKeys {
		paths = append(paths, "contracts."+k)
	}
	return paths
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
	root, err := yamlfile.Parse(src, name, configPaths()...)
	if err == nil {
		err = root.Each(configKeys, c.set)
	}
	if err == nil {
		err = c.checkTariffs()
	}
	if err != nil {
		return c, &souk.Error{Code: souk.CodeInvalid, Err: err}
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
	case "egress":
		c.egress, err = v.Bool()
	case "when_idle":
		c.whenIdle, err = v.Bool()
	case "devnet":
		c.devnet, err = v.Bool()
	case "api":
		err = c.setText(&c.api, key, "host:port, such as 127.0.0.1:7071", v)
	case "devnet_listen":
		err = c.setText(&c.devnetListen, key, "host:port, such as 127.0.0.1:8545", v)
	case "payout":
		err = c.setText(&c.payout, key, "an address of 0x and 40 hex digits", v)
	case "region":
		err = c.setText(&c.region, key, "a region in capitals, such as EU", v)
	case "engine":
		err = c.setText(&c.engine, key, engineForm, v)
	case "devices":
		err = c.setText(&c.devices, key, devicesForm, v)
	case "chain_id":
		c.chainID, err = setNumber(v, "a chain's id: a whole number above zero, such as 8453")
	case "confirmations":
		c.confirmations, err = setNumber(v, "a number of blocks: a whole number above zero, such as 3")
	case "final_above":
		err = setAtoms(&c.finalAbove, v)
	case "price":
		err = v.Each(nil, func(class string, v yamlfile.Value) error {
			price, err := v.Scalar("a price in tokens for one device and hour, such as 0.05")
			if err != nil {
				return err
			}
			return placed(v, c.setPrice(class, price))
		})
	case "tariff":
		err = v.Each(nil, c.setTariff)
	case "contracts":
		err = v.Each(contractKeys, c.setContract)
	}
	if err != nil {
		return err
	}
	return placed(v, c.check(key))
}

// placed gives an error the place of the value.
func placed(v yamlfile.Value, err error) error {
	if err != nil {
		return v.Wrap(err)
	}
	return nil
}

// setText reads text that check accepts; what YAML reads as a number must stand
// in quotes, if that makes it right.
func (c *config) setText(to *string, key, want string, v yamlfile.Value) (err error) {
	if *to, err = v.Scalar(want); err != nil {
		return err
	}
	if err := placed(v, c.check(key)); err != nil {
		return err
	}
	_, err = v.Text()
	return err
}

// setNumber reads a whole number above zero.
func setNumber(v yamlfile.Value, what string) (n uint64, err error) {
	text, err := v.Scalar(what)
	if err != nil {
		return 0, err
	}
	if n, err = strconv.ParseUint(text, 10, 64); err != nil || n == 0 {
		return 0, v.Errorf("%q is not %s", text, what)
	}
	return n, nil
}

func setAtoms(to *souk.Atoms, v yamlfile.Value) error {
	text, err := v.Scalar("an amount of tokens such as 0.60")
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
	text, err := v.Scalar("an address of 0x and 40 hex digits")
	if err != nil {
		return err
	}
	if *to, err = parseAddress(text); err != nil {
		return v.Wrap(err)
	}
	_, err = v.Text()
	return err
}

var (
	classForm  = regexp.MustCompile(`^[A-Z0-9]+(_[A-Z0-9]+)*$`)
	regionForm = regexp.MustCompile(`^[A-Z0-9-]{1,16}$`)
)

// setPrice sets the price of a device class, in tokens for one device and hour.
func (c *config) setPrice(class, price string) error {
	if !classForm.MatchString(class) {
		hint := ""
		if near := strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToUpper(class)); classForm.MatchString(near) {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		return fmt.Errorf("%q is not a device class such as CPU or RTX_4090%s", class, hint)
	}
	if strings.HasPrefix(price, "-") {
		return fmt.Errorf("%s=%s: price must not be negative", class, price)
	}
	atoms, err := souk.ParseAtoms(price)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", class, err)
	case atoms == 0:
		return fmt.Errorf("%s=%s: price must be above zero; leave the class out to keep it to yourself", class, price)
	case uint64(atoms) > market.MaxPrice:
		return fmt.Errorf("%s=%s: price must be at most %s", class, price, souk.Atoms(market.MaxPrice))
	}
	c.prices[class] = atoms
	return nil
}

// check looks at one key, by its name in the file.
func (c *config) check(key string) error {
	switch key {
	case "listen":
		return each(c.listen, func(s string) error { return checkMultiaddr(s, false) })
	case "bootstrap":
		return each(c.bootstrap, func(s string) error { return checkMultiaddr(s, true) })
	case "chain":
		return each(c.chains, checkURL)
	case "api":
		return checkHostPort(c.api)
	case "devnet_listen":
		return checkHostPort(c.devnetListen)
	case "payout":
		_, err := parseAddress(c.payout)
		return err
	case "engine":
		return checkEngine(c.engine)
	case "devices":
		if c.devices != devicesSouk && c.devices != devicesEngine {
			return fmt.Errorf("%q is not %s", c.devices, devicesForm)
		}
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
			return fmt.Errorf("%q %w", s, err)
		}
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
	if a == (common.Address{}) {
		return a, fmt.Errorf("%s is nobody's address: what goes there is lost", s)
	}
	if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && s != a.Hex() {
		return a, fmt.Errorf("%s: its checksum is wrong: a letter was mistyped", s)
	}
	return a, nil
}
