package runnertest

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"google.golang.org/protobuf/proto"
)

// plans asks for the needs of jobs with and without inputs: each content that the
// job names has a place of its own in the job's folder, and nothing else is staged.
func plans(t *testing.T, b *bench) {
	dir := t.TempDir()
	with := proto.CloneOf(b.programs.Job)
	with.Input = "inputs"
	for _, job := range []*jobv1.Job{b.programs.Job, with} {
		p, err := b.runner.Plan(job, dir)
		if err != nil {
			t.Fatal(err)
		}
		var cids, paths []string
		for _, s := range p.Stage {
			if rel, err := filepath.Rel(dir, s.Path); err != nil || strings.HasPrefix(rel, "..") || slices.Contains(paths, s.Path) {
				t.Errorf("%s is to lie at %s", s.CID, s.Path)
			}
			cids, paths = append(cids, s.CID), append(paths, s.Path)
		}
		if want := runner.Contents(job); !slices.Equal(cids, want) {
			t.Errorf("stages %q of %q", cids, want)
		}
		if p.Program.Module != "" && !slices.Contains(paths, p.Program.Module) {
			t.Errorf("the program is at %s; staged is %q", p.Program.Module, paths)
		}
		if p.Program == (runner.Program{}) || p.Program.Image != job.Image {
			t.Errorf("the program is %+v", p.Program)
		}
		if (job.Input == "") != (p.In == "") || p.In != "" && !slices.Contains(paths, p.In) || slices.Contains(paths, p.Out) {
			t.Errorf("/in is %q, /out %q; staged is %q", p.In, p.Out, paths)
		}
	}
}

// refuses asks for the needs of jobs that are none, or another runner's: it says
// so by a typed error, and an image by its name.
func refuses(t *testing.T, b *bench) {
	unfit := func(job *jobv1.Job) *runner.UnfitError {
		_, err := b.runner.Plan(job, t.TempDir())
		e, _ := errors.AsType[*runner.UnfitError](err)
		return e
	}
	if e := unfit(&jobv1.Job{}); e == nil || e.Unsupported != "" || e.Error() == "" {
		t.Errorf("a job without a program: %v", e)
	}
	other, name := &jobv1.Job{Image: "python@sha256:0"}, "image"
	if b.programs.Job.Image != "" {
		other, name = &jobv1.Job{Wasm: "program"}, "wasm"
	}
	if e := unfit(other); e == nil || e.Unsupported != name {
		t.Errorf("%s: %v", name, e)
	}
}

// usage looks at what a run says that it used, while it runs and after.
func usage(t *testing.T, b *bench) {
	run := b.start(t, "loop")
	b.stdout.waitFor(t, "sign of life", func(s string) bool { return strings.Contains(s, "looping") })
	first := run.Usage()
	for deadline := time.Now().Add(patience); run.Usage().RunningFor <= first.RunningFor; {
		if time.Now().After(deadline) {
			t.Fatalf("it ran for %v, and goes on running", first.RunningFor)
		}
	}
	last := run.Usage()
	run.Stop()
	got := wait(t, run)
	b.expect(t, got, runv1.EndReason_END_REASON_CLIENT_RELEASED)
	if u := run.Usage(); !reflect.DeepEqual(u, got.Usage) || u.RunningFor < last.RunningFor || u.EnergyMillijoules < last.EnergyMillijoules {
		t.Errorf("it used %+v at its end, %+v before, and %+v by its result", u, last, got.Usage)
	}
}
