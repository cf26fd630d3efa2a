package nvml

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnlinked has nodes with and without their links, and files that are no nodes.
func TestUnlinked(t *testing.T) {
	dev := t.TempDir()
	number := func(path string) (major, minor uint64, ok bool) {
		switch filepath.Base(path) {
		case "nvidia0":
			return 195, 0, true
		case "nvidiactl":
			return 195, 255, true
		case "nvidia-cap1":
			return 237, 1, true
		}
		return 0, 0, false
	}
	for _, name := range []string{"nvidia0", "nvidiactl", "nvidia-caps/nvidia-cap1", "nvidia-notes", "null", "char/195:0"} {
		path := filepath.Join(dev, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	got := unlinked(dev, number)
	if len(got) != 1 || !strings.Contains(got[0].Text, "takes "+dev+"/nvidia-caps/nvidia-cap1, "+dev+"/nvidiactl from") || got[0].Fix == "" {
		t.Errorf("%q", got)
	}
	for _, link := range []string{"195:255", "237:1"} {
		if err := os.Symlink("../x", filepath.Join(dev, "char", link)); err != nil {
			t.Fatal(err)
		}
	}
	if got := unlinked(dev, number); len(got) != 0 {
		t.Errorf("all have links: %q", got)
	}
}

func TestDeviceNumber(t *testing.T) {
	if major, minor, ok := deviceNumber("/dev/null"); !ok || major != 1 || minor != 3 {
		t.Errorf("/dev/null is %d:%d, %t", major, minor, ok)
	}
	if _, _, ok := deviceNumber(t.TempDir()); ok {
		t.Error("a folder is a device")
	}
}
