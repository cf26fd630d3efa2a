package node

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"

	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/wasm"
)

// buildRunners makes what runs jobs, and looks for a container engine.
func (n *Node) buildRunners() error {
	cache := filepath.Join(n.cfg.Home, "cache")
	modules, err := wasm.New(wasm.Config{Command: n.child("wasm-exec"), CacheDir: filepath.Join(cache, "wasm"), Log: n.cfg.Log})
	if err != nil {
		return err
	}
	n.cfg.Runners = []runner.Runner{modules}
	containers := oci.Config{Dir: filepath.Join(cache, "images"), Layouts: n.files, Vendors: gpu.VendorsOf(n.cfg.Probes), Log: n.cfg.Log}
	containers.ByEngine, containers.Egress, containers.Own = n.cfg.ByEngine, n.cfg.Egress, n.knownBy
	if len(n.cfg.Self) > 0 {
		containers.Gate = n.cfg.Self[0]
	}
	if n.images, err = newImages(n.cfg.Engines, n.cfg.Identity, containers); err != nil {
		return err
	}
	if n.images.runner != nil {
		n.cfg.Runners = append(n.cfg.Runners, n.images.runner)
	}
	n.images.look(context.Background())
	return nil
}

// knownBy are the addresses by which peers know this node: what listens there may be this
// machine's, or another's behind the same router.
func (n *Node) knownBy() (all []netip.Addr) {
	for _, a := range n.host.Addrs() {
		if ip, err := manet.ToIP(a); err == nil {
			if addr, ok := netip.AddrFromSlice(ip); ok {
				all = append(all, addr)
			}
		}
	}
	return all
}

// images is how this node runs jobs that are images, or why it does not.
type images struct {
	engine *oci.Engine
	runner *oci.Runner // nil: its owner wants none
	log    *slog.Logger
}

// newImages is made for the engines at urls. Containers are marked by a secret of
// the node: an image may bring labels of its own.
func newImages(urls []string, identity ed25519.PrivateKey, c oci.Config) (*images, error) {
	i := &images{engine: oci.NewEngine(urls...), log: c.Log}
	if len(urls) == 0 {
		return i, nil
	}
	mark := sha256.Sum256(append([]byte("souk/containers/1\x00"), identity.Seed()...))
	var err error
	c.Engine, c.Owner = i.engine, hex.EncodeToString(mark[:16])
	i.runner, err = oci.New(c)
	return i, err
}

// look looks for the engine for the first time, and says what will be run.
func (i *images) look(ctx context.Context) {
	if i.runner != nil {
		i.engine.Look(ctx)
	}
	if why := i.absent(); why != nil {
		i.log.Info("wasm only: no images are run", "reason", why)
		return
	}
	f := i.engine.Facts()
	i.log.Info("images are run", "engine", f.Name(), "at", f.URL, "held by", f.Holds())
}

// absent is why no images are run now; nil: they are.
func (i *images) absent() error {
	if i.runner == nil {
		return errors.New("the owner wants no container engine")
	}
	return i.runner.Absent()
}

// watch looks after the engine until ctx ends.
func (i *images) watch(ctx context.Context, changed func()) error {
	if i.runner == nil {
		<-ctx.Done()
		return nil
	}
	return i.runner.Watch(ctx, changed)
}

// Engine says what runs images, or why nothing does.
func (i *images) Engine() string {
	if why := i.absent(); why != nil {
		return "none: " + why.Error()
	}
	f := i.engine.Facts()
	return f.Name() + " (" + f.Holds() + ")"
}
