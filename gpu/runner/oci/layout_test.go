package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// layoutsIn are layouts in place of staged ones: the store of blocks is another room's.
type layoutsIn struct {
	fs.FS
	read func(path string) // nil: nobody looks
}

func (l layoutsIn) FileSize(_ context.Context, path string) (uint64, error) {
	info, err := fs.Stat(l.FS, path)
	if err != nil || !info.Mode().IsRegular() {
		return 0, fs.ErrNotExist
	}
	return uint64(info.Size()), nil
}

func (l layoutsIn) Cat(_ context.Context, path string, w io.Writer) error {
	if l.read != nil {
		l.read(path)
	}
	text, err := fs.ReadFile(l.FS, path)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// rootOf is the content id that a test gives a layout.
func rootOf(n byte) string { return "b" + strings.Repeat(string('a'+rune(n)), 58) }

// write puts a layout of images below dir, and returns the name of the one image.
func writeLayout(t *testing.T, dir string, n byte, images ...v1.Image) string {
	t.Helper()
	p, err := layout.Write(filepath.Join(dir, rootOf(n)), empty.Index)
	for _, img := range images {
		if err == nil {
			err = p.AppendImage(img)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return "ipfs://" + rootOf(n)
}

// runsLayouts pulls images by content id and runs one. The engine speaks TLS to the
// address that the registry of the pull has, unless it is told otherwise.
func runsLayouts(t *testing.T, e *enginetest.Engine) {
	engine := oci.NewEngine(e.URL)
	engine.Look(t.Context())
	dir := t.TempDir()
	var layers []string
	store := layoutsIn{os.DirFS(dir), func(path string) {
		if info, err := os.Stat(filepath.Join(dir, path)); err == nil && info.Size() > 100_000 {
			layers = append(layers, path)
		}
	}}
	r, err := oci.New(oci.Config{Engine: engine, Owner: owner, Layouts: store, Dir: t.TempDir()}) // not Private: our own registry is no stranger's
	if err != nil {
		t.Fatal(err)
	}
	img := guestImage(t)
	built := img.Build(t)
	name := writeLayout(t, dir, 0, built)
	var last [2]uint64
	if err := r.Pull(t.Context(), name, 1<<30, func(done, total uint64) { last = [2]uint64{done, total} }); err != nil {
		t.Fatal(err)
	}
	if last[0] == 0 || last[0] != last[1] || len(layers) != 1 {
		t.Errorf("%d of %d bytes came, in %d layers", last[0], last[1], len(layers))
	}
	run, err := r.Start(t.Context(), runner.Spec{Program: runner.Program{Image: name}, Args: []string{"/guest", "exit", "7"}, Out: t.TempDir(), Memory: 64 << 20, Disk: 1 << 20, Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 7 {
		t.Errorf("%+v", got)
	}
	more := enginetest.Image{Files: map[string]string{"/more": "x"}}
	second, err := mutate.AppendLayers(built, layerOf(t, more.Build(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Pull(t.Context(), writeLayout(t, dir, 1, second), 1<<30, nil); err != nil || len(layers) != 1 {
		t.Errorf("%v: a layer that was there came %d times", err, len(layers))
	}
	if err := r.Pull(t.Context(), name, 1<<30, nil); err != nil {
		t.Errorf("it is there: %v", err)
	}
	if names := e.Podman(t, "images", "--format", "{{.Repository}}:{{.Tag}}"); strings.Contains(names, "127.0.0.2") || !strings.Contains(names, "localhost/souk/ipfs:"+rootOf(0)) {
		t.Errorf("the engine has %s", names)
	}
	lies := filepath.Join(dir, rootOf(2))
	liar := writeLayout(t, dir, 2, enginetest.Image{Files: map[string]string{"/a": noise(1 << 17)}}.Build(t))
	flipLargest(t, lies)
	err = r.Pull(t.Context(), liar, 1<<30, nil)
	if e, ok := errors.AsType[*runner.ImageError](err); !ok || e.Away || !strings.Contains(e.Detail, "not what its digest says") {
		t.Errorf("a layer with other bytes: %v", err)
	}
}

func layerOf(t *testing.T, img v1.Image) v1.Layer {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatal(err)
	}
	return layers[0]
}

// flipLargest changes a byte of the largest blob.
func flipLargest(t *testing.T, dir string) {
	t.Helper()
	var largest string
	var size int64
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	for _, b := range blobs {
		if info, e := b.Info(); e == nil && info.Size() > size {
			largest, size = filepath.Join(dir, "blobs", "sha256", b.Name()), info.Size()
		}
	}
	text, err2 := os.ReadFile(largest)
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(largest, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// files of a layout that a stranger wrote by hand.
type handmade map[string][]byte

// put adds a blob, and describes it.
func (h handmade) put(kind types.MediaType, text []byte) v1.Descriptor {
	digest, size, _ := v1.SHA256(bytes.NewReader(text))
	h["blobs/sha256/"+digest.Hex] = text
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
}

func (h handmade) json(kind types.MediaType, v any) v1.Descriptor {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return h.put(kind, text)
}

// image is a good one with a layer, which change may change.
func (h handmade) image(change func(*v1.Manifest)) v1.Descriptor {
	m := &v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: h.json(types.OCIConfigJSON, v1.ConfigFile{OS: "linux"}),
		Layers: []v1.Descriptor{h.put(types.OCILayer, []byte("a layer"))}}
	if change != nil {
		change(m)
	}
	return h.json(types.OCIManifestSchema1, m)
}

func (h handmade) index(all ...v1.Descriptor) handmade {
	text, _ := json.Marshal(v1.IndexManifest{SchemaVersion: 2, Manifests: all})
	h["index.json"], h["oci-layout"] = text, []byte(`{"imageLayoutVersion":"1.0.0"}`)
	return h
}

func (h handmade) layouts() layoutsIn {
	all := fstest.MapFS{}
	for name, text := range h {
		all[rootOf(0)+"/"+name] = &fstest.MapFile{Data: text}
	}
	return layoutsIn{all, nil}
}

// TestHostileLayouts opens layouts that lie: each is refused as its client's doing,
// before an engine hears of it.
func TestHostileLayouts(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(h handmade)
		want string // of the error; empty: it is good
	}{
		{"good", func(h handmade) { h.index(h.image(nil)) }, ""},
		{"in an index of its own", func(h handmade) {
			h.index(h.json(types.OCIImageIndex, v1.IndexManifest{Manifests: []v1.Descriptor{h.image(nil)}}))
		}, ""},
		{"for this machine among others", func(h handmade) {
			here, other := h.image(nil), h.image(func(m *v1.Manifest) { m.Annotations = map[string]string{"a": "b"} })
			here.Platform, other.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}, &v1.Platform{OS: "linux", Architecture: "s390x"}
			h.index(other, here)
		}, ""},
		{"for others only", func(h handmade) {
			d := h.image(nil)
			d.Platform = &v1.Platform{OS: "linux", Architecture: "s390x"}
			h.index(d)
		}, "no image for linux/amd64"},
		{"of two images", func(h handmade) {
			h.index(h.image(nil), h.image(func(m *v1.Manifest) { m.Annotations = map[string]string{"a": "b"} }))
		}, "several images"},
		{"empty", func(handmade) {}, "no file oci-layout"},
		{"no index", func(h handmade) { h["oci-layout"] = nil }, "no file index.json"},
		{"an index that is none", func(h handmade) { h.index(h.image(nil)); h["index.json"] = []byte("[") }, "an index is none"},
		{"a marker of megabytes", func(h handmade) { h.index(h.image(nil)); h["oci-layout"] = make([]byte, 5<<20) }, "more than 4096 bytes"},
		{"an index of megabytes", func(h handmade) { h.index(h.image(nil)); h["index.json"] = make([]byte, 5<<20) }, "more than"},
		{"10^5 images", func(h handmade) { h.index(make([]v1.Descriptor, 100_000)...) }, "no OCI image layout"},
		{"the digest of another", func(h handmade) {
			d := h.image(nil)
			h["blobs/sha256/"+d.Digest.Hex] = []byte("{}")
			h.index(d)
		}, "not what its digest or size says"},
		{"another size of the manifest", func(h handmade) {
			d := h.image(nil)
			d.Size--
			h.index(d)
		}, "not what its digest or size says"},
		{"a blob that is not there", func(h handmade) {
			d := h.image(nil)
			d.Digest.Hex = strings.Repeat("0", 64)
			h.index(d)
		}, "it has no file blobs/sha256/000000000000"},
		{"a digest that is a path", func(h handmade) {
			d := h.image(nil)
			d.Digest.Hex = "../../index.json"
			h.index(d)
		}, "an index is none"},
		{"another hash", func(h handmade) {
			d := h.image(nil)
			d.Digest = v1.Hash{Algorithm: "sha512", Hex: strings.Repeat("0", 128)}
			h.index(d)
		}, "OCI image layout"},
		{"a layer that is smaller", func(h handmade) { h.index(h.image(func(m *v1.Manifest) { m.Layers[0].Size = 1 << 40 })) }, "not as large"},
		{"a layer of less than nothing", func(h handmade) { h.index(h.image(func(m *v1.Manifest) { m.Layers[0].Size = -1 })) }, "not as large"},
		{"a layer elsewhere", func(h handmade) {
			h.index(h.image(func(m *v1.Manifest) { m.Layers[0].URLs = []string{"http://169.254.169.254/"} }))
		}, "lies elsewhere"},
		{"a layer of a kind that lies elsewhere", func(h handmade) {
			h.index(h.image(func(m *v1.Manifest) { m.Layers[0].MediaType = types.OCIRestrictedLayer }))
		}, "lies elsewhere"},
		{"a configuration elsewhere", func(h handmade) { h.index(h.image(func(m *v1.Manifest) { m.Config.URLs = []string{"http://x/"} })) }, "lies elsewhere"},
		{"too many layers", func(h handmade) {
			h.index(h.image(func(m *v1.Manifest) { m.Layers = slices.Repeat(m.Layers, 501) }))
		}, "501 layers"},
		{"one layer many times", func(h handmade) {
			h.index(h.image(func(m *v1.Manifest) {
				for range 400 {
					m.Layers = append(m.Layers, m.Layers[0])
				}
			}))
		}, "ask for more disk"},
		{"no configuration", func(h handmade) {
			h.index(h.image(func(m *v1.Manifest) { m.Config = h.put(types.OCIConfigJSON, []byte("x")) }))
		}, "the configuration of the image is none"},
		{"another machine's by its configuration", func(h handmade) {
			h.index(h.image(func(m *v1.Manifest) { m.Config = h.json(types.OCIConfigJSON, v1.ConfigFile{OS: "windows"}) }))
		}, "for windows"},
		{"indexes in indexes", func(h handmade) {
			d := h.image(nil)
			for range 4 {
				d = h.json(types.OCIImageIndex, v1.IndexManifest{Manifests: []v1.Descriptor{d}})
			}
			h.index(d)
		}, "lie in each other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := handmade{}
			tt.make(h)
			err := oci.OpenLayout(t.Context(), h.layouts(), rootOf(0), "amd64", 1024)
			e, ok := errors.AsType[*runner.ImageError](err)
			if (err == nil) != (tt.want == "") || err != nil && (!ok || e.Away || !strings.Contains(e.Detail, tt.want) || len(e.Detail) > runner.MaxDetail) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzLayout opens layouts of any index and manifest.
func FuzzLayout(f *testing.F) {
	h := handmade{}
	d := h.image(nil)
	h.index(d)
	f.Add(h["index.json"], h["blobs/sha256/"+d.Digest.Hex])
	f.Add([]byte(`{"manifests":[{"digest":"sha256:0"}]}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, index, manifest []byte) {
		h := handmade{"oci-layout": nil, "index.json": index}
		h.put("", manifest)
		if err := oci.OpenLayout(t.Context(), h.layouts(), rootOf(0), "amd64", 1024); err != nil {
			if _, ok := errors.AsType[*runner.ImageError](err); !ok {
				t.Errorf("%v is nobody's doing", err)
			}
		}
		h.index(h.put(types.OCIManifestSchema1, manifest))
		if err := oci.OpenLayout(t.Context(), h.layouts(), rootOf(0), "amd64", 1024); err != nil {
			if _, ok := errors.AsType[*runner.ImageError](err); !ok {
				t.Errorf("%v is nobody's doing", err)
			}
		}
	})
}

// TestLoopback asks the registry of a pull what nobody may know or do.
func TestLoopback(t *testing.T) {
	h := handmade{}
	d := h.image(nil)
	h.index(d)
	at, stop, err := oci.ServeLayout(t.Context(), h.layouts(), rootOf(0))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	host, repository, _ := strings.Cut(strings.TrimSuffix(at, ":image"), "/")
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/v2/", 200}, {"GET", "/v2/" + repository + "/manifests/image", 200}, {"HEAD", "/v2/" + repository + "/manifests/" + d.Digest.String(), 200},
		{"GET", "/v2/" + repository + "/manifests/other", 404}, {"GET", "/v2/_catalog", 404}, {"GET", "/v2/" + repository + "/tags/list", 404},
		{"GET", "/v2/souk/0123456789abcdef0123456789abcdef/manifests/image", 404}, {"GET", "/" + rootOf(0) + "/index.json", 404},
		{"GET", "/v2/" + repository + "/blobs/sha256:" + strings.Repeat("0", 64), 404}, {"GET", "/v2/" + repository + "/blobs/..%2f..%2findex.json", 404},
		{"PUT", "/v2/" + repository + "/manifests/image", 405}, {"POST", "/v2/" + repository + "/blobs/uploads/", 404}, {"DELETE", "/v2/" + repository + "/manifests/image", 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+host+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, res.StatusCode, tt.want)
		}
	}
	if !strings.HasPrefix(host, "127.") {
		t.Errorf("it listens at %s", host)
	}
}
