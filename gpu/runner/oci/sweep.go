package oci

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

const (
	lookAtEngine = 10 * time.Second // between two looks whether the engine is there
	sweepEvery   = time.Minute
)

// Watch looks after the engine until ctx ends: an engine that comes or goes is
// noticed, and changed is called; containers that nobody runs any more are removed,
// those of an earlier life first, and so are images that are too many.
func (r *Runner) Watch(ctx context.Context, changed func()) error {
	var swept time.Time
	for {
		away := r.engine.Refusal()
		if away == nil && time.Since(swept) >= sweepEvery {
			if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("sweep containers", "err", err)
			}
			r.prune()
			swept = time.Now()
		}
		if !sleep(ctx, lookAtEngine) {
			return nil
		}
		if r.engine.Look(ctx) && ctx.Err() == nil {
			if now := r.engine.Refusal(); now == nil {
				r.log.Info("the container engine is there", "engine", r.engine.Facts().Name())
				swept = time.Time{}
			} else if away == nil {
				r.log.Warn("the container engine is away: no images are sold", "err", now)
			}
			changed()
		}
	}
}

// Absent implements [runner.Absentee].
func (r *Runner) Absent() error { return r.engine.Refusal() }

// sweep removes our containers that no run of this life has.
func (r *Runner) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanWithin)
	defer cancel()
	cli := r.engine.client()
	list, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", labelOwner+"="+r.owner)})
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, c := range list.Items {
		name := ""
		if len(c.Names) > 0 {
			name = strings.TrimPrefix(c.Names[0], "/")
		}
		// The label alone is not enough: an image can bring labels of its own.
		if c.Labels[labelOwner] != r.owner || !strings.HasPrefix(name, namePrefix) || r.runs(name) {
			continue
		}
		r.log.Info("remove a container that nobody runs", "container", name, "lease", c.Labels[labelLease])
		if err := destroy(ctx, cli, c.ID); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// Left implements [runner.Leftover]. What is left of a lease is killed on the way, and
// so a container ends that outlived its engine's absence.
func (r *Runner) Left(ctx context.Context, lease string) (bool, error) {
	if away := r.engine.Refusal(); away != nil {
		return false, away
	}
	if err := r.sweep(ctx); err != nil {
		return false, err
	}
	list, err := r.engine.client().ContainerList(ctx, client.ContainerListOptions{All: true,
		Filters: client.Filters{}.Add("label", labelOwner+"="+r.owner).Add("label", labelLease+"="+lease)})
	if err != nil {
		return false, fmt.Errorf("list: %w", err)
	}
	return len(list.Items) > 0, nil
}

// destroy removes a container, whatever it does. It is killed before: Podman would
// give it ten seconds.
func destroy(ctx context.Context, cli *client.Client, id string) error {
	_, _ = cli.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"}) // fails where it does not run
	_, err := cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// began and ended keep the names of the containers that runs of this life have.
func (r *Runner) began(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[name]++
}

func (r *Runner) ended(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live[name]--; r.live[name] <= 0 {
		delete(r.live, name)
	}
}

func (r *Runner) runs(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[name] > 0
}
