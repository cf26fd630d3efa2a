package oci

import (
	"context"
	"time"

	"github.com/souk-market/souk/gpu/runner"
)

// LookedAfter tells whether a run's devices were found to be usable later than at a time.
func LookedAfter(r runner.Run, at time.Time) bool {
	u := r.(*run)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.good.After(at)
}

// OpenLayout reads a layout as a pull does.
func OpenLayout(ctx context.Context, from Layouts, root, arch string, limit uint64) error {
	_, err := openLayout(ctx, from, root, Facts{Arch: arch}, limit)
	return err
}

// ServeLayout serves a layout's image as a pull does, until stop.
func ServeLayout(ctx context.Context, from Layouts, root string) (name string, stop func(), err error) {
	image, err := openLayout(ctx, from, root, Facts{}, 1<<30)
	if err != nil {
		return "", nil, err
	}
	b, err := serveLayout(image, func(error) {})
	if err != nil {
		return "", nil, err
	}
	return b.name, b.close, nil
}
