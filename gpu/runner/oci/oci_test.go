package oci_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/souk-market/souk/gpu/runner"
	"github.com/souk-market/souk/gpu/runner/oci"
	"github.com/souk-market/souk/gpu/runner/oci/enginetest"
	"github.com/souk-market/souk/gpu/runner/runnertest"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
)

const owner = "0123456789abcdef"

// newRunner is a runner over an engine of its own.
func newRunner(t testing.TB, url string) *oci.Runner {
	t.Helper()
	e := oci.NewEngine(oci.EngineConfig{URLs: []string{url}})
	e.Look(t.Context())
	if err := e.Refusal(); err != nil {
		t.Fatal(err)
	}
	r, err := oci.New(oci.Config{Engine: e, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// guest is the contract's program in an image that holds nothing else.
func guest(t testing.TB, e *enginetest.Engine) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest")
	runnertest.BuildNative(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return e.Load(t, "guest", enginetest.Image{Files: map[string]string{"/guest": string(text)}})
}

func TestContract(t *testing.T) {
	e := enginetest.Start(t)
	image := guest(t, e)
	invalid := e.Load(t, "invalid", enginetest.Image{Files: map[string]string{"/guest": "this is no program"}})
	runnertest.Run(t, newRunner(t, e.URL), runnertest.Programs{
		Guest: runner.Program{Image: image}, Invalid: runner.Program{Image: invalid}, Command: []string{"/guest"},
		Job: &jobv1.Job{Image: image},
	})
}

var _ runner.Runner = (*oci.Runner)(nil)
