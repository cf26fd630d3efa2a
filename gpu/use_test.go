package gpu_test

import (
	"slices"
	"testing"

	"github.com/souk-market/souk/gpu"
)

func TestUse(t *testing.T) {
	of := func(compute, graphics, percent uint64) gpu.Sample {
		return gpu.Sample{ComputeProcesses: gpu.Known(compute), GraphicsProcesses: gpu.Known(graphics), GPUUtilPercent: gpu.Known(percent)}
	}
	desktop, game, idle := of(0, 2, 4), of(0, 3, 90), of(0, 0, 0)
	for _, tt := range []struct {
		name   string
		recent []gpu.Sample
		want   string
	}{
		{"nothing is known", nil, ""},
		{"a card that cannot tell", []gpu.Sample{{}}, ""},
		{"idle", slices.Repeat([]gpu.Sample{idle}, 60), ""},
		{"one program", []gpu.Sample{idle, of(1, 0, 0)}, "a program computes on it"},
		{"two", []gpu.Sample{of(2, 1, 0)}, "2 programs compute on it"},
		{"it has ended", []gpu.Sample{of(1, 0, 100), idle}, ""},
		{"a desktop", slices.Repeat([]gpu.Sample{desktop}, 60), ""},
		{"a desktop that opens a window", append(slices.Repeat([]gpu.Sample{desktop}, 60), game, game, desktop), ""},
		{"a game", append(slices.Repeat([]gpu.Sample{desktop}, 60), slices.Repeat([]gpu.Sample{game}, 5)...), "a program that draws keeps it busy"},
		{"a game in its menu", append(slices.Repeat([]gpu.Sample{game}, 60), slices.Repeat([]gpu.Sample{desktop}, 25)...), "a program that draws keeps it busy"},
		{"a game that ended", append(slices.Repeat([]gpu.Sample{game}, 60), slices.Repeat([]gpu.Sample{desktop}, 30)...), ""},
		{"a card that is busy without a program of ours to see", slices.Repeat([]gpu.Sample{of(0, 0, 100)}, 60), ""},
	} {
		if got := gpu.Use(tt.recent); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
