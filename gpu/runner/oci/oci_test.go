package oci_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	"github.com/souk-market/souk/gpu/runner/runnertest"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

const owner = "0123456789abcdef"

// newRunner is a runner over an engine of its own.
func newRunner(t testing.TB, url string) *oci.Runner {
	t.Helper()
	e := oci.NewEngine(url)
	e.Look(t.Context())
	if err := e.Refusal(); err != nil {
		t.Fatal(err)
	}
	return newRunnerOver(t, e)
}

func newRunnerOver(t testing.TB, e *oci.Engine) *oci.Runner {
	t.Helper()
	r, err := oci.New(oci.Config{Engine: e, Owner: owner, Private: true, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// guest is the contract's program in an image that holds nothing else.
func guest(t testing.TB, e *enginetest.Engine) string {
	t.Helper()
	return e.Load(t, "guest", guestImage(t))
}

func guestImage(t testing.TB) enginetest.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest")
	runnertest.BuildNative(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return enginetest.Image{Files: map[string]string{"/guest": string(text)}}
}

func TestContract(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t)
	image := guest(t, e)
	invalid := e.Load(t, "invalid", enginetest.Image{Files: map[string]string{"/guest": "this is no program"}})
	runnertest.Run(t, newRunner(t, e.URL), runnertest.Programs{
		Guest: runner.Program{Image: image}, Invalid: runner.Program{Image: invalid}, Command: []string{"/guest"},
		Job: &jobv1.Job{Image: image},
	})
}

// TestNoCommand starts images whose commands are none, in every way.
func TestNoCommand(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t)
	r := newRunner(t, e.URL)
	image := e.Load(t, "odd", enginetest.Image{Files: map[string]string{"/text": "text", "/script": "#!/nothing\n", "/folder/x": ""}})
	for name, args := range map[string][]string{
		"missing": {"/missing"}, "a folder": {"/folder"}, "text": {"/text"}, "its interpreter is missing": {"/script"},
		"not in the path": {"missing"}, "below a file": {"/text/x"}, "of the image where it has none": nil,
	} {
		t.Run(name, func(t *testing.T) {
			run, err := r.Start(t.Context(), runner.Spec{Program: runner.Program{Image: image}, Args: args, Out: t.TempDir(), Memory: 64 << 20, Disk: 1 << 20, Duration: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if got := run.Wait(); got.Reason != runv1.EndReason_END_REASON_JOB_INVALID || got.Detail == "" || len(got.Detail) > runner.MaxDetail {
				t.Errorf("it ended with %+v", got)
			}
		})
	}
	if left := e.Podman(t, "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

var _ runner.Runner = (*oci.Runner)(nil)
