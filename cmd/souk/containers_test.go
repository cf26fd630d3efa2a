package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	"github.com/souk-market/souk/gpu/runner/runnertest"
)

// TestContainers runs the stories of jobs that are images, with an engine and a
// registry of their own.
func TestContainers(t *testing.T) {
	engine := enginetest.Start(t)
	shop := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(shop.Close) // the stories run beside what follows
	guest := filepath.Join(t.TempDir(), "guest")
	runnertest.BuildNative(t, guest)
	text, err := os.ReadFile(guest)
	if err != nil {
		t.Fatal(err)
	}
	guestText := string(text)
	tag, err := name.NewTag(strings.TrimPrefix(shop.URL, "http://") + "/guest:1")
	if err != nil {
		t.Fatal(err)
	}
	img := enginetest.Image{Files: map[string]string{"/guest": guestText}}.Build(t)
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	// No client may have a provider ask a registry on its own network, so the engine has it before.
	engine.Podman(t, "pull", "--quiet", "--tls-verify=false", tag.Repository.Name()+"@"+digest.String())
	looker := filepath.Join(t.TempDir(), "looker")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", looker, "../../gpu/runner/oci/testdata/looker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the looker: %v\n%s", err, out)
	}
	if text, err = os.ReadFile(looker); err != nil {
		t.Fatal(err)
	}
	greedy := enginetest.Image{Files: map[string]string{"/looker": string(text)}}
	greedy.Config.Env = []string{"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all"}
	byCID := filepath.Join(t.TempDir(), "layout") // another image: the engine has the guest's
	p, err := layout.Write(byCID, empty.Index)
	if err == nil {
		err = p.AppendImage(enginetest.Image{Files: map[string]string{"/other/guest": guestText}}.Build(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	tell(t, "containers", map[string]string{"LAYOUT": byCID, "GREEDY": engine.Load(t, "greedy", greedy), "ENGINE": engine.URL, "TAGGED": tag.String(), "IMAGE": tag.Repository.Name() + "@" + digest.String(),
		"MISSING": tag.Repository.Name() + "@sha256:" + strings.Repeat("0", 64)})
}
