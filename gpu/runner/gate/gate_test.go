package gate

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
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
