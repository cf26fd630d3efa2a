package gpu_test

import (
	"strings"
	"testing"

	"github.com/souk-market/souk/gpu"
)

func TestUnlike(t *testing.T) {
	e := gpu.Edits{Nodes: []gpu.Node{{Host: "/dev/nvidia3", Path: "/dev/nvidia3"}, {Host: "/dev/nvidiactl", Path: "/dev/nvidiactl"}}}
	good := func() gpu.Seen {
		return gpu.Seen{Nodes: []gpu.SeenNode{{Path: "/dev/nvidiactl"}, {Path: "/dev/nvidia3"}}, IDs: []string{"GPU-3"}}
	}
	for _, tt := range []struct {
		name, want string
		change     func(*gpu.Seen)
	}{
		{"as leased", "", func(*gpu.Seen) {}},
		{"a node that cannot be opened", "cannot be opened", func(s *gpu.Seen) { s.Nodes[1].Error = "operation not permitted" }},
		{"a node that is missing", "missing", func(s *gpu.Seen) { s.Nodes = s.Nodes[:1] }},
		{"a node of another card", "/dev/nvidia0, which was not leased", func(s *gpu.Seen) { s.Nodes = append(s.Nodes, gpu.SeenNode{Path: "/dev/nvidia0"}) }},
		{"no driver", "cannot be used inside: no libcuda", func(s *gpu.Seen) { s.Error = "no libcuda" }},
		{"no device", "does not show the leased device GPU-3", func(s *gpu.Seen) { s.IDs = nil }},
		{"another device", "does not show", func(s *gpu.Seen) { s.IDs = []string{"GPU-4"} }},
		{"one more", `shows "GPU-4" inside`, func(s *gpu.Seen) { s.IDs = append(s.IDs, "GPU-4") }},
		{"one twice", "twice", func(s *gpu.Seen) { s.IDs = append(s.IDs, "GPU-3") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good()
			tt.change(&s)
			if got := s.Unlike(e, []string{"GPU-3"}); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
