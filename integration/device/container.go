package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/nvml"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/gate"
	"github.com/souk-market/souk/gpu/runner/oci"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// Places in the image of a job: this program, and what it needs to be run.
const (
	imageProgram = "/job/device"
	imageLibs    = "/job/lib"
	imageName    = "image" // the file of a run that names it
)

// container makes an image of this program, has the engine pull it from a registry on
// loopback, and runs it with a card and without.
func container(ctx context.Context, s site, n *notes) error {
	e, err := s.lookup(ctx)
	if err != nil {
		return err
	}
	d, err := s.card(ctx)
	if err != nil {
		return err
	}
	r, err := s.runner(e)
	if err != nil {
		return err
	}
	shop := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer shop.Close()
	image, err := s.push(strings.TrimPrefix(shop.URL, "http://"))
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.Pull(ctx, image, 1<<30, func(uint64, uint64) {}); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	n.figure("pull, s", time.Since(began).Seconds())
	if err := os.WriteFile(filepath.Join(s.Work, imageName), []byte(image), 0o600); err != nil {
		return err
	}
	n.figure("program", "ours, which goes through libcuda: no nvcc where the bundle is made")
	return errors.Join(s.withCard(ctx, n, r, image, d), s.withoutCard(ctx, n, r, image))
}

// withCard runs a job that says what it sees of its card.
func (s site) withCard(ctx context.Context, n *notes, r *oci.Runner, image string, d gpu.Device) error {
	began := time.Now()
	i, err := s.see(ctx, r, image, 1, []runner.Device{{ID: d.ID, Class: d.Class, Vendor: nvml.Vendor}})
	if err != nil {
		return err
	}
	n.figure("container with a card, s", time.Since(began).Seconds())
	n.figure("inside", i)
	if i.Error != "" || len(i.IDs) != 1 || i.IDs[0] != d.ID {
		n.problem("it sees %q and not exactly %s: %s", i.IDs, d.ID, i.Error)
	}
	switch {
	case s.Dry:
		n.figure("computed inside", "no: the stand-in that containers get only starts")
	case i.CUDA != "":
		n.problem("nothing can be computed inside: %s", i.CUDA)
	case strings.HasPrefix(d.ID, "GPU-") && i.UUID != d.ID:
		n.problem("CUDA shows %s inside", i.UUID)
	}
	return nil
}

// withoutCard runs the same without one.
func (s site) withoutCard(ctx context.Context, n *notes, r *oci.Runner, image string) error {
	i, err := s.see(ctx, r, image, 2, []runner.Device{{ID: "cpu-1", Class: gpu.ClassCPU}})
	if err != nil {
		return err
	}
	n.figure("nodes in a container of the processor", len(i.Nodes))
	if len(i.Nodes) > 0 || len(i.IDs) > 0 {
		n.problem("a container of the processor sees %v", i.Seen)
	}
	return nil
}

// see runs the job that looks, and reads what it says.
func (s site) see(ctx context.Context, r *oci.Runner, image string, lease byte, devices []runner.Device) (i inside, err error) {
	var out bytes.Buffer
	run, err := s.begin(ctx, r, image, lease, devices, &out, jobInside)
	if err != nil {
		return i, err
	}
	if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 {
		return i, fmt.Errorf("it ended with %s, exit code %d: %s %s", got.Reason, got.ExitCode, got.Detail, lastLine(out.Bytes()))
	}
	return i, json.Unmarshal(out.Bytes(), &i)
}

// begin starts a job of ours in a container.
func (s site) begin(ctx context.Context, r *oci.Runner, image string, lease byte, devices []runner.Device, out io.Writer, args ...string) (runner.Run, error) {
	folder, err := os.MkdirTemp(s.Work, "out-")
	if err == nil {
		err = os.Chmod(folder, 0o777)
	}
	if err != nil {
		return nil, err
	}
	return r.Start(ctx, runner.Spec{Lease: leaseOf(lease), Program: runner.Program{Image: image}, Args: s.command(args...), Out: folder,
		Memory: 2 << 30, Disk: 1 << 20, Duration: time.Minute, Devices: devices, Stdout: out, Stderr: out})
}

// command runs a job of ours in its image: by the loader that came with it.
func (s site) command(args ...string) []string {
	loader, err := os.ReadFile(filepath.Join(s.Work, "loader"))
	if err != nil {
		return append([]string{imageProgram, wordJob}, args...)
	}
	return append([]string{imageLibs + "/" + string(loader), "--library-path", gpu.DriverFolder + ":" + imageLibs, imageProgram, wordJob}, args...)
}

// runner is souk's own, over the engine of the run.
func (s site) runner(e *oci.Engine) (*oci.Runner, error) {
	return oci.New(oci.Config{Engine: e, Owner: strings.Repeat("d", 32), Dir: filepath.Join(s.Work, "runner"), Private: true,
		Gate: s.program("souk"), Vendors: gpu.Vendors{s.driver()}})
}

// push puts the image of this program into a registry, and returns its name by digest.
func (s site) push(at string) (string, error) {
	layer, err := s.layer()
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
	config.OS, config.Architecture, config.Config = "linux", runtime.GOARCH, v1.Config{Entrypoint: []string{imageProgram}}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return "", err
	}
	tag, err := name.NewTag(at + "/souk-device:1")
	if err != nil {
		return "", err
	}
	if err := remote.Write(tag, img); err != nil {
		return "", err
	}
	digest, err := img.Digest()
	return tag.Repository.Name() + "@" + digest.String(), err
}

// layer is this program with the loader and the libraries that this machine has for it.
func (s site) layer() (v1.Layer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	libs := filepath.Join(s.Work, "libs")
	kit, err := gate.NewKit(self, libs)
	if err != nil {
		return nil, err
	}
	if with := kit.Command(""); len(with) > 1 {
		if err := os.WriteFile(filepath.Join(s.Work, "loader"), []byte(filepath.Base(with[0])), 0o600); err != nil {
			return nil, err
		}
	}
	files := map[string]string{imageProgram: self}
	entries, err := os.ReadDir(libs)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		files[imageLibs+"/"+e.Name()] = filepath.Join(libs, e.Name())
	}
	var b bytes.Buffer
	if err := archive(&b, files); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
}

// archive writes files of the host by their places in the image.
func archive(to io.Writer, files map[string]string) error {
	w := tar.NewWriter(to)
	for _, dir := range []string{"job/", "job/lib/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return err
		}
	}
	for at, from := range files {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(at, "/"), Mode: 0o755, Size: int64(len(text))}); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return w.Close()
}
