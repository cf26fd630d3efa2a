package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/keys"
)

var update = flag.Bool("update", false, "rewrite the files of testdata/messages")

// trial gives the program wrong input, one after another, and keeps what it
// says. Each must end with exit 2 and start nothing: the context has ended
// before, no file may change, and nobody may call the daemon of the home.
type trial struct {
	t      *testing.T
	home   string
	source string // the folder of this file
	dir    string // the current one
	calls  atomic.Int32
	said   strings.Builder // the file to be read in review
	count  int
}

// newTrial makes a home with keys, and the current folder with a module, an
// input and a folder that is not empty.
func newTrial(t *testing.T) *trial {
	t.Helper()
	source, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	workDir(t)
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "SOUK_") {
			t.Setenv(name, "")
		}
	}
	r := &trial{t: t, source: source, home: filepath.Join(t.TempDir(), "home")}
	if _, err := keys.Create(r.home, keys.NewPassword()); err != nil {
		t.Fatal(err)
	}
	if r.dir, err = os.Getwd(); err != nil {
		t.Fatal(err)
	}
	r.write("full/a.txt", "a")
	t.Setenv("SOUK_HOME", r.home)
	l, err := net.Listen("unix", filepath.Join(r.home, daemon.Socket))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			r.calls.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return r
}

// write puts a file below the current folder.
func (r *trial) write(name, text string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// refused runs the program and returns what it said. In the file to be read the
// input stands as shown.
func (r *trial) refused(shown string, args ...string) string {
	r.t.Helper()
	before := r.tree()
	ended, cancel := context.WithCancel(r.t.Context())
	cancel()
	var out, err bytes.Buffer
	code := run(ended, args, strings.NewReader(""), &out, &err)
	said := strings.NewReplacer(r.home, "$SOUK_HOME", r.dir, "$PWD").Replace(err.String())
	switch {
	case code != exitUsage:
		r.t.Errorf("%s: exit %d, want %d: %s", shown, code, exitUsage, said)
	case out.Len() > 0:
		r.t.Errorf("%s: stdout has %q", shown, &out)
	case r.tree() != before:
		r.t.Errorf("%s: files changed from\n%s\nto\n%s", shown, before, r.tree())
	case r.calls.Load() > 0:
		r.t.Fatalf("%s: the daemon was called", shown)
	}
	if bad := jargon.FindString(said); bad != "" {
		r.t.Errorf("%s: %q means nothing to people: %s", shown, bad, said)
	}
	if !strings.HasPrefix(said, "souk: ") || strings.Count(said, "\n") > 4 {
		r.t.Errorf("%s: not one message: %s", shown, said)
	}
	r.count++
	first, _, _ := strings.Cut(strings.TrimPrefix(said, "souk: "), "\n")
	fmt.Fprintf(&r.said, "%s\n    %s\n", shown, first)
	return said
}

// jargon is what the program says to programmers only.
var jargon = regexp.MustCompile(`strconv|unmarshal|\bEOF\b|context (deadline|canceled)|invalid syntax|encoding/|[ (]yaml: |[ (]proto:|[ (]json: |%!|<nil>|0xc0|goroutine|\bParse[A-Z]|\b(u?int|float)(8|32|64)\b`)

// tree lists the files of the home and of the current folder, with their sizes.
func (r *trial) tree() string {
	var b strings.Builder
	for _, root := range []string{".", r.home} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
			return err
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return b.String()
}

// section begins a part of the file to be read.
func (r *trial) section(format string, args ...any) {
	fmt.Fprintf(&r.said, "\n# "+format+"\n", args...)
}

// compare holds what was said against the file of that name, or rewrites it.
func (r *trial) compare(name, about string) {
	r.t.Helper()
	path := filepath.Join(r.source, "testdata", "messages", name)
	got := about + "\n" + r.said.String()
	if *update {
		r.write(path, got)
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	if got == string(want) {
		r.t.Logf("%d wrong inputs, each refused in the words of %s", r.count, name)
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			r.t.Fatalf("%s:%d: said %q; read it, and if it is right run go test ./cmd/souk -run %s -update", name, i+1, g[i], r.t.Name())
		}
	}
	r.t.Fatalf("%s: %d lines were not said", name, len(w)-len(g))
}

// swapped is word with two neighbouring letters in each other's place, as
// fingers do.
func swapped(word string) string {
	b := []byte(word)
	for i := len(b) - 1; i > 0; i-- {
		if b[i] != b[i-1] && b[i] != '_' && b[i-1] != '_' {
			b[i], b[i-1] = b[i-1], b[i]
			break
		}
	}
	return string(b)
}
