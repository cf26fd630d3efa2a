package oci_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
)

// shop is a registry of a test, which can break off what it sends.
type shop struct {
	*httptest.Server
	blobs  int // layers that were asked for
	broken bool
}

func newShop(t *testing.T) *shop {
	s := &shop{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			if s.blobs++; s.broken {
				http.Error(w, "broken", http.StatusInternalServerError)
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// host is the registry's name in that of an image.
func (s *shop) host() string { return strings.TrimPrefix(s.URL, "http://") }

// push puts an image there, and returns what it is called by its digest.
func (s *shop) push(t *testing.T, called string, img v1.Image) string {
	t.Helper()
	tag, err := name.NewTag(s.host() + "/" + called + ":test")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return s.host() + "/" + called + "@" + digest.String()
}

// noise does not get smaller by packing it.
func noise(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return string(b)
}

func TestPull(t *testing.T) {
	t.Parallel()
	e, s := enginetest.Start(t), newShop(t)
	r := newRunner(t, e.URL)
	small := enginetest.Image{Files: map[string]string{"/a": noise(1 << 20)}}
	ours := s.push(t, "ours", small.Build(t))
	foreign := enginetest.Image{Files: map[string]string{"/a": "x"}, Arch: "s390x"}
	missing := s.host() + "/ours@sha256:" + strings.Repeat("0", 64)
	bomb := enginetest.Image{Files: map[string]string{"/zeros": strings.Repeat("\x00", 64<<20)}}
	elsewhere, err := mutate.Append(small.Build(t), mutate.Addendum{Layer: layerOf(t, enginetest.Image{Files: map[string]string{"/b": "x"}}.Build(t)), URLs: []string{"http://169.254.169.254/x"}})
	if err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, tt := range []struct {
		name, image string
		limit       uint64
		away        bool
		want        string // of the error; empty: it comes
	}{
		{"a wrong digest", missing, 1 << 30, false, "has no image"},
		{"no name", "NO NAME@sha256:" + strings.Repeat("0", 64), 1 << 30, false, "names no image"},
		{"too large by its manifest", ours, 1 << 19, false, "ask for more disk"},
		{"too large as it lies there", s.push(t, "bomb", bomb.Build(t)), 1 << 20, false, "job's disk"},
		{"of another machine", s.push(t, "foreign", foreign.Build(t)), 1 << 30, false, "is for s390x, this machine is " + runtime.GOARCH},
		{"a registry that is away", strings.TrimPrefix(gone.URL, "http://") + "/x@sha256:" + strings.Repeat("0", 64), 1 << 30, true, "does not answer"},
		{"a layer at an address of its own", s.push(t, "elsewhere", elsewhere), 1 << 30, false, "lies elsewhere"},
		{"it comes", ours, 1 << 30, false, ""},
		{"it is there", ours, 1 << 30, false, ""},
		{"it is there, and too large for this job", ours, 1 << 19, false, "ask for more disk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var last [2]uint64
			err := r.Pull(t.Context(), tt.image, tt.limit, func(done, total uint64) { last = [2]uint64{done, total} })
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if tt.name == "it comes" && (last[0] == 0 || last[0] != last[1]) {
					t.Errorf("%d of %d bytes came", last[0], last[1])
				}
				return
			}
			if e, ok := errors.AsType[*runner.ImageError](err); !ok || e.Away != tt.away || !strings.Contains(e.Detail, tt.want) || len(e.Detail) > runner.MaxDetail {
				t.Errorf("%#v, %v", err, err)
			}
		})
	}
	t.Run("by content id", func(t *testing.T) { runsLayouts(t, e) })
	// One that is not ours to pull is not asked for: layers that came are there.
	before := s.blobs
	if err := r.Pull(t.Context(), ours, 1<<30, nil); err != nil || s.blobs != before {
		t.Errorf("%v; %d layers came again", err, s.blobs-before)
	}
}

// TestPullBreaksOff tries again after the registry broke off.
func TestPullBreaksOff(t *testing.T) {
	t.Parallel()
	e, s := enginetest.Start(t), newShop(t)
	r := newRunner(t, e.URL)
	ours := s.push(t, "ours", enginetest.Image{Files: map[string]string{"/a": noise(1 << 16)}}.Build(t))
	// The configuration is a blob too: it is asked for first, by us.
	s.broken = true
	err := r.Pull(t.Context(), ours, 1<<30, nil)
	if e, ok := errors.AsType[*runner.ImageError](err); !ok || !e.Away {
		t.Errorf("%v", err)
	}
	s.broken = false
	if err := r.Pull(t.Context(), ours, 1<<30, nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Pull(ctx, ours, 1<<30, nil); err == nil {
		t.Error("it came without time")
	}
}

// TestPrivateRegistry names registries that a stranger must not have us ask.
func TestPrivateRegistry(t *testing.T) {
	t.Parallel()
	e, s := enginetest.Start(t), newShop(t)
	engine := oci.NewEngine(e.URL)
	engine.Look(t.Context())
	r, err := oci.New(oci.Config{Engine: engine, Owner: owner, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	port := s.host()[strings.LastIndex(s.host(), ":"):]
	for _, host := range []string{s.host(), "localhost" + port, "[::1]" + port, "169.254.169.254", "10.0.0.1", "192.168.1.1:5000", "100.64.0.1", "0.0.0.0" + port} {
		err := r.Pull(t.Context(), fmt.Sprintf("%s/x@sha256:%s", host, strings.Repeat("0", 64)), 1<<30, nil)
		if e, ok := errors.AsType[*runner.ImageError](err); !ok || e.Away {
			t.Errorf("%s: %v", host, err)
		}
	}
	if s.blobs > 0 {
		t.Error("it was asked")
	}
}

// TestPrune keeps what was used last, and what is not ours.
func TestPrune(t *testing.T) {
	t.Parallel()
	e, s := enginetest.Start(t), newShop(t)
	engine := oci.NewEngine(e.URL)
	engine.Look(t.Context())
	r, err := oci.New(oci.Config{Engine: engine, Owner: owner, Private: true, ImageBytes: 1, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	others := e.Load(t, "others", enginetest.Image{Files: map[string]string{"/b": noise(100)}})
	ours := s.push(t, "ours", enginetest.Image{Files: map[string]string{"/a": noise(1 << 16)}}.Build(t))
	for _, image := range []string{others, ours} {
		if err := r.Pull(t.Context(), image, 1<<30, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error)
	go func() { watched <- r.Watch(ctx, func() {}) }()
	for deadline := time.Now().Add(time.Minute); strings.Contains(e.Podman(t, "images", "--digests"), "ours"); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("too many images, and none is removed")
		}
	}
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	if left := e.Podman(t, "images"); !strings.Contains(left, "others") {
		t.Errorf("others' images were removed: %s", left)
	}
}
