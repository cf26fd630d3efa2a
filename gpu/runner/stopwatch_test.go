package runner_test

import (
	"testing"
	"time"

	"github.com/souk-market/souk/gpu/runner"
)

func TestStopwatch(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for _, tt := range []struct {
		name string
		do   func(*runner.Stopwatch)
		want time.Duration // at second 100
	}{
		{"never started", func(*runner.Stopwatch) {}, 0},
		{"running", func(w *runner.Stopwatch) { w.Start(at(10)) }, 90 * time.Second},
		{"stopped", func(w *runner.Stopwatch) { w.Start(at(10)); w.Stop(at(15)) }, 5 * time.Second},
		{"stopped twice", func(w *runner.Stopwatch) { w.Start(at(10)); w.Stop(at(15)); w.Stop(at(50)) }, 5 * time.Second},
		{"started twice", func(w *runner.Stopwatch) { w.Start(at(10)); w.Start(at(20)); w.Stop(at(25)) }, 15 * time.Second},
		{"paused", func(w *runner.Stopwatch) { w.Start(at(10)); w.Stop(at(15)); w.Start(at(90)) }, 15 * time.Second},
		{"clock set back", func(w *runner.Stopwatch) { w.Start(at(10)); w.Stop(at(5)) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w runner.Stopwatch
			tt.do(&w)
			if got := w.Elapsed(at(100)); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
