package disk

import (
	"log/slog"
	"strings"
	"testing"
)

// TestSpaceSaid sees that who frees what the line asks for gets work again: the
// line names what it takes to go on, not the floor that was passed.
func TestSpaceSaid(t *testing.T) {
	var said strings.Builder
	free := uint64(WorkFloor - 1)
	s := NewSpace("home", slog.New(slog.NewTextHandler(&said, nil)))
	s.Free = func(string) (uint64, error) { return free, nil }
	s.read()
	low, _ := s.Look()
	if low == nil || !strings.Contains(said.String(), low.Error()) {
		t.Fatalf("%v; the log has %q", low, said.String())
	}
	free += low.Short()
	if turned, full := s.read(); !turned || full {
		t.Errorf("with %d bytes free after %q: turned %v, full %v", free, low, turned, full)
	}
}
