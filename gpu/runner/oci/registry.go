package oci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/egress"
)

const (
	manifestWithin = 30 * time.Second // for what a registry says of an image, before its layers
	dialWithin     = 10 * time.Second
	maxLayers      = 500
)

// content is what an image consists of, by its registry: the size of each layer as
// it travels, by the hexadecimal digits of its digest.
type content struct {
	layers map[string]uint64
	total  uint64
}

// manifest asks the registry what an image consists of, and refuses one that is
// missing, too large or another machine's before anything of it is pulled.
func (r *Runner) manifest(ctx context.Context, called string, f Facts, limit uint64) (content, error) {
	ctx, cancel := context.WithTimeout(ctx, manifestWithin)
	defer cancel()
	ref, err := name.NewDigest(called)
	if err != nil {
		return content{}, &runner.ImageError{Detail: fmt.Sprintf("%.80q names no image", called)}
	}
	carrier := r.registries()
	defer carrier.CloseIdleConnections()
	got, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(carrier), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: f.Arch}))
	if err != nil {
		return content{}, refusal(called, err)
	}
	img, err := got.Image()
	if err != nil {
		return content{}, refusal(called, err)
	}
	m, err := img.Manifest()
	if err != nil {
		return content{}, refusal(called, err)
	}
	if len(m.Layers) > maxLayers {
		return content{}, &runner.ImageError{Detail: fmt.Sprintf("the image has %d layers, at most %d", len(m.Layers), maxLayers)}
	}
	c := content{layers: map[string]uint64{}}
	if err := here(m.Config); err != nil {
		return content{}, err
	}
	for _, l := range m.Layers {
		if err := here(l); err != nil {
			return content{}, err
		}
		size := uint64(max(0, l.Size))
		c.layers[l.Digest.Hex] = size
		if c.total += min(size, 1<<50); c.total > limit {
			return content{}, tooLarge(c.total, limit)
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return content{}, refusal(called, err)
	}
	if err := (image{OS: config.OS, Arch: config.Architecture}).runsOn(f); err != nil {
		return content{}, &runner.ImageError{Detail: err.Error()}
	}
	return c, nil
}

func tooLarge(size, limit uint64) error {
	return &runner.ImageError{Detail: fmt.Sprintf("the image has %s or more, and the job's disk is %s: ask for more disk", souk.FormatSize(size), souk.FormatSize(limit))}
}

// refusal says whose fault it is that a registry did not answer as it should.
func refusal(image string, err error) error {
	if said, ok := errors.AsType[*transport.Error](err); ok {
		switch {
		case said.StatusCode >= http.StatusInternalServerError, said.StatusCode == http.StatusTooManyRequests:
			return &runner.ImageError{Away: true, Detail: oneLine(fmt.Sprintf("the image's registry does not answer: %s", http.StatusText(said.StatusCode)))}
		case said.StatusCode == http.StatusNotFound, said.StatusCode == http.StatusBadRequest:
			return &runner.ImageError{Detail: oneLine(fmt.Sprintf("its registry has no image %s", image))}
		case said.StatusCode == http.StatusUnauthorized, said.StatusCode == http.StatusForbidden:
			return &runner.ImageError{Detail: oneLine(fmt.Sprintf("its registry shows %s to nobody without a password, which jobs cannot bring yet", image))}
		}
	}
	if errors.Is(err, errPrivate) {
		return &runner.ImageError{Detail: errPrivate.Error()}
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return &runner.ImageError{Away: true, Detail: oneLine("the image's registry does not answer: " + lastLine(err))}
	}
	return &runner.ImageError{Detail: oneLine(fmt.Sprintf("the image %s: %v", image, err))}
}

// errPrivate is a registry in the network of the provider: no client may make us,
// or our engine, ask about in there.
var errPrivate = errors.New("the image's registry has no public address")

// registries carries requests to registries. They, and what they refer to, must be
// public: who names an image is a stranger.
func (r *Runner) registries() *http.Transport {
	d := &net.Dialer{Timeout: dialWithin}
	if !r.private {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || !egress.Public(a.Addr()) {
				return errPrivate
			}
			return nil
		}
	}
	return &http.Transport{DialContext: d.DialContext, TLSHandshakeTimeout: dialWithin, ResponseHeaderTimeout: manifestWithin}
}
