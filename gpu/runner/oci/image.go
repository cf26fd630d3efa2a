package oci

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/souk-market/souk/gpu/runner"
)

const inspectAgain = 3 // times, where the engine fails at it

// image is what matters of an image that the engine has.
type image struct {
	ID      string
	OS      string
	Arch    string
	Size    uint64 // of its layers as they lie there
	Env     []string
	Volumes map[string]struct{}
	Command []string // its entry point and what follows it
}

// fullName is an image's name as engines agree on it: they fill in another
// registry each where none is named.
func fullName(name string) (string, error) {
	if local, _, ok := layoutName(name); ok {
		return local, nil
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil || !imageForm.MatchString(name) {
		return "", &runner.ImageError{Detail: fmt.Sprintf("%.80q names no image", name)}
	}
	return ref.String(), nil
}

// image looks at an image that is here, by its full name. The engine checked its digest
// as it came.
func (e *Engine) image(ctx context.Context, full string) (image, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	got, err := e.client().ImageInspect(ctx, full)
	for again := 0; errdefs.IsInternal(err) && again < inspectAgain && sleep(ctx, lookEvery); again++ {
		// Podman finds no manifest while the same image is loaded once more.
		got, err = e.client().ImageInspect(ctx, full)
	}
	if errdefs.IsNotFound(err) {
		return image{}, &missingError{full}
	}
	if err != nil {
		return image{}, fmt.Errorf("look at the image: %w", err)
	}
	i := image{ID: got.ID, OS: got.Os, Arch: got.Architecture, Size: uint64(max(0, got.Size))}
	if got.Config != nil {
		i.Env, i.Volumes = got.Config.Env, got.Config.Volumes
		i.Command = slices.Concat(got.Config.Entrypoint, got.Config.Cmd)
	}
	return i, nil
}

// missingError is an image that the engine does not have.
type missingError struct{ name string }

func (e *missingError) Error() string { return "the engine does not have the image " + e.name }
