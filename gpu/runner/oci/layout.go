package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/souk-market/souk/gpu/runner"
)

// Layouts reads the OCI image layouts that were staged. Paths begin with the content
// id of a layout's folder, such as CID/index.json.
type Layouts interface {
	// FileSize returns the bytes of a file. The error is [fs.ErrNotExist] where there
	// is no file at the path.
	FileSize(ctx context.Context, path string) (uint64, error)
	// Cat writes the bytes of a file.
	Cat(ctx context.Context, path string, w io.Writer) error
}

// Bounds of what is read of a layout into memory. They are those of registries.
const (
	maxMarker   = 4 << 10
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
	maxIndexes  = 4 // in each other
)

// layout is one image in a layout: all that an engine may ask for, by digest. Where a
// blob lies follows from its digest, so it has no content id of its own here.
type layout struct {
	from     Layouts
	root     string
	manifest []byte
	kind     types.MediaType // of the manifest
	blobs    map[string]int64
	content  content
}

// openLayout reads what the image for this machine consists of. All of the layout is
// here; what of it is not as it should be is its client's doing.
func openLayout(ctx context.Context, from Layouts, root string, f Facts, limit uint64) (*layout, error) {
	l := &layout{from: from, root: root, blobs: map[string]int64{}, content: content{layers: map[string]uint64{}}}
	if _, err := l.read(ctx, "oci-layout", maxMarker); err != nil {
		return nil, err
	}
	d, err := l.choose(ctx, f)
	if err != nil {
		return nil, err
	}
	if l.manifest, err = l.blob(ctx, d, maxManifest); err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(l.manifest))
	if err != nil {
		return nil, badLayout("the manifest of the image is none")
	}
	if l.kind = d.MediaType; l.kind == "" {
		l.kind = types.OCIManifestSchema1
	}
	if err := l.admit(ctx, m, limit); err != nil {
		return nil, err
	}
	text, err := l.blob(ctx, m.Config, maxConfig)
	if err != nil {
		return nil, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(text))
	if err != nil {
		return nil, badLayout("the configuration of the image is none")
	}
	if err := (image{OS: config.OS, Arch: config.Architecture}).runsOn(f); err != nil {
		return nil, &runner.ImageError{Detail: err.Error()}
	}
	return l, nil
}

// admit looks at each layer: it lies here, is as large as it should be, and they are
// not too large together.
func (l *layout) admit(ctx context.Context, m *v1.Manifest, limit uint64) error {
	if len(m.Layers) > maxLayers {
		return &runner.ImageError{Detail: fmt.Sprintf("the image has %d layers, at most %d", len(m.Layers), maxLayers)}
	}
	l.blobs[m.Config.Digest.String()] = m.Config.Size
	for _, d := range m.Layers {
		if err := ours(d); err != nil {
			return err
		}
		size, err := l.size(ctx, blobPath(d.Digest))
		if err != nil {
			return err
		}
		if d.Size < 0 || size != uint64(d.Size) {
			return badLayout("a layer is not as large as it should be")
		}
		l.blobs[d.Digest.String()], l.content.layers[d.Digest.Hex] = d.Size, size
		if l.content.total += min(size, 1<<50); l.content.total > limit {
			return tooLarge(l.content.total, limit)
		}
	}
	return nil
}

// choose finds the manifest of the image for this machine, which may lie in indexes
// below the first.
func (l *layout) choose(ctx context.Context, f Facts) (v1.Descriptor, error) {
	text, err := l.read(ctx, "index.json", maxManifest)
	for range maxIndexes {
		if err != nil {
			return v1.Descriptor{}, err
		}
		index, err := v1.ParseIndexManifest(bytes.NewReader(text))
		if err != nil {
			return v1.Descriptor{}, badLayout("an index is none")
		}
		d, err := pick(index.Manifests, f)
		if err != nil || !d.MediaType.IsIndex() {
			return d, err
		}
		if text, err = l.blob(ctx, d, maxManifest); err != nil {
			return v1.Descriptor{}, err
		}
	}
	return v1.Descriptor{}, badLayout("its indexes lie in each other")
}

// pick takes the first image that says that it is for this machine, else the only one
// that does not say for which it is.
func pick(all []v1.Descriptor, f Facts) (found v1.Descriptor, err error) {
	unsaid := 0
	for _, d := range all {
		switch p := d.Platform; {
		case d.MediaType != "" && !d.MediaType.IsImage() && !d.MediaType.IsIndex():
		case p == nil || p.OS == "" && p.Architecture == "":
			if unsaid == 0 || d.Digest != found.Digest {
				unsaid++
			}
			found = d
		case p.OS == "linux" && (f.Arch == "" || p.Architecture == f.Arch):
			return d, nil
		}
	}
	switch {
	case unsaid == 0:
		return found, badLayout("it has no image for linux/" + f.Arch)
	case unsaid > 1:
		return found, badLayout("it has several images: make a layout of one")
	}
	return found, nil
}

// here refuses what an engine would have to fetch from elsewhere, which may be the
// network of this machine.
func here(d v1.Descriptor) error {
	if len(d.URLs) > 0 || d.MediaType != "" && !d.MediaType.IsDistributable() {
		return &runner.ImageError{Detail: "a part of the image lies elsewhere, at an address of its own: this is not followed"}
	}
	return nil
}

// ours refuses what cannot lie in a layout.
func ours(d v1.Descriptor) error {
	if err := here(d); err != nil {
		return err
	}
	if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 2*sha256.Size {
		return badLayout("a part of it has no sha256")
	}
	return nil
}

// blob reads what a descriptor names, and holds it against that.
func (l *layout) blob(ctx context.Context, d v1.Descriptor, most uint64) ([]byte, error) {
	if err := ours(d); err != nil {
		return nil, err
	}
	text, err := l.read(ctx, blobPath(d.Digest), most)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != d.Digest.Hex || int64(len(text)) != d.Size {
		return nil, badLayout("a part of it is not what its digest or size says")
	}
	return text, nil
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// read reads a file of at most so many bytes.
func (l *layout) read(ctx context.Context, path string, most uint64) ([]byte, error) {
	size, err := l.size(ctx, path)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, badLayout(fmt.Sprintf("%s has more than %d bytes", shortPath(path), most))
	}
	var text bytes.Buffer
	if err := l.from.Cat(ctx, l.root+"/"+path, &text); err != nil {
		return nil, fmt.Errorf("read the image's layout: %w", err)
	}
	return text.Bytes(), nil
}

func (l *layout) size(ctx context.Context, path string) (uint64, error) {
	size, err := l.from.FileSize(ctx, l.root+"/"+path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, badLayout("it has no file " + shortPath(path))
	}
	if err != nil {
		return 0, fmt.Errorf("read the image's layout: %w", err)
	}
	return size, nil
}

// shortPath is a path for people: a digest is known by its beginning.
func shortPath(path string) string { return path[:min(len(path), len("blobs/sha256/")+12)] }

func badLayout(why string) error {
	return &runner.ImageError{Detail: oneLine("the image is no OCI image layout that can be run: " + why)}
}
