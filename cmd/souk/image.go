package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/jobfile"
	"github.com/souk-market/souk/gpu/runner"
)

// resolveWithin bounds the question for a tag's digest.
const resolveWithin = 30 * time.Second

// fixImage names the job's image by its digest: a tag means another image tomorrow,
// and the provider must run what was planned and signed. Of one by content id it sees
// that it is an image.
func (a *app) fixImage(ctx context.Context, f *jobfile.File) error {
	if root, ok := runner.ImageCID(f.Job.Image); ok {
		return a.checkLayout(ctx, f, root)
	}
	if f.Tag == "" {
		return nil
	}
	fault := func(err error) error { return flagFault(f.Fault("image", err)) }
	tag, err := name.NewTag(f.Tag)
	if err != nil {
		return fault(fmt.Errorf("%q names no image: %w", f.Tag, err))
	}
	ctx, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	found, err := remote.Head(tag, remote.WithContext(ctx), remote.WithUserAgent("souk"))
	if err != nil {
		return imageFault(f, tag, err)
	}
	registry := tag.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io" // as engines call it
	}
	f.Job.Image = fmt.Sprintf("%s/%s@%s", registry, tag.RepositoryStr(), found.Digest)
	a.say("image %s is %s", f.Tag, f.Job.Image)
	return nil
}

// checkLayout wants an OCI image layout in the store, before anything is spent on it.
func (a *app) checkLayout(ctx context.Context, f *jobfile.File, root string) error {
	for _, name := range []string{"oci-layout", "index.json"} {
		err := a.cat(ctx, root+"/"+name, io.Discard)
		if souk.CodeOf(err) == souk.CodeState {
			return flagFault(f.Fault("image", fmt.Errorf("%s is no OCI image layout in this node's store, as it has no file %s: souk add FOLDER puts one there", root, name)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// imageFault says why a tag has no digest: it is not there, or its registry is not.
func imageFault(f *jobfile.File, tag name.Tag, err error) error {
	said, ok := errors.AsType[*transport.Error](err)
	switch {
	case ok && said.StatusCode == http.StatusNotFound:
		return flagFault(f.Fault("image", fmt.Errorf("%s has no image %s:%s", tag.RegistryStr(), tag.RepositoryStr(), tag.TagStr())))
	case ok && (said.StatusCode == http.StatusUnauthorized || said.StatusCode == http.StatusForbidden):
		return flagFault(f.Fault("image", fmt.Errorf("%s shows %s to nobody without a password, and registry_auth %w", tag.RegistryStr(), tag.RepositoryStr(), jobfile.ErrUnavailable)))
	}
	return fmt.Errorf("image %s: its registry does not tell its digest: %w; name the image by digest, NAME@sha256:…", f.Tag, err)
}
