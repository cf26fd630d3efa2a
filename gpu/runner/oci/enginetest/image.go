package enginetest

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image is an image that a test makes from nothing.
type Image struct {
	Files  map[string]string // content by absolute path; all may be executed
	Links  map[string]string // where a symbolic link leads, by its path
	Config v1.Config
	OS     string // default: linux
	Arch   string // default: this machine's
}

// Build makes the image.
func (i Image) Build(t testing.TB) v1.Image {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		text, err := i.layer()
		return io.NopCloser(bytes.NewReader(text)), err
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config, config.OS, config.Architecture = i.Config, i.OS, i.Arch
	if config.OS == "" {
		config.OS = "linux"
	}
	if config.Architecture == "" {
		config.Architecture = runtime.GOARCH
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// layer is the image's files as an archive.
func (i Image) layer() ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := map[string]bool{"/": true}
	var folder func(string) error
	folder = func(p string) error {
		if made[p] {
			return nil
		}
		made[p] = true
		if err := folder(path.Dir(p)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(p, "/") + "/", Mode: 0o755})
	}
	for _, p := range slices.Sorted(maps.Keys(i.Files)) {
		text := i.Files[p]
		if err := folder(path.Dir(p)); err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(p, "/"), Mode: 0o755, Size: int64(len(text))}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return nil, err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(i.Links)) {
		to := i.Links[p]
		if err := folder(path.Dir(p)); err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(p, "/"), Linkname: to, Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

// Load gives the engine an image under localhost/NAME, and returns what it is
// called by its digest.
func (e *Engine) Load(t testing.TB, called string, i Image) string {
	t.Helper()
	img := i.Build(t)
	tag, err := name.NewTag("localhost/" + called + ":test")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(e.dir, "load.tar")
	if err := tarball.WriteToFile(archive, tag, img); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(archive)
	e.Podman(t, "load", "--quiet", "--input", archive)
	digest := e.Podman(t, "image", "inspect", "--format", "{{.Digest}}", tag.String())
	return "localhost/" + called + "@" + digest
}
