package oci

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTidy fills folders in every way that a job can, and looks at what is left.
func TestTidy(t *testing.T) {
	write := func(t *testing.T, path string, size int64) {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		fill  func(*testing.T, string)
		full  bool
		odd   int
		files int // and folders that are left
	}{
		{"nothing", func(*testing.T, string) {}, false, 0, 0},
		{"as much as may be", func(t *testing.T, d string) { write(t, d+"/a", 8*block) }, false, 0, 1},
		{"a hole", func(t *testing.T, d string) { write(t, d+"/a", 1<<40) }, true, 0, 0},
		{"many names", func(t *testing.T, d string) {
			for n := range 100 {
				write(t, fmt.Sprintf("%s/%d", d, n), 0)
			}
		}, true, 0, 8},
		{"a link out", func(t *testing.T, d string) {
			if err := os.Symlink("/etc", d+"/etc"); err != nil {
				t.Fatal(err)
			}
		}, false, 1, 0},
		{"a pipe", func(t *testing.T, d string) {
			if err := syscall.Mkfifo(d+"/pipe", 0o600); err != nil {
				t.Fatal(err)
			}
		}, false, 1, 0},
		{"shut", func(t *testing.T, d string) {
			if err := os.Mkdir(d+"/shut", 0o000); err != nil {
				t.Fatal(err)
			}
		}, false, 0, 1},
		{"deep", func(t *testing.T, d string) {
			if err := os.MkdirAll(d+strings.Repeat("/d", 300), 0o700); err != nil {
				t.Fatal(err)
			}
		}, true, 0, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.fill(t, dir)
			before, err := measureFolder(dir, 8*block)
			if err != nil || before != tt.full {
				t.Errorf("it is past its limit: %v, %v", before, err)
			}
			got, err := tidy(dir, 8*block)
			if err != nil || got != (left{full: tt.full, odd: tt.odd}) {
				t.Errorf("%+v, %v", got, err)
			}
			files := -1 // the folder itself
			if err := filepath.WalkDir(dir, func(string, os.DirEntry, error) error { files++; return nil }); err != nil || files != tt.files {
				t.Errorf("%d are left, want %d; %v", files, tt.files, err)
			}
			if after, err := measureFolder(dir, 8*block); after || err != nil {
				t.Errorf("it is still past its limit: %v", err)
			}
		})
	}
}

// TestDepth is refused before each step costs more than the one before.
func TestDepth(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+strings.Repeat("/d", maxDepth+10), 0o700); err != nil {
		t.Fatal(err)
	}
	if full, err := measureFolder(dir, 1<<40); !full || err != nil {
		t.Errorf("it may be %d folders deep, %v", maxDepth+10, err)
	}
	got, err := tidy(dir, 1<<40)
	if !got.full || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
