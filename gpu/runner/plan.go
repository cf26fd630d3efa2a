package runner

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
)

// Plan is what a job needs in its folder before it starts, and what it leaves
// there. Paths are on the host.
type Plan struct {
	Stage   []Staged // fetched before the start
	Program Program
	In      string // what appears as /in; empty: there is none
	Out     string // what appears as /out, whose content is the run's outputs; empty: it leaves none
}

// Staged is content that a run needs as a file or folder.
type Staged struct {
	CID  string
	Path string // where it belongs; empty: it stays in the store, where the runner reads it
}

// UnfitError is why a runner cannot run a job, wherever it is asked.
type UnfitError struct {
	Unsupported string // the name of what the job needs and the runner lacks; empty: the job is not valid
	Detail      string // one line for people
}

func (e *UnfitError) Error() string {
	return cmp.Or(e.Detail, "the runner does not support: "+e.Unsupported)
}

// ModulePlan is the plan of a job whose program is one file, for runners of such.
func ModulePlan(job *jobv1.Job, dir string) (Plan, error) {
	switch {
	case job.GetImage() != "":
		return Plan{}, &UnfitError{Unsupported: "image"}
	case job.GetWasm() == "":
		return Plan{}, &UnfitError{Detail: "the job has no module"}
	case job.GetNetwork() != nil:
		return Plan{}, &UnfitError{Unsupported: "network", Detail: "a module has no network: jobs that reach hosts are images"}
	case job.GetShmBytes() > 0:
		return Plan{}, &UnfitError{Unsupported: "shm"}
	}
	module := filepath.Join(dir, "program.wasm")
	p := FolderPlan(job, Program{Module: module}, dir)
	p.Stage = append([]Staged{{job.Wasm, module}}, p.Stage...)
	return p, nil
}

// FolderPlan is the plan of a job whose program needs no place in its folder.
func FolderPlan(job *jobv1.Job, program Program, dir string) Plan {
	p := Plan{Program: program, Out: filepath.Join(dir, "out")}
	if job.Input != "" {
		p.In = filepath.Join(dir, "in")
		p.Stage = append(p.Stage, Staged{job.Input, p.In})
	}
	return p
}

// ImageError is why an image cannot be run here, through no fault of the host.
type ImageError struct {
	Away   bool   // its registry did not give it; at another time it may
	Detail string // one line for people
}

func (e *ImageError) Error() string { return e.Detail }

// Contents lists the content that a job names, whoever runs it: its client has all
// of it and serves it to the provider.
func Contents(job *jobv1.Job) []string {
	image, _ := ImageCID(job.GetImage())
	return slices.DeleteFunc([]string{job.GetWasm(), image, job.GetInput()}, func(cid string) bool { return cid == "" })
}

// imageScheme begins the name of an image by content id.
const imageScheme = "ipfs://"

var cidForm = regexp.MustCompile(`^b[a-z2-7]{58}$`)

// ImageCID is the content id of the OCI image layout that a job's image names, such as
// ipfs://bafybei…; false for an image of a registry. The id is one of version 1 in
// base 32, as souk add prints it.
func ImageCID(image string) (cid string, ok bool) {
	cid, ok = strings.CutPrefix(image, imageScheme)
	if !ok || !cidForm.MatchString(cid) {
		return "", false
	}
	return cid, true
}
