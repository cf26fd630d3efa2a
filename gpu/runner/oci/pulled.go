package oci

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// maxPulled bounds the images that are remembered.
const maxPulled = 1024

// pulledImages remembers the images that we pulled, over lives of the daemon: those of
// others are never removed.
type pulledImages struct {
	path string // of a file

	mu     sync.Mutex // guards images
	images map[string]kept
}

// kept is an image that we pulled.
type kept struct {
	Bytes uint64    `json:"bytes"` // about what it takes
	Used  time.Time `json:"used"`  // when a job last asked for it
	Good  bool      `json:"good"`  // it came whole for some job
	Waste bool      `json:"waste"` // its pull broke off, or it is not what it should be: what there is of it goes
}

// linger is how long an engine may go on with a pull that broke off.
const linger = 10 * time.Minute

// readPulled reads what an earlier life remembered. A file that cannot be read is as
// good as none: then the images stay with the engine.
func readPulled(path string) *pulledImages {
	s := &pulledImages{path: path, images: map[string]kept{}}
	text, err := os.ReadFile(path)
	if err == nil {
		_ = json.Unmarshal(text, &s.images)
	}
	if s.images == nil {
		s.images = map[string]kept{}
	}
	return s
}

// add remembers an image that is about to come.
func (s *pulledImages) add(name string, bytes uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.images[name]
	if !ok && len(s.images) >= maxPulled {
		return
	}
	s.images[name] = kept{Bytes: bytes, Used: now, Good: k.Good}
	s.save()
}

// use notes that an image is there for a job, if it is ours.
func (s *pulledImages) use(name string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.images[name]; ok {
		k.Used, k.Good, k.Waste = now, true, false
		s.images[name] = k
		s.save()
	}
}

// waste notes that an image should go, and tells whether it may: one that is good
// for some job is not taken from it because another job may not have as much.
func (s *pulledImages) waste(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.images[name]
	if !ok || k.Good {
		return false
	}
	k.Waste = true
	s.images[name] = k
	s.save()
	return true
}

// forget forgets an image that the engine does not have any more: one whose pull
// broke off a moment ago may still come.
func (s *pulledImages) forget(name string, removed bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.images[name]; removed || now.Sub(k.Used) > linger {
		delete(s.images, name)
		s.save()
	}
}

// save wants mu. What cannot be written is remembered in this life alone.
func (s *pulledImages) save() {
	text, err := json.Marshal(s.images)
	if err != nil {
		return
	}
	if err := os.WriteFile(s.path+".new", text, 0o600); err == nil {
		_ = os.Rename(s.path+".new", s.path)
	}
}

// surplus names the images that should go, and those beyond limit bytes that were
// used longest ago.
func (s *pulledImages) surplus(limit uint64) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wasted []string
	for name, k := range s.images {
		if k.Waste {
			wasted = append(wasted, name)
			continue
		}
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { // newest first
		if c := s.images[b].Used.Compare(s.images[a].Used); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	var sum uint64
	for i, name := range names {
		if sum += s.images[name].Bytes; sum > limit {
			return append(wasted, names[i:]...)
		}
	}
	return wasted
}

// prune removes the images that we pulled and that are too many. The engine keeps
// those that a container still has.
func (r *Runner) prune() {
	for _, name := range r.pulled.surplus(r.imageBytes) {
		r.discard(name)
	}
}

// discard removes an image that we pulled.
func (r *Runner) discard(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanWithin)
	defer cancel()
	_, err := r.engine.client().ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
	switch {
	case err == nil, errdefs.IsNotFound(err):
		r.pulled.forget(name, err == nil, time.Now())
	case errdefs.IsConflict(err): // a container has it
	default:
		r.log.Warn("an image was not removed", "image", name, "err", err)
	}
}
