// Package daemontest is what tests with daemons in processes of their own share: to
// wait for what other processes do, and to make the jobs that they run.
//
// The processes themselves are those of cmd/souk/process.
package daemontest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/jobfile"
	"github.com/souk-market/souk/cmd/souk/process"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	jobv1 "github.com/souk-market/souk/proto/souk/job/v1"
)

// Eventually asks until the answer is nil. After limit it ends the test with what was
// waited for and the last answer.
func Eventually(t *testing.T, limit time.Duration, what string, ask func(context.Context) error) {
	t.Helper()
	if err := Until(t.Context(), limit, ask); err != nil {
		t.Fatalf("waited %s for %s: %v", limit, what, err)
	}
}

// Until asks until the answer is nil. After limit it returns the last answer.
func Until(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := errors.New("never asked")
	if process.Until(ctx, func() (bool, error) {
		if err := ask(ctx); ctx.Err() == nil {
			last = err
		}
		return last == nil, nil
	}) == nil {
		return nil
	}
	return last
}

// FreePort is the address of a port of loopback that nobody has now.
func FreePort(t *testing.T) string {
	t.Helper()
	address, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// Job is the job of a file's text as souk run makes it, but for what the daemon's
// store must have first: its module and its input. Paths in it are relative to dir.
func Job(t *testing.T, text []byte, dir string) *jobv1.Job {
	t.Helper()
	spec, err := jobfile.Parse(text, "job.yaml", dir)
	if err != nil {
		t.Fatal(err)
	}
	var nonce [16]byte
	rand.Read(nonce[:])
	file, err := spec.Build(time.Now(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	return file.Job
}

// Add puts a module and a folder with one input file into a daemon's store, and
// returns their content ids.
func Add(t *testing.T, d *daemon.Client, module, input string) (moduleCID, inputCID string) {
	t.Helper()
	add := func(req *apiv1.AddRequest) string {
		res, err := d.Files.Add(t.Context(), req)
		if err != nil {
			t.Fatalf("add %v: %v", req, err)
		}
		return res.Cid
	}
	return add(&apiv1.AddRequest{Path: module}), add(&apiv1.AddRequest{Entries: []*apiv1.AddEntry{{From: input, Name: filepath.Base(input)}}})
}

// Read is the content of a file in a daemon's store.
func Read(ctx context.Context, d *daemon.Client, cid string) ([]byte, error) {
	stream, err := d.Files.Cat(ctx, &apiv1.CatRequest{Cid: cid})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var b bytes.Buffer
	for stream.Receive() {
		b.Write(stream.Msg().Data)
	}
	return b.Bytes(), stream.Err()
}

// ReadTree lists all folders of the source, as a test of a package in integration
// sees them: go test remembers a result until something changes that the
// test itself has read, and what daemons are built from is read by the compiler only.
func ReadTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("..", ".."), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
