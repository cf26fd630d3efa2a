package nvml

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestToolkit(t *testing.T) {
	for _, tt := range []struct {
		said string
		ok   bool
	}{
		{"NVIDIA CDI Hook version 1.20.2\ncommit: 1", true},
		{"NVIDIA Container Toolkit CLI version 1.21.0", true},
		{"NVIDIA Container Toolkit CLI version 2.0.0-rc.1", true},
		{"NVIDIA CDI Hook version 1.20.1", false},
		{"NVIDIA CDI Hook version 1.17.7", false},
		{"NVIDIA CDI Hook version 0.99.9", false},
		{"hello", false},
		{"", false},
	} {
		if err := toolkitRefusal(tt.said); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.said, err)
		}
	}
}

// TestToolkitOfThisMachine asks a program that stands in for the toolkit.
func TestToolkitOfThisMachine(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := (Probe{}).HooksRefusal(t.Context()); err == nil || !strings.Contains(err.Error(), "not on this machine") {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nvidia-cdi-hook"), []byte("#!/bin/sh\necho NVIDIA CDI Hook version 1.17.8\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (Probe{}).HooksRefusal(t.Context()); err == nil || !strings.Contains(err.Error(), "update it to 1.20.2") {
		t.Error(err)
	}
}
