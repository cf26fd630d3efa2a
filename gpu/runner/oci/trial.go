package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/gate"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// trialTag is what the engine calls the image of a trial while it runs.
const trialTag = "localhost/souk/trial:1"

// Try runs a container on devices as a job would be, through the gate, in an image that
// has nothing in it: nothing is pulled. The image is taken away again. The error says
// why no job could run on them; it is a [*runner.UnprovedError] where a container was made and
// does not have exactly these devices. One Try of an engine at a time.
func (r *Runner) Try(ctx context.Context, devices []runner.Device) (err error) {
	facts, err := r.engine.ready()
	if err != nil {
		return err
	}
	kit, err := r.kit()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	id, err := r.engine.loadNothing(ctx)
	if err != nil {
		return fmt.Errorf("give the engine an image: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
		defer cancel()
		_, rmErr := r.engine.client().ImageRemove(ctx, trialTag, client.ImageRemoveOptions{Force: true})
		err = errors.Join(err, rmErr)
	}()
	out := filepath.Join(r.dir, "trial")
	if err := errors.Join(os.RemoveAll(out), os.Mkdir(out, 0o700)); err != nil {
		return err
	}
	s := runner.Spec{Lease: souk.LeaseID{Digest: souk.Digest{0x7e}}, Devices: devices, Program: runner.Program{Image: trialTag}, Out: out,
		Memory: gateMemory, Disk: 1 << 20, Duration: time.Minute,
		Args: kit.Command(gpu.DriverFolder, gate.Check, vendorsOf(devices))}
	u, err := r.begin(ctx, s, facts, image{ID: id, OS: "linux", Arch: runtime.GOARCH})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, u.Stop)
	defer stop()
	if got := u.Wait(); got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 {
		return fmt.Errorf("the container ended with %s, exit code %d: %s", got.Reason, got.ExitCode, got.Detail)
	}
	return os.RemoveAll(out)
}

// vendorsOf are the makers of devices, with commas between them.
func vendorsOf(devices []runner.Device) (all string) {
	had := map[string]bool{"": true}
	for _, d := range devices {
		if had[d.Vendor] {
			continue
		}
		if had[d.Vendor] = true; all != "" {
			all += ","
		}
		all += d.Vendor
	}
	return all
}

// loadNothing gives the engine an image of one empty folder, and returns its id.
func (e *Engine) loadNothing(ctx context.Context) (id string, err error) {
	var folder bytes.Buffer
	w := tar.NewWriter(&folder)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o755}), w.Close()); err != nil {
		return "", err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(folder.Bytes())), nil })
	if err != nil {
		return "", err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return "", err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return "", err
	}
	tag, err := name.NewTag(trialTag)
	if err != nil {
		return "", err
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, img, &archive); err != nil {
		return "", err
	}
	said, err := e.client().ImageLoad(ctx, &archive)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, said); err != nil { // it is there when the engine has said all
		return "", errors.Join(err, said.Close())
	}
	got, err := e.client().ImageInspect(ctx, trialTag)
	return got.ID, errors.Join(err, said.Close())
}
