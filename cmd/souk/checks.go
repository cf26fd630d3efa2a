package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/keys"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/vendors"
	"github.com/souk-market/souk/node/disk"
)

// checkWithin bounds one check of what may not answer.
const checkWithin = 15 * time.Second

func (p *patient) home() finding {
	home := p.app.home
	if _, err := os.Stat(home); os.IsNotExist(err) {
		return fail("souk init", "%s is not there", home)
	}
	if err := keys.CheckHome(home); err != nil {
		return fail("", "%v", err)
	}
	return fine("%s", home)
}

func (p *patient) keys() finding {
	if !keys.Have(p.app.home) {
		return fail("souk init", "there are none")
	}
	if err := keys.Complete(p.app.home); err != nil {
		return fail("", "%v", err)
	}
	return fine("node, wallet and voucher key are there")
}

func (p *patient) settings() finding {
	var err error
	if p.config, err = readConfig(p.app.home); err != nil {
		p.config = defaultConfig()
		return fail("mend "+filepath.Join(p.app.home, configName), "%v", err)
	}
	if _, err := os.Stat(filepath.Join(p.app.home, configName)); err != nil {
		return fine("the defaults: there is no %s", configName)
	}
	return fine("%s", filepath.Join(p.app.home, configName))
}

func (p *patient) disk() finding {
	dir := p.app.home
	for _, err := os.Stat(dir); os.IsNotExist(err) && dir != filepath.Dir(dir); _, err = os.Stat(dir) {
		dir = filepath.Dir(dir) // where a home would be made
	}
	free, err := disk.FreeBytes(dir)
	switch {
	case err != nil:
		return fail("", "%v", err)
	case free < disk.WorkFloor:
		return fail("free "+souk.FormatSize(disk.WorkFloor-free), "%s free, and nothing is taken on below %s", souk.FormatSize(free), souk.FormatSize(disk.WorkFloor))
	case free < 10<<30:
		return warn("free some before you sell: inputs, outputs and images lie there", "%s free", souk.FormatSize(free))
	}
	return fine("%s free", souk.FormatSize(free))
}

// ports looks whether the daemon could take its ports, if it has not.
func (p *patient) ports(ctx context.Context) finding {
	if p.status != nil {
		return fine("the API is at %s", p.status.Api)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.config.api)
	if err != nil {
		return fail("give another with --api, or end what has it", "%s for the API: %v", p.config.api, err)
	}
	l.Close()
	for _, text := range p.config.listen {
		if err := tryListen(ctx, text); err != nil {
			return fail("give another with --listen, or end what has it", "%s for peers: %v", text, err)
		}
	}
	return fine("%s for the API and those for peers are free", p.config.api)
}

// tryListen takes the port of a multiaddress for a moment.
func tryListen(ctx context.Context, text string) error {
	at, err := multiaddr.NewMultiaddr(text)
	if err != nil {
		return err
	}
	network, address, err := manet.DialArgs(at)
	if err != nil {
		return nil // a transport beside plain ports, which libp2p alone can try
	}
	var lc net.ListenConfig
	if network == "udp" || network == "udp4" || network == "udp6" {
		c, err := lc.ListenPacket(ctx, network, address)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	l, err := lc.Listen(ctx, network, address)
	if err == nil {
		err = l.Close()
	}
	return err
}

func (p *patient) chain(ctx context.Context) finding {
	switch s := p.status; {
	case s != nil && s.ChainError != "":
		return fail("look at --chain, and whether that node runs", "chain %d does not answer: %s", s.ChainId, s.ChainError)
	case s != nil && s.ChainId != 0:
		return fine("%d at block %d", s.ChainId, s.Block)
	case s != nil:
		return warn("souk up --chain URL, or --devnet to try it", "none: this node only watches the market")
	case p.config.devnet:
		return fine("a devnet of our own, when the daemon runs")
	case len(p.config.chains) == 0:
		return warn("give chain in config.yaml, or --devnet to try it", "none: this node will only watch the market")
	}
	for _, url := range p.config.chains {
		if err := p.dial(ctx, url); err != nil {
			return fail("look at chain in config.yaml, and whether that node runs", "%v", err)
		}
	}
	return fine("every endpoint answers: %s", strings.Join(p.config.chains, ", "))
}

// dial asks one endpoint which chain it serves.
func (p *patient) dial(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	c, err := ethclient.DialContext(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	id, err := c.ChainID(ctx)
	switch want := p.config.chainID; {
	case err != nil:
		return fmt.Errorf("%s: %w", url, err)
	case want != 0 && (!id.IsUint64() || id.Uint64() != want):
		return fmt.Errorf("%s serves chain %s, and config.yaml says %d", url, id, want)
	}
	return nil
}

func (p *patient) engine(ctx context.Context) finding {
	if p.config.engine == engineNone {
		return warn("engine: auto in config.yaml", "wasm only: the settings want none")
	}
	e := oci.NewEngine(p.config.engines(p.app.env)...)
	e.Look(ctx)
	if err := e.Refusal(); err != nil {
		return warn("apt install podman crun && systemctl enable --now podman.socket, if you sell", "wasm only: %v", err)
	}
	f := e.Facts()
	return fine("%s at %s (%s)", f.Name(), f.URL, f.Holds())
}

// gpus asks each driver in a process of its own, as the daemon does.
func (p *patient) gpus(ctx context.Context) (all []finding) {
	self, err := os.Executable()
	if err != nil {
		return []finding{fail("", "%v", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	makers := vendors.All([]string{self})
	devices, err := devicesOf(ctx, makers)
	switch {
	case err != nil:
		return []finding{fail("", "the driver cannot be asked: %v", err)}
	case len(devices) == 0:
		return []finding{fine("no GPU on this machine")}
	}
	for _, d := range devices {
		if d.Health != gpu.Healthy {
			all = append(all, fail("", "%s (%s): %s", d.ID, d.Model, d.Health))
			continue
		}
		f := fine("%s (%s), %s, driver %s", d.ID, d.Model, souk.FormatSize(d.MemoryBytes), dash(d.Driver))
		if d.Used != "" {
			f = warn("", "%s (%s): %s", d.ID, d.Model, d.Used)
		}
		all = append(all, f)
	}
	for _, v := range makers {
		if a, ok := v.(gpu.Adviser); ok {
			for _, advice := range a.Advice() {
				all = append(all, warn(advice.Fix, "%s", advice.Text))
			}
		}
	}
	return all
}

// devicesOf asks all drivers.
func devicesOf(ctx context.Context, all gpu.Vendors) (devices []gpu.Device, err error) {
	for _, v := range all {
		found, askErr := v.Devices(ctx)
		devices, err = append(devices, found...), errors.Join(err, askErr)
	}
	return devices, err
}

// reach tells whether an address of this node is one that the whole internet has.
func (p *patient) reach() finding {
	var public int
	for _, text := range p.status.Addresses {
		if at, err := multiaddr.NewMultiaddr(text); err == nil && manet.IsPublicAddr(at) {
			public++
		}
	}
	if public == 0 {
		return warn("forward a port to this machine and name it with --listen, if you sell to more than your own network",
			"none of its %d addresses is public", len(p.status.Addresses))
	}
	return fine("%d of %d addresses are public; whether a firewall lets peers in is not tried", public, len(p.status.Addresses))
}

func (p *patient) peers() finding {
	if p.status.Peers == 0 {
		return warn("souk up --bootstrap ADDRESS, with an address that `souk status` of another node shows", "none")
	}
	return fine("%s, %s", counted(p.status.Peers, "peer"), counted(p.status.Offers, "offer"))
}

func (p *patient) clock() finding {
	ahead := time.Duration(p.status.ClockAheadMs) * time.Millisecond
	switch text := clockText(p.status); {
	case text == "":
		return warn("", "there is no peer to compare it with")
	case ahead.Abs() > wrongClock:
		return fail("set it right: timedatectl set-ntp true", "%s", text)
	default:
		return fine("%s", text)
	}
}
