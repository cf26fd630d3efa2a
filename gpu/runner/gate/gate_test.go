package gate

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
	"golang.org/x/sys/unix"
)

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"nodes":[{"path":"/dev/nvidia0","error":"gone"}],"ids":["GPU-1"],"error":"x","command":"y"}`, `{} {}`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := Decode(line)
		if err == nil && len(r.Unlike(gpu.Edits{}, nil)) > 1000 {
			t.Errorf("%q", line)
		}
	})
}

// TestDoor has a gate that says something and is let through, and one that is silent.
func TestDoor(t *testing.T) {
	d, err := NewDoor(filepath.Join(t.TempDir(), "door"))
	if err != nil {
		t.Fatal(err)
	}
	through := make(chan error, 1)
	go func() { through <- wait(d.Folder, Report{Seen: gpu.Seen{IDs: []string{"GPU-1"}}}) }()
	r, err := d.Report(t.Context())
	if err != nil || len(r.IDs) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	select {
	case err := <-through:
		t.Fatalf("it went through by itself: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	if err := <-through; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := d.Report(ctx); err == nil {
		t.Errorf("a silent gate says %+v", r)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.Folder); err == nil {
		t.Error("the folder is left")
	}
}

// TestProxy has a gate hand over its socket, once, and gates that hand over something else.
func TestProxy(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 120)) // deeper than a socket's path may be
	d, err := NewDoor(deep)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.at = fmt.Sprintf("127.7.%d.%d:%d", os.Getpid()>>8&255, os.Getpid()&255, ProxyPort) // others may test the same now
	near := filepath.Join(t.TempDir(), "gate")                                           // as in a container, the folder has a short name
	if err := os.Symlink(d.Folder, near); err != nil {
		t.Fatal(err)
	}
	if err := offer(near, d.at); err != nil {
		t.Errorf("where no socket is expected: %v", err)
	}
	if err := d.Expect(); err != nil {
		t.Fatal(err)
	}
	offered := make(chan error, 1)
	go func() { offered <- offer(near, d.at) }()
	l, err := d.Proxy(t.Context())
	if err := <-offered; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", d.at)
		if err == nil {
			err = c.Close()
		}
		asked <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(near, proxy)); err == nil {
		t.Error("the job finds the socket")
	}
}

// TestForeignSocket has something else handed over than the socket that is expected.
func TestForeignSocket(t *testing.T) {
	elsewhere, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	other, err := elsewhere.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for name, rights := range map[string][]byte{"nothing": nil, "another port": unix.UnixRights(int(other.Fd())), "a file": unix.UnixRights(int(plain.Fd())),
		"two": unix.UnixRights(int(plain.Fd()), int(other.Fd()))} {
		d, err := NewDoor(filepath.Join(t.TempDir(), "door"))
		if err == nil {
			err = d.Expect()
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(d.Folder, proxy), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.WriteMsgUnix([]byte{1}, rights, nil); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if l, err := d.Proxy(t.Context()); err == nil {
			t.Errorf("%s: it listens at %v", name, l.Addr())
		}
		d.Close()
	}
	d, err := NewDoor(filepath.Join(t.TempDir(), "door"))
	if err == nil {
		err = d.Expect()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Proxy(ctx); err == nil {
		t.Error("a gate that is silent hands over a socket")
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"program": 0o755, "text": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, path, want, err string }{
		{"program", "/nowhere:" + dir, dir + "/program", ""},
		{dir + "/program", "", dir + "/program", ""},
		{"missing", dir, "", "not found in $PATH"},
		{"text", dir, "", "permission denied"},
		{dir, "", "", "is a directory"},
		{dir + "/program/x", "", "", "not a directory"},
		{"sh", "", "/usr/bin/sh", ""}, // an engine's own PATH where there is none
	} {
		got, err := find(tt.name, tt.path)
		if tt.err == "" && (err != nil || got != tt.want) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s in %s: %s, %v", tt.name, tt.path, got, err)
		}
	}
}
