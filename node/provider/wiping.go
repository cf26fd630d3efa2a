package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/node/network"
	"github.com/souk-market/souk/payment/ledger"
	leasev1 "github.com/souk-market/souk/proto/souk/lease/v1"
	"golang.org/x/sync/errgroup"
)

// Wiper overwrites the memory of devices between two leases.
type Wiper interface {
	// Wipes tells whether a device has memory of its own that a lease leaves behind.
	Wipes(gpu.Device) bool
	// Wipe overwrites it, and sees that nothing is left there of any program. The error
	// is why the device is not clean.
	Wipe(context.Context, gpu.Device) error
}

const (
	wipeAgain = time.Minute      // until a device that could not be cleaned is tried again
	wipeHold  = 10 * time.Minute // for which the floor keeps a device for one wipe at most
	dirtyKey  = "dirty/"         // in the ledger, and a device's id
	cleaned   = "clean"          // the value of a record that no longer holds

	leased = "a lease has it"
	wiped  = "it is being wiped after a lease"
)

// markDirty notes which devices of a lease will have to be wiped. It belongs into the
// transaction that makes the lease durable: a crash does not skip the wipe.
func (p *Provider) markDirty(l *leasev1.Lease) (records []ledger.Record) {
	if p.cfg.Wiper == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices {
		if slices.Contains(l.Devices, d.ID) && p.cfg.Wiper.Wipes(d) {
			p.unclean[d.ID] = leased
			records = append(records, ledger.Record{Key: dirtyKey + d.ID, Value: []byte("dirty")})
		}
	}
	return records
}

// recoverDirty finds the devices that a lease had when this node's last life ended.
func (p *Provider) recoverDirty() error {
	return p.cfg.Ledger.Scan(dirtyKey, func(key string, value []byte) error {
		if string(value) != cleaned {
			p.unclean[strings.TrimPrefix(key, dirtyKey)] = "its memory was not wiped before the daemon ended"
		}
		return nil
	})
}

// keepDirty takes devices off sale that are free and not clean. The caller holds mu.
func (p *Provider) keepDirty(now time.Time) {
	for id, why := range p.unclean {
		if _, held := p.floor.Holder(id); !held {
			if why == leased {
				p.unclean[id] = wiped
			}
			p.floor.Keep(now, "wipe "+id, []string{id}, now.Add(wipeHold))
		}
	}
	if len(p.unclean) == 0 {
		return
	}
	select {
	case p.wipe <- struct{}{}:
	default: // it is asked for already
	}
}

// Unclean is why a device is off sale that a lease had; empty: it is not.
func (p *Provider) Unclean(device string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, held := p.floor.Holder(device); held {
		return ""
	}
	return p.unclean[device]
}

// wiping cleans devices until ctx ends: when a lease is over, at the start, and again
// where it did not succeed.
func (p *Provider) wiping(ctx context.Context) error {
	again := time.NewTicker(wipeAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wipe:
		case <-again.C:
			p.mu.Lock()
			p.keepDirty(time.Now()) // a keeping has an end
			p.mu.Unlock()
		}
		g, ctx := errgroup.WithContext(ctx)
		for _, d := range p.dirtyDevices() {
			g.Go(func() error { p.wipeOne(ctx, d); return nil })
		}
		_ = g.Wait() // nothing of it fails: what is not clean stays off sale
	}
}

// dirtyDevices are those to be wiped now: no lease has them, and they are here.
func (p *Provider) dirtyDevices() (devices []gpu.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.devices {
		// What is not kept for its wipe is being checked after a fault, or leased.
		if p.unclean[d.ID] != "" && p.floor.Keeps(time.Now(), "wipe "+d.ID) && d.Health == gpu.Healthy {
			devices = append(devices, d)
		}
	}
	return devices
}

// wipeOne wipes one device and puts it back on sale, once the ledger knows.
func (p *Provider) wipeOne(ctx context.Context, d gpu.Device) {
	began := time.Now()
	err := p.cfg.Wiper.Wipe(ctx, d)
	if err == nil {
		err = p.cfg.Ledger.Commit(ctx, ledger.Batch{Records: []ledger.Record{{Key: dirtyKey + d.ID, Value: []byte(cleaned)}}})
	}
	if ctx.Err() != nil {
		return // the next start does it
	}
	p.mu.Lock()
	if err != nil {
		p.unclean[d.ID] = "its memory could not be wiped after a lease: " + network.Clip(err.Error(), 200)
	} else {
		delete(p.unclean, d.ID)
		p.floor.Unkeep("wipe " + d.ID)
	}
	p.mu.Unlock()
	if err != nil {
		p.cfg.Log.Error("device not wiped", "gpu", d.ID, "err", err)
		return
	}
	p.cfg.Log.Info("device wiped", "gpu", d.ID, "took", fmt.Sprint(time.Since(began).Round(time.Millisecond)))
	p.Changed()
}
