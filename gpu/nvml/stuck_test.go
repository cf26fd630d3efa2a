package nvml

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gpu"
)

// TestStuckChild has a child that no signal ends, as one that waits inside the kernel
// for a driver is: it is told, no second one is started beside it, and the probe
// stops all the same.
func TestStuckChild(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	p := Probe{Command: []string{"/bin/sh", "-c", "echo x >>" + starts + `; echo '{"gpus":[]}'; exec sleep 12`}, Silence: 300 * time.Millisecond, kill: func(*os.Process) error { return nil }}
	ctx, stop := context.WithCancel(t.Context())
	words, done := make(chan string, 16), make(chan error, 1)
	go func() {
		done <- p.Watch(ctx, func(_ []gpu.Device, err error) {
			if err != nil {
				words <- err.Error()
			}
		})
	}()
	select {
	case word := <-words:
		if !strings.Contains(word, "cannot be ended: reboot the machine") {
			t.Errorf("told %q", word)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is told of a stuck child")
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(3 * time.Second):
		t.Fatal("the probe does not stop")
	}
	if text, err := os.ReadFile(starts); err != nil || string(text) != "x\n" {
		t.Errorf("starts: %q, %v", text, err)
	}
	if _, err := p.Devices(t.Context()); err != nil {
		t.Errorf("one reading: %v", err)
	}
}
