package oci

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/souk-market/souk/gpu/runner"
)

// image is what matters of an image that the engine has.
type image struct {
	ID      string
	OS      string
	Arch    string
	Size    uint64 // of its layers as they lie there
	Env     []string
	Volumes map[string]struct{}
}

// image looks at an image that is here. The engine checked its digest as it came.
func (e *Engine) image(ctx context.Context, name string) (image, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	got, err := e.client().ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return image{}, &runner.ImageError{Image: name, Missing: true, Err: err}
	}
	if err != nil {
		return image{}, fmt.Errorf("look at the image: %w", err)
	}
	i := image{ID: got.ID, OS: got.Os, Arch: got.Architecture, Size: uint64(max(0, got.Size))}
	if got.Config != nil {
		i.Env, i.Volumes = got.Config.Env, got.Config.Volumes
	}
	return i, nil
}
