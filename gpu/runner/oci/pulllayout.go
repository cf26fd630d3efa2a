package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/souk-market/souk/gpu/runner"
)

// layoutRepository names images by content id to the engine, with the id as the tag.
const layoutRepository = "localhost/souk/ipfs"

// tellEvery is how often a pull tells how far it is.
const tellEvery = 500 * time.Millisecond

// pullLayout has the engine pull an image by content id from a registry of our own: so
// it takes only the layers that it does not have, and checks each against its digest.
func (r *Runner) pullLayout(ctx context.Context, name, root string, f Facts, limit uint64, progress func(done, total uint64)) error {
	image, err := openLayout(ctx, r.layouts, root, f, limit)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	from, err := serveLayout(image, cancel)
	if err != nil {
		return err
	}
	defer from.close()
	for _, n := range []string{name, from.name} { // before it comes, as in pullRegistry
		r.pulled.add(n, image.content.total, time.Now())
	}
	pulled := make(chan error, 1)
	go func() {
		pulled <- r.guarded(ctx, f, limit, func(ctx context.Context) error { return r.take(ctx, from, name, f) })
	}()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-pulled:
			if progress != nil && err == nil {
				progress(image.content.total, image.content.total)
			}
			return err
		case <-tick.C:
			if progress != nil {
				progress(min(from.sent.Load(), image.content.total), image.content.total)
			}
		}
	}
}

// take has the engine pull from our registry, and gives what came the name that lasts.
func (r *Runner) take(ctx context.Context, from *loopback, name string, f Facts) (err error) {
	defer func() {
		if err != nil {
			r.pulled.waste(from.name) // what of it the engine has, or has soon, goes
		}
	}()
	pull := r.pullDocker
	if f.Podman {
		pull = r.pullPodman
	}
	if err := pull(ctx, from.name, f); err != nil {
		return from.pullError(ctx, err)
	}
	cli := r.engine.client()
	if _, err := cli.ImageTag(ctx, client.ImageTagOptions{Source: from.name, Target: name}); err != nil {
		return fmt.Errorf("name the image: %w", err)
	}
	if _, err := cli.ImageRemove(ctx, from.name, client.ImageRemoveOptions{}); err != nil { // the first name, not the image
		return fmt.Errorf("name the image: %w", err)
	}
	r.pulled.forget(from.name, true, time.Now())
	return nil
}

// pullError says whose fault a broken pull is: no registry of a stranger's is in it.
func (b *loopback) pullError(ctx context.Context, err error) error {
	err = pullError(ctx, err)
	no, ok := errors.AsType[*runner.ImageError](err)
	switch {
	case !ok || !no.Away:
		return err
	case !b.asked.Load():
		return fmt.Errorf("the container engine does not reach this node: %s", no.Detail)
	}
	return &runner.ImageError{Detail: no.Detail}
}

func (r *Runner) pullDocker(ctx context.Context, from string, _ Facts) error {
	stream, err := r.engine.client().ImagePull(ctx, from, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	return stream.Wait(ctx)
}

// maxPullTalk bounds what Podman says of one pull, in bytes: some lines a layer.
const maxPullTalk = 1 << 20

// pullPodman asks in Podman's own words, as those of Docker have none for a registry
// without TLS.
func (r *Runner) pullPodman(ctx context.Context, from string, f Facts) error {
	carrier := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(f.URL, "unix://"))
	}}
	defer carrier.CloseIdleConnections()
	ask := url.Values{"reference": {from}, "tlsVerify": {"false"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://podman/v4.0.0/libpod/images/pull?"+ask.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: carrier}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(io.LimitReader(res.Body, maxPullTalk))
	for {
		var m struct {
			Error string `json:"error"`
			Cause string `json:"cause"` // beside a status that is not 200
		}
		switch err := lines.Decode(&m); {
		case errors.Is(err, io.EOF) && res.StatusCode == http.StatusOK:
			return nil
		case err != nil:
			return fmt.Errorf("podman: %s: %w", res.Status, err)
		case m.Error != "" || m.Cause != "":
			return errors.New("podman: " + m.Error + m.Cause)
		}
	}
}

// layoutName is what the engine calls an image by content id.
func layoutName(image string) (name, root string, ok bool) {
	if root, ok = runner.ImageCID(image); ok {
		name = layoutRepository + ":" + root
	}
	return name, root, ok
}
