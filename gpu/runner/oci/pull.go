package oci

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
)

// keepFree is what a pull leaves of the engine's disk.
const keepFree = 2 << 30

// Pull implements [runner.Puller]. What is there is not pulled again, and layers
// that came before a pull broke off are not either: the engine keeps them.
func (r *Runner) Pull(ctx context.Context, image string, limit uint64, progress func(done, total uint64)) error {
	facts, err := r.engine.ready()
	if err != nil {
		return err
	}
	name, err := fullName(image)
	if err != nil {
		return err
	}
	err = r.fits(ctx, name, facts, limit)
	if _, missing := errors.AsType[*missingError](err); !missing {
		if err == nil {
			r.pulled.use(name, time.Now())
		}
		return err
	}
	if _, root, ok := layoutName(image); ok {
		err = r.pullLayout(ctx, name, root, facts, limit, progress)
	} else {
		err = r.pullRegistry(ctx, name, facts, limit, progress)
	}
	if err == nil {
		err = r.fits(ctx, name, facts, limit)
	}
	if err == nil {
		r.pulled.use(name, time.Now())
	}
	if no, ok := errors.AsType[*runner.ImageError](err); ok && !no.Away && r.pulled.waste(name) {
		r.discard(name)
	}
	return err
}

// fits looks at an image that is here.
func (r *Runner) fits(ctx context.Context, name string, f Facts, limit uint64) error {
	img, err := r.engine.image(ctx, name)
	if err != nil {
		return err
	}
	if err := img.runsOn(f); err != nil {
		return &runner.ImageError{Detail: err.Error()}
	}
	if img.Size > limit {
		return tooLarge(img.Size, limit)
	}
	return nil
}

// pullRegistry has the engine pull an image from the registry that it names, which is
// asked before.
func (r *Runner) pullRegistry(ctx context.Context, name string, f Facts, limit uint64, progress func(done, total uint64)) error {
	c, err := r.manifest(ctx, name, f, limit)
	if err != nil {
		return err
	}
	r.pulled.add(name, c.total, time.Now()) // before it comes: what is left of a pull that breaks off is ours too
	return r.guarded(ctx, f, limit, func(ctx context.Context) error { return r.fetch(ctx, name, c, progress) })
}

// guarded calls pull, and breaks it off where the disk would be full of it.
func (r *Runner) guarded(ctx context.Context, f Facts, limit uint64, pull func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	defer func() { cancel(nil); <-watched }()
	go func() {
		defer close(watched)
		r.guardStore(ctx, f.Store, limit, cancel)
	}()
	return pull(ctx)
}

// fetch has the engine pull an image.
func (r *Runner) fetch(ctx context.Context, name string, c content, progress func(done, total uint64)) error {
	stream, err := r.engine.client().ImagePull(ctx, name, client.ImagePullOptions{})
	if err != nil {
		return pullError(ctx, err)
	}
	defer stream.Close()
	t := tally{content: c, done: map[string]uint64{}}
	for m, err := range stream.JSONMessages(ctx) {
		if err == nil && m.Error != nil {
			err = m.Error
		}
		if err != nil {
			return pullError(ctx, err)
		}
		if t.take(m) && progress != nil {
			progress(t.sum(), c.total)
		}
	}
	return nil
}

// guardStore breaks a pull off that unpacks to far more than it may: how large a
// layer becomes is seen only as it lies there.
func (r *Runner) guardStore(ctx context.Context, store string, limit uint64, stop context.CancelCauseFunc) {
	first, err := freeBytes(store)
	if err != nil {
		return // the engine is not on this machine, or its folder is not ours to look at
	}
	for sleep(ctx, time.Second) {
		now, err := freeBytes(store)
		switch {
		case err != nil:
			return
		case now < keepFree:
			stop(errors.New("the disk of the container engine is nearly full"))
			return
		case first > now && first-now > 2*limit:
			stop(&runner.ImageError{Detail: fmt.Sprintf("the image unpacks to more than twice the job's disk of %s", souk.FormatSize(limit))})
			return
		}
	}
}

func freeBytes(path string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// pullError says whose fault a broken pull is. Its registry has shown the image
// before, so what is missing now is for the registry to give.
func pullError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	text := strings.ToLower(err.Error())
	for _, words := range []string{"no space left", "permission denied", "read-only file system", "cannot connect", "connection refused: unix"} {
		if strings.Contains(text, words) {
			return fmt.Errorf("the container engine: %w", err)
		}
	}
	return &runner.ImageError{Away: true, Detail: oneLine("the image could not be pulled: " + lastLine(err))}
}

// tally counts what has come of an image's layers. Docker tells of bytes, Podman of
// whole layers.
type tally struct {
	content content
	done    map[string]uint64 // by layer
}

// take takes a message, and tells whether anything has come.
func (t *tally) take(m jsonstream.Message) bool {
	layer, size, ok := t.layer(m.ID)
	if !ok {
		return false
	}
	before := t.done[layer]
	switch strings.ToLower(m.Status) {
	case "downloading":
		if m.Progress != nil {
			t.done[layer] = max(before, min(uint64(max(0, m.Progress.Current)), size))
		}
	case "download complete", "pull complete", "already exists", "verifying checksum", "extracting":
		t.done[layer] = size
	}
	return t.done[layer] != before
}

// layer finds a layer by the first digits of its digest.
func (t *tally) layer(id string) (layer string, size uint64, ok bool) {
	if len(id) < 8 {
		return "", 0, false
	}
	for layer, size := range t.content.layers {
		if strings.HasPrefix(layer, id) {
			return layer, size, true
		}
	}
	return "", 0, false
}

func (t *tally) sum() (n uint64) {
	for _, d := range t.done {
		n += d
	}
	return n
}
