package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/keys"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/node"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
)

const upLong = `Runs the daemon until it is interrupted. It joins the market, keeps its own book of
offers, and runs your jobs; with --provide it sells this machine's devices as well.
Jobs that are WebAssembly modules need nothing more; those that are images need
Docker or Podman, which is found by itself.

What flags leave open, config.yaml in the home says. Lists given by flags replace
those of the file. Addresses of chains come from you alone: what a peer says never
takes their place.`

const upExample = `  souk up
  souk up --provide --price CPU=0.05,RTX_4090=0.40 --region EU
  souk up --devnet --listen /ip4/127.0.0.1/tcp/4011 --mdns=false
  souk up --bootstrap /ip4/127.0.0.1/tcp/4011/p2p/12D3KooW… --chain http://127.0.0.1:8545`

// defaultCPUPrice is asked for the processor by an owner who names no price.
const defaultCPUPrice = souk.AtomsPerToken / 20

func newUp(a *app) *cobra.Command {
	var prices []string
	c := defaultConfig()
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Run the daemon",
		Long:    upLong,
		Example: upExample,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := keys.CheckHome(a.home); err != nil { // before a file in it is believed
				return fmt.Errorf("up: %w", err)
			}
			merged, err := c.overlay(cmd.Flags(), prices, a.home)
			if err != nil {
				return err
			}
			return a.up(cmd.Context(), merged)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&c.provide, "provide", false, "sell this machine's devices")
	f.StringSliceVar(&prices, "price", nil, "tokens per device-hour by class, such as CPU=0.05,RTX_4090=0.40 (repeatable)")
	f.BoolVar(&c.egress, "egress", false, "let jobs reach the hosts on the internet that they declare")
	f.BoolVar(&c.whenIdle, "when-idle", false, "sell a GPU only while nothing of yours runs on it")
	f.StringVar(&c.payout, "payout", "", "the address that is paid (default: the wallet)")
	f.StringVar(&c.region, "region", "", "where this machine is, such as EU")
	f.StringVar(&c.engine, "engine", c.engine, "what runs images: auto, none, or unix:///PATH of its socket")
	f.StringVar(&c.devices, "devices", c.devices, "who gives containers their GPUs: souk, or engine (its device list and NVIDIA's hooks)")
	f.StringArrayVar(&c.listen, "listen", c.listen, "where peers reach this node, a multiaddress (repeatable)")
	f.StringArrayVar(&c.bootstrap, "bootstrap", nil, "a peer to join through, a multiaddress with its id (repeatable)")
	f.BoolVar(&c.mdns, "mdns", true, "find peers on the local network")
	f.StringArrayVar(&c.chains, "chain", nil, "a JSON-RPC endpoint of the chain (repeatable)")
	f.BoolVar(&c.devnet, "devnet", false, "serve an embedded test chain")
	f.StringVar(&c.devnetListen, "devnet-listen", c.devnetListen, "where the test chain answers")
	f.StringVar(&c.api, "api", c.api, "where the page and the API are served")
	return cmd
}

// overlay is the home's file with the flags that were given put over it.
func (c config) overlay(flags *pflag.FlagSet, prices []string, home string) (config, error) {
	merged, err := readConfig(home)
	if err != nil {
		return merged, err
	}
	for _, k := range []struct {
		flag string
		take func()
	}{
		{"provide", func() { merged.provide = c.provide }},
		{"egress", func() { merged.egress = c.egress }},
		{"when-idle", func() { merged.whenIdle = c.whenIdle }},
		{"payout", func() { merged.payout = c.payout }},
		{"region", func() { merged.region = c.region }},
		{"engine", func() { merged.engine = c.engine }},
		{"devices", func() { merged.devices = c.devices }},
		{"listen", func() { merged.listen = c.listen }},
		{"bootstrap", func() { merged.bootstrap = c.bootstrap }},
		{"mdns", func() { merged.mdns = c.mdns }},
		{"chain", func() { merged.chains = c.chains }},
		{"devnet", func() { merged.devnet = c.devnet }},
		{"devnet-listen", func() { merged.devnetListen = c.devnetListen }},
		{"api", func() { merged.api = c.api }},
	} {
		if !flags.Changed(k.flag) {
			continue
		}
		k.take()
		if err := merged.check(strings.ReplaceAll(k.flag, "-", "_")); err != nil {
			return merged, usagef("--%s: %w", k.flag, err)
		}
	}
	if len(prices) > 0 {
		clear(merged.prices)
	}
	for _, p := range prices {
		class, price, ok := strings.Cut(p, "=")
		if !ok {
			return merged, usagef("--price: %q is not CLASS=TOKENS, such as CPU=0.05", p)
		}
		if err := merged.setPrice(class, price); err != nil {
			return merged, usagef("--price: %w", err)
		}
	}
	if merged.provide && len(merged.prices) == 0 {
		merged.prices["CPU"] = defaultCPUPrice
	}
	return merged, nil
}

func (a *app) up(ctx context.Context, c config) error {
	k, err := a.unlock(ctx)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	n, err := node.New(node.Config{
		Home:       a.home,
		Identity:   k.Identity,
		Wallet:     k.Wallet,
		VoucherKey: k.Voucher,
		Listen:     c.listen,
		Bootstrap:  c.bootstrap,
		MDNS:       c.mdns,
		API:        c.api,
		ChainURLs:  c.chains,
		ChainID:    c.chainID,
		Contracts:  c.contracts,

		Confirmations: c.confirmations,
		FinalAbove:    c.finalAbove,
		Devnet:        c.devnet,
		DevnetListen:  c.devnetListen,
		Provide:       c.provide,
		Prices:        c.prices,
		Lines:         c.soldLines(),
		Egress:        c.egress,
		WhenIdle:      c.whenIdle,
		Payout:        c.payout,
		Region:        c.region,
		Engines:       c.engines(a.env),
		ByEngine:      c.devices == devicesEngine,
		Self:          []string{self},
		Version:       version(),
		Now:           a.now,
		Log:           a.log,
	})
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	g, running := errgroup.WithContext(ctx)
	ready, stop := context.WithCancel(running)
	g.Go(func() error {
		defer stop()
		return n.Run(running)
	})
	g.Go(func() error { return a.announce(ready) })
	err = g.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil // being told to stop is how a daemon ends well
	}
	return err
}

// unlock opens the keys of the home for the daemon.
func (a *app) unlock(ctx context.Context) (k keys.Keys, err error) {
	if !keys.Have(a.home) {
		return k, fmt.Errorf("up: no keys in %s: run `souk init` first", a.home)
	}
	if err := keys.Complete(a.home); err != nil {
		return k, fmt.Errorf("up: %w", err)
	}
	source := keys.Source{Env: a.env, Prompt: a.prompt(ctx)}
	password, err := source.ForHome(a.home)
	if err != nil {
		return k, a.passwordFault("up", err)
	}
	if k, err = keys.Open(a.home, password); err != nil {
		return k, fmt.Errorf("up: %w", err)
	}
	return k, nil
}

// passwordFault is why there is no password: wrong usage, if a variable named a
// file that holds none.
func (a *app) passwordFault(command string, err error) error {
	err = fmt.Errorf("%s: %w", command, err)
	if a.env("SOUK_PASSWORD_FILE") != "" {
		return &souk.Error{Code: souk.CodeInvalid, Err: err}
	}
	return err
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

// announce tells when the daemon answers on its socket, and ends.
func (a *app) announce(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := a.daemon.Node.Status(ctx, &apiv1.StatusRequest{})
		switch {
		case err == nil && a.json:
			return a.line(plainjson.Value{Message: s})
		case err == nil:
			a.say("ready as %s; `souk dashboard` prints the page's address", s.Peer)
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
