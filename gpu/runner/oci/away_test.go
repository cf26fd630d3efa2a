package oci_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// loop is a run that does not end.
func loop(t *testing.T, image string, lease byte) runner.Spec {
	return runner.Spec{Lease: souk.LeaseID{Digest: souk.Digest{lease}}, Program: runner.Program{Image: image}, Args: []string{"/guest", "loop"},
		Out: t.TempDir(), Memory: 64 << 20, Disk: 1 << 20, Duration: time.Minute}
}

// TestEngineGoesAway stops the engine under a run: the run ends as the host's fault,
// and once the engine is back nothing of it is left.
func TestEngineGoesAway(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t)
	engine := oci.NewEngine(e.URL)
	if !engine.Look(t.Context()) || engine.Refusal() != nil {
		t.Fatalf("it was not found: %v", engine.Refusal())
	}
	r := newRunnerOver(t, engine)
	image := guest(t, e)
	run, err := r.Start(t.Context(), loop(t, image, 1))
	if err != nil {
		t.Fatal(err)
	}
	e.Down(t)
	if !engine.Look(t.Context()) || engine.Refusal() == nil || r.Absent() == nil {
		t.Error("an engine that is away can be used")
	}
	if engine.Look(t.Context()) {
		t.Error("it is away, as before, and that is news")
	}
	if _, err := r.Start(t.Context(), loop(t, image, 2)); err == nil {
		t.Error("a run starts without an engine")
	}
	if err := r.Pull(t.Context(), image, 1<<30, nil); err == nil {
		t.Error("an image comes without an engine")
	}
	e.Up(t)
	if !engine.Look(t.Context()) || engine.Refusal() != nil {
		t.Errorf("it is back, and not found: %v", engine.Refusal())
	}
	select {
	case <-run.Done():
	case <-time.After(2 * time.Minute):
		t.Fatal("the run does not end")
	}
	if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_PROVIDER_FAILED || !strings.Contains(got.Detail, "engine") {
		t.Errorf("it ended with %+v", got)
	}
	if left := e.Podman(t, "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

// TestSweep leaves containers of an earlier life, and others' that look like them:
// the first go when the runner begins to watch, the others stay.
func TestSweep(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t)
	image := guest(t, e)
	earlier := newRunner(t, e.URL)
	orphan, err := earlier.Start(t.Context(), loop(t, image, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer orphan.Stop()
	forged := e.Load(t, "forged", forgedImage(t))
	others := []string{
		e.Podman(t, "run", "--detach", "--network=none", "--name=others", "--label=souk.home=fedcba9876543210", image, "/guest", "loop"),
		e.Podman(t, "run", "--detach", "--network=none", "--name=souk-of-the-owner", image, "/guest", "loop"),
		e.Podman(t, "run", "--detach", "--network=none", "--name=run-by-its-owner", forged, "/guest", "loop"),
	}
	r := newRunner(t, e.URL)
	mine, err := r.Start(t.Context(), loop(t, image, 2))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error)
	go func() { watched <- r.Watch(ctx, func() {}) }()
	select {
	case <-orphan.Done():
	case <-time.After(2 * time.Minute):
		t.Error("what an earlier life left still runs")
	}
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	running := e.Podman(t, "ps", "--quiet", "--no-trunc")
	for _, id := range others {
		if !strings.Contains(running, id) {
			t.Errorf("another's container was removed: %s", e.Podman(t, "ps", "--all"))
		}
	}
	select {
	case <-mine.Done():
		t.Errorf("a run of this life was swept: %+v", mine.Wait())
	default:
	}
	mine.Stop()
	mine.Wait()
}

// forgedImage brings labels that say it is ours.
func forgedImage(t *testing.T) enginetest.Image {
	i := guestImage(t)
	i.Config.Labels = map[string]string{"souk.home": owner, "souk.lease": strings.Repeat("0", 64)}
	return i
}
