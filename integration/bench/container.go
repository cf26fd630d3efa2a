package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// containerStart measures a container that does nothing, from start to removal.
func containerStart() bench {
	return bench{
		row:     "job start, container",
		against: "the same engine's API, same image: create, attach, start, wait, remove, with nothing that holds it",
		unit:    "ms",
		goal:    "≤ 1.1×",
		prepare: prepareContainer,
	}
}

func prepareContainer(dir string) (*subject, error) {
	e, err := enginetest.Open()
	if err != nil {
		return nil, err
	}
	s, err := containerSubject(dir, e)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	s.close = e.Close
	return s, nil
}

func containerSubject(dir string, e *enginetest.Engine) (*subject, error) {
	image, err := emptyImage(dir, e)
	if err != nil {
		return nil, err
	}
	engine := oci.NewEngine(e.URL)
	engine.Look(context.Background())
	if err := engine.Refusal(); err != nil {
		return nil, err
	}
	r, err := oci.New(oci.Config{Engine: engine, Owner: strings.Repeat("0", 32), Dir: filepath.Join(dir, "runner")})
	if err != nil {
		return nil, err
	}
	cli, err := client.New(client.WithHost(e.URL))
	if err != nil {
		return nil, err
	}
	spec := runner.Spec{Program: runner.Program{Image: image}, Args: []string{"/guest"}, Out: filepath.Join(dir, "out"),
		Memory: 256 << 20, Disk: 1 << 20, Duration: time.Minute}
	if err := os.Mkdir(spec.Out, 0o755); err != nil {
		return nil, err
	}
	lease := 0
	return &subject{
		ours: func() (float64, error) {
			lease++
			spec.Lease.Digest = souk.Digest{byte(lease), byte(lease >> 8)}
			return millis(func() error { return runContainer(r, spec) })
		},
		limit: func() (float64, error) { return millis(func() error { return bareContainer(cli, image) }) },
		met:   func(ours, limit figure) bool { return ours.median <= 1.1*limit.median },
		note: func() string {
			return engine.Facts().Name() + "; ours also makes user, folders, limits and filter, and looks at the image and the end"
		},
	}, nil
}

// emptyImage gives the engine an image whose one program ends at once.
func emptyImage(dir string, e *enginetest.Engine) (string, error) {
	source := filepath.Join(dir, "guest.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "guest"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest: %w: %s", err, out)
	}
	if out, err := exec.Command("tar", "-C", dir, "-cf", filepath.Join(dir, "root.tar"), "guest").CombinedOutput(); err != nil {
		return "", fmt.Errorf("pack the guest: %w: %s", err, out)
	}
	const tag = "localhost/bench/guest:1"
	if _, err := e.Do("import", "--quiet", filepath.Join(dir, "root.tar"), tag); err != nil {
		return "", err
	}
	digest, err := e.Do("image", "inspect", "--format", "{{.Digest}}", tag)
	return "localhost/bench/guest@" + digest, err
}

func runContainer(r *oci.Runner, spec runner.Spec) error {
	run, err := r.Start(context.Background(), spec)
	if err != nil {
		return err
	}
	if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_COMPLETED || got.ExitCode != 0 {
		return fmt.Errorf("the container ended with %s, exit code %d: %s", got.Reason, got.ExitCode, got.Detail)
	}
	return nil
}

// bareContainer runs the image by the fewest calls that read its output and its end.
func bareContainer(cli *client.Client, image string) error {
	ctx := context.Background()
	made, err := cli.ContainerCreate(ctx, client.ContainerCreateOptions{Config: &container.Config{Image: image, Entrypoint: []string{"/guest"}},
		HostConfig: &container.HostConfig{NetworkMode: "none", LogConfig: container.LogConfig{Type: "none"}}})
	if err != nil {
		return err
	}
	printed, err := cli.ContainerAttach(ctx, made.ID, client.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	defer printed.Close() // its end is not waited for: Podman may keep it open for long after the container's
	if _, err := cli.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		return err
	}
	waited := cli.ContainerWait(ctx, made.ID, client.ContainerWaitOptions{})
	select {
	case err := <-waited.Error:
		return err
	case end := <-waited.Result:
		if end.StatusCode != 0 {
			return fmt.Errorf("exit code %d", end.StatusCode)
		}
	}
	_, err = cli.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true})
	return err
}
